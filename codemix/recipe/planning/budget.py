"""A stage's budget in whole steps and rows, its batches, and the windows that its shares come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from codemix.recipe.language import schema
from codemix.recipe.language.quantities import Length
from codemix.recipe.planning.apportion import along_ramp, apportion
from codemix.recipe.planning.mixture import Leaf
from codemix.recipe.planning.plan import Segment
from codemix.recipe.planning.stretches import Stretch

RAMP_SEGMENTS = 64  # a ramp is followed in at most this many stretches of constant shares


@dataclass(frozen=True)
class StageBudget:
    """What a stage has to spend, in whole steps: never more tokens than asked."""

    batches: tuple[Stretch, ...]  # rows per step
    steps: int
    rows: int
    asked_tokens: int

    @property
    def largest_batch(self) -> int:
        """Rows of the largest step."""
        return max(size for _, size in self.batches)


def stage_budget(spec: schema.Stage, training: schema.Training) -> StageBudget:
    """The budget of a stage; one that is given in tokens is rounded down to whole steps."""
    spending = _Spending(spec, training.seq_len)
    batch_size = training.batch_size
    if isinstance(batch_size, int):
        spending.take_all(batch_size)
        return spending.budget()
    increase = batch_size.to - batch_size.from_
    for i in range(batch_size.n_steps):
        size = batch_size.from_ + round(Fraction(increase * i, batch_size.n_steps))
        steps = _stretch_steps(spec, batch_size, i, size * training.seq_len)
        spending.take(steps, size)
    spending.take_all(batch_size.to)
    return spending.budget()


class _Spending:
    """The steps and rows of a stage handed out so far, and what is left of its budget."""

    def __init__(self, spec: schema.Stage, seq_len: int):
        self.spec = spec
        self.seq_len = seq_len
        self.steps = 0
        self.rows = 0
        self.sizes: list[int] = []
        self.batches: list[Stretch] = []

    def take_all(self, size: int) -> None:
        """Spend what is left on steps of `size` rows."""
        self.take(self._left(size), size)

    def take(self, steps: int, size: int) -> None:
        """Spend `steps` of `size` rows, or as many as are left."""
        self.sizes.append(size)
        steps = min(steps, self._left(size))
        if steps <= 0:
            return
        same_as_before = bool(self.batches) and self.batches[-1].size == size
        if not same_as_before:  # equal batches are equal, however they are written
            self.batches.append(Stretch(self.steps, size))
        self.steps += steps
        self.rows += steps * size

    def budget(self) -> StageBudget:
        batches = self.batches or [Stretch(0, self.sizes[0])]
        asked = self.spec.tokens
        if asked is None:
            asked = self.rows * self.seq_len
        return StageBudget(tuple(batches), self.steps, self.rows, asked)

    def _left(self, size: int) -> int:
        """Steps of `size` rows that the budget still allows."""
        if self.spec.steps is not None:
            return self.spec.steps - self.steps
        assert self.spec.tokens is not None  # a stage has one of the two
        rows = self.spec.tokens // self.seq_len - self.rows
        return rows // size


def _stretch_steps(spec: schema.Stage, ramp: schema.BatchRamp, i: int, tokens_per_step: int) -> int:
    """Steps of the i-th of the equal stretches on the way to the full batch size."""
    steps = _ramp_in_steps(ramp.over, spec)
    if steps is not None:
        end = steps * (i + 1) // ramp.n_steps
        start = steps * i // ramp.n_steps
        return int(end - start)
    ramp_tokens = _ramp_in_tokens(ramp.over, spec)
    stretch_tokens = Fraction(ramp_tokens, ramp.n_steps)
    nearest = round(stretch_tokens / tokens_per_step)
    return max(1, nearest)


def _ramp_in_steps(over: Length, spec: schema.Stage) -> int | Fraction | None:
    """The length of the whole ramp in steps; None where it is given in tokens."""
    if over.share is not None and spec.steps is not None:
        return over.share * spec.steps
    return over.steps


def _ramp_in_tokens(over: Length, spec: schema.Stage) -> int | Fraction:
    if over.tokens is not None:
        return over.tokens
    assert over.share is not None and spec.tokens is not None  # else it is given in steps
    return over.share * spec.tokens


def segments(leaves: Sequence[Leaf], rows: int) -> tuple[Segment, ...]:
    """Stretches of constant shares whose counts sum to `rows`: one, or several along a ramp."""
    start = [leaf.start for leaf in leaves]
    end = [leaf.end for leaf in leaves]
    if start == end:
        counts = apportion(rows, start)
        return (Segment(0, rows, tuple(counts)),)
    return tuple(_ramped_segments(start, end, rows))


def _ramped_segments(start: list[Fraction], end: list[Fraction], rows: int) -> Iterator[Segment]:
    affordable = rows // (4 * len(start))
    n_segments = max(1, min(RAMP_SEGMENTS, affordable))
    first_row = 0
    for length, counts in along_ramp(rows, start, end, n_segments):
        yield Segment(first_row, length, tuple(counts))
        first_row += length


def windows_of(pieces: Sequence[Segment]) -> list[int]:
    """Windows of each source over all stretches."""
    by_piece = [piece.counts for piece in pieces]
    by_source = zip(*by_piece, strict=True)
    return [sum(counts) for counts in by_source]
