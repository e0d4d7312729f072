"""What differs between two plans, in effects: tokens and epochs moved, data to rebuild, stages to train,
steps that stay.

Names, notes and the order of keys do not count. Everything is a pair of before and after, so the diff of B
and A is the diff of A and B with its sides exchanged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from codemix.recipe.diffs.identical_data import Prefix, fim_settings, identical_data
from codemix.recipe.diffs.settings import Setting, settings
from codemix.recipe.language.component import identity
from codemix.recipe.language.schema import Recipe
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.planning.plan import Plan, StagePlan, StageSource, with_ancestors
from codemix.recipe.planning.source_identity import identity_parts

Parts = dict[str, Any]  # what decides a source or a stage, by the name that a reviewer reads


@dataclass(frozen=True)
class Move:
    """Tokens of one source in one stage, and its epochs over the lineage at the stage's end. None: not
    there.
    """

    stage: str
    source: str
    tokens: tuple[int | None, int | None]
    epochs: tuple[Fraction | None, Fraction | None]

    @property
    def moved(self) -> int:
        before, after = self.tokens
        return (after or 0) - (before or 0)

    def reversed(self) -> Move:
        tokens = self.tokens[::-1]
        epochs = self.epochs[::-1]
        return replace(self, tokens=tokens, epochs=epochs)


@dataclass(frozen=True)
class SourceChange:
    """A source whose data are not the same: which parts of its identity differ. Where a side lacks it,
    none.
    """

    source: str
    parts: tuple[str, ...]
    exists: tuple[bool, bool]

    def reversed(self) -> SourceChange:
        return replace(self, exists=self.exists[::-1])


@dataclass(frozen=True)
class StageChange:
    """A stage that is not the same on both sides, and what differs in it."""

    stage: str
    parts: tuple[str, ...]
    exists: tuple[bool, bool]

    def reversed(self) -> StageChange:
        return replace(self, exists=self.exists[::-1])


@dataclass(frozen=True)
class Diff:
    names: tuple[str, str]
    prefix: Prefix
    shared: tuple[
        tuple[str, str], ...
    ]  # stages trained once for both: (name in A, name in B), as the run goes
    moves: tuple[Move, ...]
    sources: tuple[SourceChange, ...]
    stages: tuple[StageChange, ...]
    settings: tuple[Setting, ...]

    @property
    def empty(self) -> bool:
        """Nothing that either recipe builds, trains or measures would differ."""
        changes = (self.moves, self.sources, self.stages, self.settings)
        return not any(changes)

    def reversed(self) -> Diff:
        """The diff with its sides exchanged."""
        return Diff(
            names=self.names[::-1],
            prefix=self.prefix,
            shared=tuple(pair[::-1] for pair in self.shared),
            moves=tuple(move.reversed() for move in self.moves),
            sources=tuple(source.reversed() for source in self.sources),
            stages=tuple(stage.reversed() for stage in self.stages),
            settings=tuple(setting.reversed() for setting in self.settings),
        )


@dataclass(frozen=True)
class _StagePair:
    """The stages of one name, of which one side may be missing."""

    name: str
    before: StagePlan | None
    after: StagePlan | None

    @property
    def run_tokens(self) -> int:
        """Where it first begins in either run."""
        starts = [stage.run_tokens for stage in (self.before, self.after) if stage]
        return min(starts)


def diff(a: Plan, b: Plan) -> Diff:
    """The differences between two plans. `diff(a, a).empty`, and `diff(b, a) == diff(a, b).reversed()`."""
    moves: list[Move] = []
    stages: list[StageChange] = []
    for pair in _stage_pairs(a, b):
        moves += _moves(pair)
        stages += _stage_changes(pair)
    return Diff(
        names=(a.recipe.name, b.recipe.name),
        prefix=identical_data(a, b),
        shared=_shared(a, b),
        moves=tuple(moves),
        sources=tuple(_source_changes(a.recipe, b.recipe)),
        stages=tuple(stages),
        settings=tuple(settings(a.recipe, b.recipe)),
    )


def _stages_of(plan: Plan) -> dict[str, StagePlan]:
    """The plan's own stages by name, and those of other recipes that they start from."""
    own = {stage.name: stage for stage in plan.stages}
    stages: dict[str, StagePlan] = {}
    for stage in with_ancestors(plan.stages):
        if stage.name not in own:
            stages[stage.name] = stage
    return stages | own


