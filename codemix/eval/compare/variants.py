"""What a comparison is about: variants, each with its runs, and a variant's stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from codemix.eval.pages.facts import RunFacts, StageFacts, of_family
from codemix.eval.pages.results import Average, Documents, pooled
from codemix.recipe.planning.cooldown import cools_down

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan

SAME_LENGTH = 0.01  # runs whose tokens differ by less than this share are equally long


class Example(NamedTuple):
    """One example of a task: credit in [0, 1], bits and bytes of the right answer."""

    credit: float
    gold_bits: float
    gold_bytes: int


Examples = dict[str, dict[str, Example]]  # task -> example id -> score


@dataclass(eq=False)
class Run:
    """One run: its facts, and records by document and by example."""

    plan: Plan
    facts: RunFacts
    documents: dict[str, Documents]  # by stage name
    examples: dict[str, Examples]  # by stage name

    @property
    def stages(self) -> Sequence[StageFacts]:
        return self.facts.stages

    def stage(self, name: str) -> StageFacts | None:
        for stage in self.stages:
            if stage.name == name:
                return stage
        return None


@dataclass(eq=False)
class Variant:
    """Runs of one recipe that differ in nothing but the seed."""

    name: str
    runs: list[Run] = field(default_factory=list)

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def elsewhere(self) -> bool:
        """Whether another trainer trained it."""
        return self.first.facts.elsewhere

    @property
    def families(self) -> Mapping[str, str]:
        return self.first.facts.families

    @property
    def seeds(self) -> list[int]:
        return [run.facts.seed for run in self.runs]

    @property
    def stages(self) -> list[VariantStage]:
        stages = []
        for facts in self.first.stages:
            stages.append(VariantStage(self, facts))
        return stages

    @property
    def scored_stages(self) -> list[VariantStage]:
        """Those with bits per byte or task scores."""
        scored = []
        for stage in self.stages:
            if stage.facts.is_scored:
                scored.append(stage)
        return scored

    @property
    def last(self) -> VariantStage:
        """The last stage that is scored."""
        return self.scored_stages[-1]

    @property
    def before_cooldown(self) -> VariantStage:
        """The last scored stage that is not a cooldown."""
        for stage in reversed(self.scored_stages):
            if not is_cooldown(stage.facts):
                return stage
        return self.last


@dataclass(frozen=True)
class VariantStage:
    """One stage of a variant, in all of its runs."""

    variant: Variant
    facts: StageFacts  # of the variant's first run

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def end_tokens(self) -> int:
        """Tokens of the run at the end of the stage."""
        return self.facts.plan.end_tokens

    @property
    def runs(self) -> list[StageFacts]:
        """The stage in each run that has it."""
        stages = []
        for run in self.variant.runs:
            stage = run.stage(self.name)
            if stage is not None:
                stages.append(stage)
        return stages

    @property
    def documents(self) -> list[Documents]:
        """The records of each run."""
        records = []
        for run in self.variant.runs:
            records.append(run.documents.get(self.name, {}))
        return records

    def examples(self, task: str) -> list[dict[str, Example]]:
        """A task's records of each run."""
        records = []
        for run in self.variant.runs:
            by_task = run.examples.get(self.name, {})
            records.append(by_task.get(task, {}))
        return records

    def sources_of(self, measure: str) -> list[str]:
        """The scored sources of a measure: a family, or the name of one source."""
        scored = sorted(self.facts.scores.sources)
        members = of_family(measure, scored, self.variant.families)
        if measure in scored and measure not in members:
            members.append(measure)
        return sorted(members)

    def bits(self, sources: Sequence[str]) -> list[float]:
        """Bits per byte of several sources together, one value per seed that has them."""
        values = []
        for stage in self.runs:
            value = pooled(stage.scores.sources, sources)
            if value is not None:
                values.append(value)
        return values

    def family_bits(self, family: str) -> list[float]:
        """Bits per byte of a family, one value per seed that has it."""
        scored = self.facts.scores.sources
        sources = of_family(family, scored, self.variant.families)
        return self.bits(sources)

    def averages(self, name: str) -> list[Average]:
        """One of the paper's averages, one per seed that has it."""
        averages = []
        for stage in self.runs:
            if name in stage.scores.averages:
                averages.append(stage.scores.averages[name])
        return averages


def is_cooldown(stage: StageFacts) -> bool:
    """Whether a stage continues another while its rate cools down."""
    plan = stage.plan
    if plan.parent is None or plan.rates is None:
        return False
    return cools_down(plan.learning_rate["kind"], plan.rates.first, plan.rates.last)


def equally_long(compared: Iterable[VariantStage], base: VariantStage) -> list[VariantStage]:
    """The stages of other variants at which the run is as long as at the baseline's; all, when none is."""
    others = []
    as_long = []
    for stage in compared:
        if stage.variant is base.variant:
            continue
        others.append(stage)
        difference = abs(stage.end_tokens - base.end_tokens)
        if difference <= SAME_LENGTH * base.end_tokens:
            as_long.append(stage)
    return as_long or others
