"""What one stage reads of each source: its shares as windows, from the cursors that its lineage left."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.planning.budget import StageBudget, segments, windows_of
from codemix.recipe.planning.cursors import Cursor, Cursors, DataOrder, Start, copies, moved_on, start_of
from codemix.recipe.planning.epoch_caps import Redistribution, redistribute, windows_left
from codemix.recipe.planning.mixture import FlatMixture, Leaf, flatten
from codemix.recipe.planning.plan import Pool, Segment, StageSource, copy_key
from codemix.recipe.planning.shares import Span, total
from codemix.recipe.planning.source_findings import SourceReading, source_findings


@dataclass(frozen=True)
class StageReading:
    """What a stage reads, in which stretches, and how far its lineage has read every source afterwards.
    Sources are in the order of their keys."""

    cursors: Cursors
    leaves: Sequence[Leaf] = ()
    sources: tuple[StageSource, ...] = ()
    segments: tuple[Segment, ...] = ()
    redistributed: Mapping[str, Fraction] = field(
        default_factory=dict
    )  # source -> the share that a cap changed
    problems: Sequence[Finding] = ()


@dataclass(frozen=True)
class StageInputs:
    """Everything that decides what a stage reads."""

    recipe: schema.Recipe
    index: int  # of the stage
    budget: StageBudget
    seq_len: int
    seed: int
    pools: Mapping[str, Pool]
    identities: Mapping[str, str]  # source -> of its pool, or of its spec while its size is unknown
    cursors: Cursors  # at the end of the parent

    @property
    def stage(self) -> schema.Stage:
        return self.recipe.stages[self.index]

    @property
    def order(self) -> DataOrder:
        """The order in which the stage reads its sources."""
        seeds = self.stage.average_seeds or (self.seed,)
        return DataOrder(self.seq_len, seeds)

    def source(self, name: str) -> schema.SourceSpec:
        return self.recipe.sources[name]

    @functools.cached_property
    def mixture(self) -> FlatMixture:
        """What the stage reads, by name."""
        return flatten(self.recipe, self.index)

    @functools.cached_property
    def copies(self) -> Mapping[str, int]:
        """Which copy of its content each of its sources is."""
        leaves = self.mixture.leaves
        return copies(leaves, self.identities, self.cursors)

    def key(self, name: str) -> str:
        """What a source is known by."""
        content = self.identities[name]
        return copy_key(content, self.copies[name])

    def read_before(self, name: str) -> Cursor | None:
        """How far the lineage has read what a source holds."""
        key = self.key(name)
        return self.cursors.get(key)


def read_sources(inputs: StageInputs) -> StageReading:
    """What the stage reads of each source. Problems are in the result; where the mixture has one, nothing is
    read."""
    mixture = inputs.mixture
    problems = list(mixture.problems)
    starts: dict[str, Start] = {}
    for leaf in mixture.leaves:
        start = start_of(leaf, inputs.read_before(leaf.source), inputs.order, inputs.stage.cursor)
        starts[leaf.source] = start
        problems += start.problems
    if mixture.problems or not mixture.leaves or not inputs.budget.rows:
        return StageReading(inputs.cursors, problems=problems)
    # a unit that two sources are equally due must not depend on their names
    asked = tuple(sorted(mixture.leaves, key=lambda leaf: inputs.key(leaf.source)))
    if inputs.stage.by == "documents":
        tokens = _by_tokens(inputs, asked)
        asked = tokens.leaves
        problems += tokens.problems
    spread = _Spread(inputs, asked)
    given = spread.redistributed()
    if given.stuck is not None:  # what is said of it must not depend on what the sources hold
        asked = tuple(sorted(asked, key=lambda leaf: leaf.source))
        spread = _Spread(inputs, asked)
        given = spread.redistributed()
        assert given.stuck is not None  # every source is at its cap, in any order
        problems.append(_nothing_left(given.stuck))
    pieces = segments(given.leaves, inputs.budget.rows)
    sources: list[StageSource] = []
    found: dict[str, list[Finding]] = {}
    cursors = dict(inputs.cursors)
    for leaf, before, windows in zip(given.leaves, asked, windows_of(pieces), strict=True):
        start_window = starts[leaf.source].window
        source = _stage_source(inputs, leaf.source, before.mean, windows, start_window)
        sources.append(source)
        cursors[source.key] = moved_on(inputs.read_before(leaf.source), source, inputs.order)
        found[leaf.source] = list(_source_problems(inputs, leaf, source, spread))
    for leaf in mixture.leaves:
        problems += found[leaf.source]
    return StageReading(
        cursors=cursors,
        leaves=given.leaves,
        sources=tuple(sources),
        segments=pieces,
        redistributed=_changed(asked, given.leaves),
        problems=problems,
    )


def _changed(asked: Sequence[Leaf], given: Sequence[Leaf]) -> dict[str, Fraction]:
    """The shares that redistribution changed, by source."""
    changed = {}
    for before, after in zip(asked, given, strict=True):
        if after.mean != before.mean:
            changed[after.source] = after.mean
    return changed


def _nothing_left(stuck: Leaf) -> Finding:
    what = "every source of this mixture is at its `max_epochs`; nothing can take the rest"
    return finding(stuck.path, "nothing-left", what, "raise a `max_epochs`, or shorten the stage")


def _stage_source(
    inputs: StageInputs,
    name: str,
    share: Fraction,
    windows: int,
    start: int,
) -> StageSource:
    cursor = inputs.read_before(name)
    pool = inputs.pools.get(name)
    return StageSource(
        name,
        share=share,
        windows=windows,
        start=start,
        pool_windows=pool.windows(inputs.seq_len) if pool else None,
        tags=inputs.source(name).tags,
        epochs_before=cursor.epochs if cursor else Fraction(0),
        pool_fingerprint=inputs.identities[name],
        copy=inputs.copies[name],
    )


def _source_problems(
    inputs: StageInputs,
    leaf: Leaf,
    planned: StageSource,
    spread: _Spread,
) -> Iterator[Finding]:
    reading = SourceReading(
        leaf=leaf,
        planned=planned,
        source=inputs.source(leaf.source),
        pool=inputs.pools.get(leaf.source),
        stage=inputs.stage,
        seq_len=inputs.seq_len,
        budget=inputs.budget,
        others_can_take=spread.others_can_take,
    )
    return source_findings(reading)


class _Spread:
    """How the asked shares of a stage spread where sources are at their caps."""

    def __init__(self, inputs: StageInputs, asked: Sequence[Leaf]):
        self.rows = inputs.budget.rows
        self.asked = asked
        self.left: dict[str, int] = {}  # windows that each source of known size may still give
        self.willing: set[str] = set()  # sources whose excess is handed over
        for leaf in asked:
            name = leaf.source
            pool, source = inputs.pools.get(name), inputs.source(name)
            if pool is not None:
                self.left[name] = windows_left(source, pool, inputs.read_before(name), inputs.seq_len)
            if source.on_cap == "redistribute":
                self.willing.add(name)

    def redistributed(self) -> Redistribution:
        return self._with(self.willing)

    def others_can_take(self, name: str) -> bool:
        """Whether the other sources could take what `name` cannot give, if it were handed over too."""
        spread = self._with(self.willing | {name})
        if spread.stuck is not None:
            return False
        pieces = segments(spread.leaves, self.rows)
        windows = windows_of(pieces)
        available = [self.left.get(leaf.source, self.rows) for leaf in spread.leaves]
        pairs = zip(windows, available, strict=True)
        return all(n <= most for n, most in pairs)

    def _with(self, willing: set[str]) -> Redistribution:
        left = dict(self.left)
        for name in left.keys() - willing:
            del left[name]
        return redistribute(self.asked, self.rows, left)


@dataclass(frozen=True)
class _TokenShares:
    leaves: tuple[Leaf, ...]
    problems: tuple[Finding, ...] = ()


def _by_tokens(inputs: StageInputs, leaves: tuple[Leaf, ...]) -> _TokenShares:
    """Shares of documents as the shares of tokens that they imply."""
    lengths: list[Fraction] = []  # mean tokens of a document, by leaf
    for leaf in leaves:
        pool = inputs.pools.get(leaf.source)
        if pool is None or not pool.documents:
            return _TokenShares(leaves, (_documents_unknown(leaf),))
        mean_length = Fraction(pool.tokens, pool.documents)
        lengths.append(mean_length)
    pairs = zip(leaves, lengths, strict=True)
    tokens = [leaf.span.scaled(length) for leaf, length in pairs]
    whole = total(tokens)
    shares = []
    for leaf, span in zip(leaves, tokens, strict=True):
        share = Span(span.start / whole.start, span.end / whole.end)
        shares.append(replace(leaf, span=share))
    return _TokenShares(tuple(shares))


def _documents_unknown(leaf: Leaf) -> Finding:
    what = f"the number of documents of `{leaf.source}` is unknown"
    return finding(
        leaf.path,
        "documents-unknown",
        f"{what}, so its share of documents has no size in tokens",
        "declare `tokens:` and `documents:` of the source, or build it first",
    )