def _shared(a: Plan, b: Plan) -> tuple[tuple[str, str], ...]:
    """The names of the stages that are the same on both sides, in the order of the run."""
    theirs: dict[str, list[StagePlan]] = defaultdict(list)
    for stage in _stages_of(b).values():
        theirs[stage.fingerprint].append(stage)
    pairs = []
    for stage in _stages_of(a).values():
        for same in theirs[stage.fingerprint]:
            names = (stage.name, same.name)
            in_order = sorted(names)
            place = (stage.run_tokens, *in_order, stage.fingerprint)
            pairs.append((place, names))
    pairs.sort()
    return tuple(names for _, names in pairs)


def _stage_pairs(a: Plan, b: Plan) -> list[_StagePair]:
    """Stages of the same name side by side, sorted by where they first begin in either run."""
    mine = _stages_of(a)
    theirs = _stages_of(b)
    pairs = []
    for name in sorted(mine.keys() | theirs.keys()):
        pair = _StagePair(name, mine.get(name), theirs.get(name))
        pairs.append(pair)
    return sorted(pairs, key=lambda pair: pair.run_tokens)


def _moves(pair: _StagePair) -> Iterator[Move]:
    mine = _sources_of(pair.before)
    theirs = _sources_of(pair.after)
    for name in sorted(mine.keys() | theirs.keys()):
        before = _reads(mine.get(name), pair.before)
        after = _reads(theirs.get(name), pair.after)
        if before != after:
            tokens = (before.tokens, after.tokens)
            epochs = (before.epochs, after.epochs)
            yield Move(pair.name, name, tokens, epochs)


def _sources_of(stage: StagePlan | None) -> dict[str, StageSource]:
    if stage is None:
        return {}
    return {source.source: source for source in stage.sources}


@dataclass(frozen=True)
class _Reads:
    """What a stage reads of a source, and the epochs over the lineage at its end."""

    tokens: int | None = None
    epochs: Fraction | None = None


def _reads(source: StageSource | None, stage: StagePlan | None) -> _Reads:
    if source is None or stage is None:
        return _Reads()
    return _Reads(source.windows * stage.seq_len, source.epochs_after)


def _source_changes(a: Recipe, b: Recipe) -> Iterator[SourceChange]:
    mine = identity_parts(SourceGraph(a))
    theirs = identity_parts(SourceGraph(b))
    for name in sorted(mine.keys() | theirs.keys()):
        exists = (name in mine, name in theirs)
        if exists != (True, True):
            yield SourceChange(name, (), exists)
            continue
        parts = _differing_keys(mine[name], theirs[name])
        if parts:
            yield SourceChange(name, parts, exists)


def _stage_changes(pair: _StagePair) -> Iterator[StageChange]:
    before = pair.before
    after = pair.after
    if before is None or after is None:
        exists = (before is not None, after is not None)
        yield StageChange(pair.name, (), exists)
    elif before.fingerprint != after.fingerprint:
        parts = _differing_keys(_stage_parts(before), _stage_parts(after))
        yield StageChange(pair.name, parts or ("inputs or versions",), (True, True))


def _differing_keys(mine: Parts, theirs: Parts) -> tuple[str, ...]:
    differing = []
    for key in mine:
        if mine[key] != theirs[key]:
            differing.append(key)
    return tuple(differing)


def _stage_parts(stage: StagePlan) -> Parts:
    model = stage.model.model_copy(update={"preset": None})
    training = stage.training.model_copy(update={"batch_size": 1, "seq_len": 8})  # they are in the budget
    return {
        "start": _start(stage),
        "model": identity(model),
        "training": identity(training),
        "budget": (stage.steps, stage.batches, stage.seq_len),
        "mixture": _mixture(stage),
        "data": _order(stage),
        "learning rate": _rate(stage),
        "fill-in-the-middle": fim_settings(stage),
        "seeds to average": stage.spec.average_seeds,
    }


def _start(stage: StagePlan) -> Any:
    if stage.parent is None:
        return stage.init_seed
    return [stage.parent.fingerprint, stage.load]


def _mixture(stage: StagePlan) -> Any:
    windows = [(s.source, s.windows) for s in stage.sources]
    counts = [segment.counts for segment in stage.segments]
    return windows, counts


def _order(stage: StagePlan) -> Any:
    pools = []
    for s in stage.sources:
        pool = (s.source, s.pool_fingerprint, s.pool_windows, s.start)
        pools.append(pool)
    return stage.seed, pools


def _rate(stage: StagePlan) -> Any:
    schedule = stage.spec.learning_rate
    run_total = stage.run_total if schedule.needs_run_total else None
    return identity(schedule), run_total
