"""The mixtures that a recipe allows: `max_epochs` of each source over the lineage and limits on tags, as
linear bounds on the shares of domains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from codemix.eval.mix.proposal import Bound, Region
from codemix.recipe.checks.limits import matches
from codemix.recipe.language import schema
from codemix.recipe.language.quantities import show_share
from codemix.recipe.planning.apportion import apportion
from codemix.recipe.planning.epoch_caps import max_epochs
from codemix.recipe.planning.plan import Plan, StagePlan, StageSource, lineage
from codemix.recipe.studies.mix_space import Domain, MixSpace, VariedStage

GRAIN = 10**5  # a proposal's shares are whole multiples of 1 / GRAIN: 0.001%


@dataclass(frozen=True)
class _Column:
    """A domain of a stage: one variable of the region."""

    stage: VariedStage
    domain: Domain
    place: int  # of the stage

    @property
    def label(self) -> str:
        return f"{self.stage.name}.{self.domain.name}"

    def weighed(self, weights: Mapping[str, float]) -> float:
        """The weighted share of its sources."""
        total = 0.0
        for source, share in self.domain.inside.items():
            weight = weights.get(source, 0.0)
            total += weight * float(share)
        return total

    def least(self, rows: int) -> float:
        """The share with which its smallest source gets a window of a stage of so many."""
        smallest = min(self.domain.inside.values())
        window = 1 / (rows * float(smallest))
        return window + 1 / GRAIN


def region(space: MixSpace, plan: Plan) -> Region:
    """The region of a space, with the sizes of a plan of its base recipe.

    Bounds leave room for what rounding to the grain and then to whole windows can add.
    """
    columns = _columns(space)
    least = []
    for column in columns:
        planned = plan.stages[column.stage.index]
        least.append(column.least(planned.rows))
    priors = [float(column.domain.prior) for column in columns]
    stages = [column.place for column in columns]
    caps = _Caps(space, plan, columns)
    return Region(
        names=tuple(_names(space, columns)),
        stages=np.array(stages),
        prior=np.array(priors),
        bounds=(*caps.bounds(), *_limits(space, plan, columns)),
        least=np.array(least),
    )


def _columns(space: MixSpace) -> list[_Column]:
    columns = []
    for place, stage in enumerate(space.stages):
        for domain in stage.domains:
            columns.append(_Column(stage, domain, place))
    return columns


def _names(space: MixSpace, columns: Sequence[_Column]) -> list[str]:
    """Of the domains; with their stage in front where several vary."""
    if len(space.stages) > 1:
        return [column.label for column in columns]
    return [column.domain.name for column in columns]


def rounded(space: MixSpace, mixture: np.ndarray) -> list[dict[str, Fraction]]:
    """The shares by stage and domain as whole multiples of the grain, summing to one."""
    shares = []
    values = iter(mixture.tolist())
    for stage in space.stages:
        exact = [Fraction(next(values)) for _ in stage.domains]
        total = sum(exact)
        parts = [share / total for share in exact]
        counts = apportion(GRAIN, parts)
        of_stage = {}
        for domain, count in zip(stage.domains, counts, strict=True):
            of_stage[domain.name] = Fraction(count, GRAIN)
        shares.append(of_stage)
    return shares


def _row(
    columns: Sequence[_Column],
    stage: VariedStage,
    weights: Mapping[str, float],
) -> np.ndarray:
    """The weighted share of the sources of each domain of a stage; 0 in other stages."""
    values = []
    for column in columns:
        is_here = column.stage is stage
        value = column.weighed(weights) if is_here else 0.0
        values.append(value)
    return np.array(values)


@dataclass(frozen=True)
class _Caps:
    """`max_epochs` of every source over every lineage that a varied stage belongs to."""

    space: MixSpace
    plan: Plan
    columns: Sequence[_Column]

    def bounds(self) -> Iterator[Bound]:
        parents = {id(stage.parent) for stage in self.plan.stages}
        for end in self.plan.stages:
            if id(end) not in parents:
                yield from self._of_lineage(lineage(end))

    def _of_lineage(self, stages: Sequence[StagePlan]) -> Iterator[Bound]:
        in_lineage = {id(stage) for stage in stages}
        varied = []
        sources: set[str] = set()
        for stage in self.space.stages:
            if id(self._planned(stage)) in in_lineage:
                varied.append(stage)
                sources |= stage.sources
        for source in sorted(sources):
            row, margin = self._epochs_by_share(source, varied)
            if row.any():
                yield self._bound(source, row, margin + self._fixed(source, stages, varied))

    def _planned(self, stage: VariedStage) -> StagePlan:
        return self.plan.stages[stage.index]

    def _epochs_by_share(
        self,
        source: str,
        varied: Sequence[VariedStage],
    ) -> tuple[np.ndarray, float]:
        """How often the varied stages read a source for each share of a domain, and what rounding can add;
        nothing where its size is unknown."""
        row = np.zeros(len(self.columns))
        margin = 0.0
        for stage in varied:
            planned = self._planned(stage)
            pool = _pool_windows(planned, source)
            if pool is None:
                continue
            epochs = planned.rows / pool
            row += _row(self.columns, stage, {source: epochs})
            margin += 1 / pool + epochs / GRAIN
        return row, margin

    def _fixed(
        self,
        source: str,
        stages: Sequence[StagePlan],
        varied: Sequence[VariedStage],
    ) -> float:
        """How often the other stages of a lineage read a source."""
        free = {id(self._planned(stage)) for stage in varied}
        epochs = 0.0
        for stage in stages:
            if id(stage) not in free:
                epochs += _epochs(stage, source)
        return epochs

    def _bound(
        self,
        source: str,
        row: np.ndarray,
        taken: float,
    ) -> Bound:
        spec = self.space.base.recipe.sources[source]
        left = float(max_epochs(spec)) - taken
        what = f"`{source}` at `max_epochs: {spec.max_epochs:g}`"
        return Bound(row, max(0.0, left), what)


def _read(stage: StagePlan, source: str) -> StageSource | None:
    """What a stage reads of a source."""
    for read in stage.sources:
        if read.source == source:
            return read
    return None


def _pool_windows(stage: StagePlan, source: str) -> int | None:
    """Windows of one epoch; None for a source of unknown size, or that the stage does not read."""
    read = _read(stage, source)
    return read.pool_windows if read else None


def _epochs(stage: StagePlan, source: str) -> float:
    """How often a stage reads a source."""
    read = _read(stage, source)
    if read is None or not read.pool_windows:
        return 0.0
    return read.windows / read.pool_windows


def _limits(
    space: MixSpace,
    plan: Plan,
    columns: Sequence[_Column],
) -> Iterator[Bound]:
    recipe = space.base.recipe
    for stage in space.stages:
        own = recipe.stages[stage.index].limits
        planned = plan.stages[stage.index]
        for limit in (*recipe.limits, *own):
            part = _Part.of(space, stage, limit)
            yield from part.bounds(columns, planned.rows)


@dataclass(frozen=True)
class _Part:
    """The sources that a limit counts, `inside`, among those that it refers to, `around`."""

    limit: schema.Limit
    stage: VariedStage
    inside: Mapping[str, float]
    around: Mapping[str, float]

    @classmethod
    def of(
        cls,
        space: MixSpace,
        stage: VariedStage,
        limit: schema.Limit,
    ) -> _Part:
        inside = {}
        around = {}
        for name in stage.sources:
            tags = space.base.recipe.sources[name].tags
            if limit.of is not None and not matches(tags, limit.of):
                continue
            around[name] = 1.0
            if matches(tags, limit.where):
                inside[name] = 1.0
        return cls(limit, stage, inside, around)

    def bounds(
        self,
        columns: Sequence[_Column],
        rows: int,
    ) -> Iterator[Bound]:
        """Both sides of the limit, as `inside - limit * around <= 0`."""
        inside = _row(columns, self.stage, self.inside)
        around = _row(columns, self.stage, self.around)
        most = self.limit.max
        least = self.limit.min
        margin = self._margin(rows)
        if most is not None and most < 1:
            row = inside - float(most) * around
            yield Bound(row, -margin, self._what("most", most))
        if least:
            row = float(least) * around - inside
            yield Bound(row, -margin, self._what("least", least))

    def _margin(self, rows: int) -> float:
        """What rounding can add: a window for each source that counts, and the grain of each domain."""
        moving = len(self.inside)
        if self.limit.of is not None:
            moving += len(self.around)
        grains = 2 * len(self.stage.domains)
        return moving / rows + grains / GRAIN

    def _what(self, side: str, share: Fraction) -> str:
        tags = self.limit.where
        bound = show_share(share)
        stage = self.stage.name
        return f"{tags} at {side} {bound} of `{stage}`"
