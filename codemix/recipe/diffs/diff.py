"""What differs between two plans, in effects: tokens and epochs moved, data to rebuild, stages to train,
steps that stay.

Names, notes and the order of keys do not count. Everything is a pair of before and after, so the diff of B
and A is the diff of A and B with its sides exchanged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from codemix.recipe.diffs.identical_data import Prefix, identical_data
from codemix.recipe.diffs.settings import Setting, settings
from codemix.recipe.diffs.stage_parts import Names, Parts, differing_keys, stage_parts
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.planning.plan import Plan, StagePlan, StageSource, with_ancestors
from codemix.recipe.planning.source_identity import identity_parts


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
    renamed: tuple[tuple[str, str], ...]  # sources that are the same but for their names
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
        changes = (self.renamed, self.moves, self.sources, self.stages, self.settings)
        return not any(changes)

    def reversed(self) -> Diff:
        """The diff with its sides exchanged."""
        return Diff(
            names=self.names[::-1],
            renamed=tuple(sorted(pair[::-1] for pair in self.renamed)),
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
    mine = identity_parts(SourceGraph(a.recipe))
    theirs = identity_parts(SourceGraph(b.recipe))
    renamed = _renamed(mine, theirs)
    my_names: dict[str, str] = {}
    their_names: dict[str, str] = {}
    for before, after in renamed.items():
        label = _label(before, after, renamed, mine)
        my_names[before] = label
        their_names[after] = label
    mine = _called(mine, my_names)
    theirs = _called(theirs, their_names)
    moves: list[Move] = []
    stages: list[StageChange] = []
    for pair in _stage_pairs(a, b):
        moves += _moves(pair, my_names, their_names)
        stages += _stage_changes(pair, my_names, their_names)
    return Diff(
        names=(a.recipe.name, b.recipe.name),
        renamed=tuple(sorted(renamed.items())),
        prefix=identical_data(a, b),
        shared=_shared(a, b),
        moves=tuple(moves),
        sources=tuple(_source_changes(mine, theirs)),
        stages=tuple(stages),
        settings=tuple(settings(a.recipe, b.recipe, my_names, their_names)),
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


def _moves(pair: _StagePair, my_names: Names, their_names: Names) -> Iterator[Move]:
    mine = _sources_of(pair.before, my_names)
    theirs = _sources_of(pair.after, their_names)
    names = mine.keys() | theirs.keys()
    for name in sorted(names):
        my_source = mine.get(name)
        their_source = theirs.get(name)
        before = _reads(my_source, pair.before)
        after = _reads(their_source, pair.after)
        if before != after:
            tokens = (before.tokens, after.tokens)
            epochs = (before.epochs, after.epochs)
            yield Move(pair.name, name, tokens, epochs)


def _sources_of(stage: StagePlan | None, names: Names) -> dict[str, StageSource]:
    sources: dict[str, StageSource] = {}
    if stage is None:
        return sources
    for source in stage.sources:
        name = source.source
        called = names.get(name, name)
        sources[called] = source
    return sources


@dataclass(frozen=True)
class _Reads:
    """What a stage reads of a source, and the epochs over the lineage at its end."""

    tokens: int | None = None
    epochs: Fraction | None = None


def _reads(source: StageSource | None, stage: StagePlan | None) -> _Reads:
    if source is None or stage is None:
        return _Reads()
    return _Reads(source.windows * stage.seq_len, source.epochs_after)


def _renamed(mine: Mapping[str, Parts], theirs: Mapping[str, Parts]) -> dict[str, str]:
    """For each source of A that B has under another name only, with everything that decides it the same, that
    name."""
    by_content: dict[str, list[str]] = defaultdict(list)
    for name in _unlike(theirs, mine):
        content = fingerprint(theirs[name])
        by_content[content].append(name)
    pairs = {}
    for name in _unlike(mine, theirs):
        content = fingerprint(mine[name])
        same = by_content[content]
        if same:
            pairs[name] = same.pop(0)
    return pairs


def _unlike(mine: Mapping[str, Parts], theirs: Mapping[str, Parts]) -> list[str]:
    """The names, sorted, that stand for something else on the other side, or for nothing."""
    unlike = []
    for name in sorted(mine):
        other = theirs.get(name)
        if mine[name] != other:
            unlike.append(name)
    return unlike


def _called(by_source: Mapping[str, Parts], names: Names) -> dict[str, Parts]:
    """The parts of each source, by what it is called here."""
    called = {}
    for name, parts in by_source.items():
        label = names.get(name, name)
        called[label] = parts
    return called


def _label(before: str, after: str, renamed: Names, mine: Mapping[str, Parts]) -> str:
    """What both sides call a renamed source: the same in the diff of A and B as in that of B and A, and for
    two that exchange their names not the same."""
    names = sorted([before, after])
    if renamed.get(after) == before:
        own = fingerprint(mine[before])
        other = fingerprint(mine[after])
        if own > other:
            names.reverse()
    return " = ".join(names)


def _source_changes(mine: Mapping[str, Parts], theirs: Mapping[str, Parts]) -> Iterator[SourceChange]:
    names = mine.keys() | theirs.keys()
    for name in sorted(names):
        exists = (name in mine, name in theirs)
        if exists != (True, True):
            yield SourceChange(name, (), exists)
            continue
        parts = differing_keys(mine[name], theirs[name])
        if parts:
            yield SourceChange(name, parts, exists)


def _stage_changes(pair: _StagePair, mine: Names, theirs: Names) -> Iterator[StageChange]:
    before = pair.before
    after = pair.after
    if before is None or after is None:
        exists = (before is not None, after is not None)
        yield StageChange(pair.name, (), exists)
    elif before.fingerprint != after.fingerprint:
        parts = differing_keys(stage_parts(before, mine), stage_parts(after, theirs))
        yield StageChange(pair.name, parts or ("inputs or versions",), (True, True))
