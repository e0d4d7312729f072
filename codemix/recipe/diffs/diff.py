"""What differs between two plans, in effects: tokens and epochs moved, data to rebuild, stages to train, steps that stay.

Names, notes and the order of keys are no difference. Everything is a pair of before and after, so the diff of B and A
is the diff of A and B with its sides exchanged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from codemix.recipe.diffs.settings import Setting, settings
from codemix.recipe.language.component import identity
from codemix.recipe.language.schema import Recipe
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.planning.plan import Plan, StagePlan, lineage, with_ancestors
from codemix.recipe.planning.source_identity import identity_parts


@dataclass(frozen=True)
class Move:
    """Tokens of one source in one stage, and its epochs over the lineage at the stage's end. None: not there."""

    stage: str
    source: str
    tokens: tuple[int | None, int | None]
    epochs: tuple[Fraction | None, Fraction | None]

    @property
    def moved(self) -> int:
        return (self.tokens[1] or 0) - (self.tokens[0] or 0)


@dataclass(frozen=True)
class SourceChange:
    """A source whose data are not the same: which parts of its making differ. A side without it has no parts."""

    source: str
    parts: tuple[str, ...]
    exists: tuple[bool, bool]


@dataclass(frozen=True)
class StageChange:
    """A stage that is not the same on both sides, and what differs in it."""

    stage: str
    parts: tuple[str, ...]
    exists: tuple[bool, bool]


@dataclass(frozen=True)
class Prefix:
    """How far both runs read identical data: whole steps from the start, and the tokens in them. `whole`: to the end of both."""

    steps: int
    tokens: int
    whole: bool


@dataclass(frozen=True)
class Diff:
    names: tuple[str, str]
    prefix: Prefix
    shared: tuple[
        tuple[str, str], ...
    ]  # stages that are trained once for both, as (name in A, name in B), in the order of the run
    moves: tuple[Move, ...]
    sources: tuple[SourceChange, ...]
    stages: tuple[StageChange, ...]
    settings: tuple[Setting, ...]

    @property
    def empty(self) -> bool:
        """Nothing that either recipe builds, trains or measures would differ."""
        return not (self.moves or self.sources or self.stages or self.settings)

    def reversed(self) -> Diff:
        """The diff with its sides exchanged."""
        return Diff(
            self.names[::-1],
            self.prefix,
            tuple((b, a) for a, b in self.shared),
            tuple(dataclasses.replace(m, tokens=m.tokens[::-1], epochs=m.epochs[::-1]) for m in self.moves),
            tuple(dataclasses.replace(s, exists=s.exists[::-1]) for s in self.sources),
            tuple(dataclasses.replace(s, exists=s.exists[::-1]) for s in self.stages),
            tuple(dataclasses.replace(s, values=s.values[::-1]) for s in self.settings),
        )


def diff(a: Plan, b: Plan) -> Diff:
    """The differences between two plans. `diff(a, a).empty`, and `diff(b, a) == diff(a, b).reversed()`."""
    mine, theirs = _stages_of(a), _stages_of(b)
    same: dict[str, list[StagePlan]] = {}
    for stage in theirs.values():
        same.setdefault(stage.fingerprint, []).append(stage)
    alike = [(s, t) for s in mine.values() for t in same.get(s.fingerprint, ())]
    alike.sort(key=lambda pair: (pair[0].run_tokens, *sorted(s.name for s in pair), pair[0].fingerprint))
    shared = tuple((s.name, t.name) for s, t in alike)
    pairs = _stage_pairs(a, b)
    return Diff(
        (a.recipe.name, b.recipe.name),
        identical_data(a, b),
        shared,
        tuple(m for name, x, y in pairs for m in _moves(name, x, y)),
        tuple(_sources(a.recipe, b.recipe)),
        tuple(c for name, x, y in pairs for c in _stages(name, x, y)),
        tuple(settings(a.recipe, b.recipe)),
    )


def identical_data(a: Plan, b: Plan) -> Prefix:
    """How many steps of the two runs (their last stages' lineages) read the same rows of the same data in the same order."""
    steps = tokens = 0
    mine, theirs = lineage(a.stages[-1]), lineage(b.stages[-1])
    for x, y in zip(mine, theirs, strict=False):
        same = _identical_steps(x, y)
        steps, tokens = steps + same, tokens + x.first_row(same) * x.seq_len
        if same < x.steps or same < y.steps:
            return Prefix(steps, tokens, False)
    return Prefix(steps, tokens, len(mine) == len(theirs))


