"""A stage's budget as steps, batch sizes and rows; its shares as whole windows of those rows."""

from __future__ import annotations

from fractions import Fraction

from codemix.recipe.language import schema
from codemix.recipe.language.quantities import Length
from codemix.recipe.planning.apportion import along_ramp, apportion
from codemix.recipe.planning.mixture import Leaf
from codemix.recipe.planning.plan import Segment

RAMP_SEGMENTS = 64  # a ramp is followed in at most this many stretches of constant shares


def batch_plan(
    spec: schema.Stage, training: schema.Training
) -> tuple[tuple[tuple[int, int], ...], int, int, int]:
    """Batches `((first step, rows), ...)`, steps, rows and asked tokens of a stage; a token budget is rounded down to whole steps."""
    size, seq_len = training.batch_size, training.seq_len
    if isinstance(size, int):
        steps = spec.steps if spec.steps is not None else spec.tokens // (size * seq_len)
        return (
            ((0, size),),
            steps,
            steps * size,
            spec.tokens if spec.tokens is not None else steps * size * seq_len,
        )
    sizes = [
        size.from_ + round(Fraction((size.to - size.from_) * i, size.n_steps)) for i in range(size.n_steps)
    ] + [size.to]
    batches, step, rows = [], 0, 0
    budget = None if spec.tokens is None else spec.tokens // seq_len  # rows
    for i, rows_a_step in enumerate(sizes):
        batches.append((step, rows_a_step))
        if i == size.n_steps:
            steps = spec.steps - step if spec.steps is not None else (budget - rows) // rows_a_step
        else:
            steps = _stretch(size.over, i, size.n_steps, spec, rows_a_step * seq_len)
            steps = (
                min(steps, spec.steps - step)
                if spec.steps is not None
                else min(steps, (budget - rows) // rows_a_step)
            )
        step, rows = step + max(0, steps), rows + max(0, steps) * rows_a_step
    kept = [
        b for b, after in zip(batches, [*batches[1:], (step, 0)], strict=True) if after[0] > b[0]
    ] or batches[:1]
    merged = tuple(
        b for i, b in enumerate(kept) if i == 0 or b[1] != kept[i - 1][1]
    )  # equal batches are equal however they are written
    return merged, step, rows, spec.tokens if spec.tokens is not None else rows * seq_len


def _stretch(over: Length, i: int, n: int, spec: schema.Stage, tokens_per_step: int) -> int:
    """Steps of the i-th of `n` equal stretches of a batch ramp."""
    if over.steps is not None or (over.share is not None and spec.steps is not None):
        total = over.steps if over.steps is not None else over.share * spec.steps
        return int(total * (i + 1) // n - total * i // n)
    tokens = over.tokens if over.tokens is not None else over.share * spec.tokens
    return max(1, round(Fraction(tokens, n) / tokens_per_step))


def segments(leaves: list[Leaf], rows: int) -> tuple[Segment, ...]:
    """Stretches of constant shares whose counts sum to `rows`: one, or several along a ramp."""
    if all(x.start == x.end for x in leaves):
        return (Segment(0, rows, tuple(apportion(rows, [x.mean for x in leaves]))),)
    pieces = max(1, min(RAMP_SEGMENTS, rows // (4 * len(leaves))))
    out, first = [], 0
    for length, counts in along_ramp(rows, [x.start for x in leaves], [x.end for x in leaves], pieces):
        out.append(Segment(first, length, tuple(counts)))
        first += length
    return tuple(out)


def windows_of(pieces: tuple[Segment, ...]) -> list[int]:
    """Windows of each source over all stretches."""
    return [sum(counts) for counts in zip(*(p.counts for p in pieces), strict=True)]