def _identical_steps(x: StagePlan, y: StagePlan) -> int:
    """Whole steps of two stages that read the same; the order inside a segment depends on all of its counts."""
    keys = [
        [(s.source, s.pool_fingerprint, s.pool_windows, s.start) for s in stage.sources] for stage in (x, y)
    ]
    how = [
        (
            stage.seq_len,
            stage.spec.average_seeds or (stage.seed,),
            stage.fim,
            stage.spec.fim_spm if stage.fim else None,
        )
        for stage in (x, y)
    ]
    if keys[0] != keys[1] or how[0] != how[1]:
        return 0
    rows = 0
    for p, q in zip(x.segments, y.segments, strict=False):
        if p != q:
            break
        rows = p.first_row + p.rows
    steps = min(x.steps, y.steps)
    for p, q in zip(x.batches, y.batches, strict=False):
        if p[1] != q[1]:
            steps = min(steps, p[0], q[0])
        elif p[0] != q[0]:
            steps = min(steps, max(p[0], q[0]))
    low, high = 0, steps  # the most steps whose rows all lie in the equal segments
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high)
            if x.first_row(middle) <= rows and x.first_row(middle) == y.first_row(middle)
            else (low, middle - 1)
        )
    return low


def _stages_of(plan: Plan) -> dict[str, StagePlan]:
    """The plan's own stages by name, and those of other recipes that they start from."""
    own = {s.name: s for s in plan.stages}
    return {s.name: s for s in with_ancestors(plan.stages) if s.name not in own} | own


def _stage_pairs(a: Plan, b: Plan) -> list[tuple[str, StagePlan | None, StagePlan | None]]:
    """Stages of the same name side by side, sorted by where they first begin in either run."""
    mine, theirs = _stages_of(a), _stages_of(b)
    place = {
        n: min(p.run_tokens for p in (mine.get(n), theirs.get(n)) if p is not None) for n in {*mine, *theirs}
    }
    return [(n, mine.get(n), theirs.get(n)) for n in sorted(place, key=lambda n: (place[n], n))]


def _moves(name: str, x: StagePlan | None, y: StagePlan | None) -> Iterator[Move]:
    sides = [{s.source: s for s in stage.sources} if stage else {} for stage in (x, y)]
    for source in sorted({*sides[0], *sides[1]}):
        entries = [side.get(source) for side in sides]
        tokens = tuple(
            None if e is None else e.windows * stage.seq_len for e, stage in zip(entries, (x, y), strict=True)
        )
        epochs = tuple(None if e is None else e.epochs_after for e in entries)
        if tokens[0] != tokens[1] or epochs[0] != epochs[1]:
            yield Move(name, source, tokens, epochs)


def _sources(a: Recipe, b: Recipe) -> Iterator[SourceChange]:
    made = identity_parts(SourceGraph(a)), identity_parts(SourceGraph(b))
    for name in sorted({*a.sources, *b.sources}):
        exists = (name in a.sources, name in b.sources)
        if all(exists):
            x, y = made[0][name], made[1][name]
            if parts := tuple(k for k in x if x[k] != y[k]):
                yield SourceChange(name, parts, exists)
        else:
            yield SourceChange(name, (), exists)


def _stages(name: str, x: StagePlan | None, y: StagePlan | None) -> Iterator[StageChange]:
    if x is None or y is None:
        yield StageChange(name, (), (x is not None, y is not None))
    elif x.fingerprint != y.fingerprint:
        yield StageChange(name, tuple(_stage_parts(x, y)), (True, True))


def _stage_parts(x: StagePlan, y: StagePlan) -> Iterator[str]:
    def parent(s: StagePlan) -> Any:
        return [s.parent.fingerprint, s.load] if s.parent else s.init_seed

    def order(s: StagePlan) -> Any:
        return s.seed, [(e.source, e.pool_fingerprint, e.start) for e in s.sources]

    def budget(s: StagePlan) -> Any:
        return s.steps, s.batches, s.seq_len

    training = [identity(s.training.model_copy(update={"batch_size": 1, "seq_len": 8})) for s in (x, y)]
    compared = {
        "start": (parent(x), parent(y)),
        "model": tuple(identity(s.model.model_copy(update={"preset": None})) for s in (x, y)),
        "training": tuple(training),
        "budget": (budget(x), budget(y)),
        "mixture": tuple(
            [(e.source, e.windows) for e in s.sources] + [p.counts for p in s.segments] for s in (x, y)
        ),
        "data": (order(x), order(y)),
        "learning rate": (_rate(x), _rate(y)),
        "fill-in-the-middle": tuple((dict(s.fim), s.spec.fim_spm if s.fim else None) for s in (x, y)),
        "seeds to average": (x.spec.average_seeds, y.spec.average_seeds),
    }
    found = [part for part, (p, q) in compared.items() if p != q]
    yield from found or ["inputs or versions"]


def _rate(stage: StagePlan) -> Any:
    schedule: Any = stage.spec.learning_rate
    return identity(schedule), stage.run_total if getattr(schedule, "needs_run_total", False) else None
