"""What the runs of a comparison are: variants, each with its seeds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from codemix.data.store.manifest import Manifest
from codemix.errors import CodemixError, did_you_mean
from codemix.eval.pages.facts import RunFacts, StageFacts
from codemix.eval.pages.results import Average, Documents, pooled
from codemix.eval.pages.run_folders import run_facts
from codemix.eval.task_shapes.example_files import records
from codemix.files import digest
from codemix.recipe.language.component import identity
from codemix.recipe.planning.cooldown import cools_down

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan

SAME_LENGTH = 0.01  # runs whose tokens differ by less than this share are equally long


@dataclass(frozen=True)
class RunInputs:
    """A trained run, as `compare` takes it: its plan and what its stages left in the store."""

    plan: Plan
    manifests: Mapping[str, Manifest]
    stage_dirs: Sequence[Path]
    eval_paths: Sequence[Path]


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
        return next((stage for stage in self.stages if stage.name == name), None)


@dataclass(eq=False)
class Variant:
    """Runs of one recipe that differ in nothing but the seed."""

    name: str
    runs: list[Run] = field(default_factory=list)

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def families(self) -> Mapping[str, str]:
        return self.first.facts.families

    @property
    def seeds(self) -> list[int]:
        return [run.facts.seed for run in self.runs]

    @property
    def stages(self) -> list[VariantStage]:
        return [VariantStage(self, stage) for stage in self.first.stages]

    @property
    def last(self) -> VariantStage:
        """The last stage that is scored."""
        return [stage for stage in self.stages if stage.facts.is_scored][-1]

    @property
    def before_cooldown(self) -> VariantStage:
        """The last scored stage that is not a cooldown."""
        scored = [stage for stage in self.stages if stage.facts.is_scored]
        others = [stage for stage in scored if not is_cooldown(stage.facts)]
        return (others or scored)[-1]


@dataclass(frozen=True)
class VariantStage:
    """One stage of a variant, in all of its runs."""

    variant: Variant
    facts: StageFacts  # of the variant's first run

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def runs(self) -> list[StageFacts]:
        """The stage in each run that has it."""
        stages = [run.stage(self.name) for run in self.variant.runs]
        return [stage for stage in stages if stage is not None]

    @property
    def documents(self) -> list[Documents]:
        """The records of each run."""
        return [run.documents.get(self.name, {}) for run in self.variant.runs]

    def examples(self, task: str) -> list[dict[str, Example]]:
        """A task's records of each run."""
        return [run.examples.get(self.name, {}).get(task, {}) for run in self.variant.runs]

    def sources_of(self, measure: str) -> list[str]:
        """The scored sources of a measure: a family, or the name of one source."""
        families = self.variant.families
        scored = sorted(self.facts.scores.sources)
        return [name for name in scored if measure in (name, families.get(name, "other"))]

    def bits(self, sources: Sequence[str]) -> list[float]:
        """Bits per byte of several sources together, one value per seed that has them."""
        values = [pooled(stage.scores.sources, sources) for stage in self.runs]
        return [value for value in values if value is not None]

    def average(self, name: str) -> list[Average]:
        """One of the paper's averages, one per seed that has it."""
        return [stage.scores.averages[name] for stage in self.runs if name in stage.scores.averages]

    @property
    def code_share(self) -> float:
        """The share of the stage's tokens that is code."""
        return sum(self._code_shares().values())

    @property
    def code_composition(self) -> str:
        """What the code of the stage is: `stdlib 70, web 30` [% of the code]."""
        shares = {name: share for name, share in self._code_shares().items() if share}
        total = sum(shares.values())
        names = sorted(shares, key=lambda name: (-round(shares[name], 4), name))
        return ", ".join(f"{name} {shares[name] / total * 100:.0f}" for name in names)

    def _code_shares(self) -> dict[str, float]:
        families = self.variant.families
        uses = self.facts.sources.items()
        return {name: use.share for name, use in uses if families[name] == "code"}


def is_cooldown(stage: StageFacts) -> bool:
    """Whether a stage continues another while its rate cools down."""
    plan = stage.plan
    if plan.parent is None or plan.rates is None:
        return False
    return cools_down(plan.learning_rate["kind"], plan.rates.first, plan.rates.last)


def load(inputs: Iterable[RunInputs]) -> list[Variant]:
    """The variants, in the order given; runs of recipes that differ only in the seed together."""
    by_recipe: dict[str, list[Run]] = {}
    seen: set[str] = set()
    for run_inputs in inputs:
        content = identity(run_inputs.plan.recipe)
        key = digest(content)
        if key in seen:
            continue  # the same recipe twice is one run
        seen.add(key)
        but_the_seed = {name: value for name, value in content.items() if name != "seed"}
        by_recipe.setdefault(digest(but_the_seed), []).append(_read_run(run_inputs))
    groups = [sorted(runs, key=lambda run: run.facts.seed) for runs in by_recipe.values()]
    variants = list(map(Variant, short_names(groups), groups))
    unscored = [v.name for v in variants if not any(stage.is_scored for stage in v.first.stages)]
    if unscored:
        raise CodemixError(
            f"not scored yet: {', '.join(unscored)}",
            hints=["`codemix eval` scores a trained recipe"],
            rule="not-scored",
        )
    return variants


def _read_run(inputs: RunInputs) -> Run:
    facts = run_facts(inputs.plan, inputs.manifests, inputs.stage_dirs, inputs.eval_paths)
    folders = {stage.name: stage.scores.folder for stage in facts.stages}
    return Run(
        inputs.plan,
        facts,
        documents={stage.name: stage.scores.documents() for stage in facts.stages if stage.scores.exists},
        examples={name: examples(folder / "examples") for name, folder in folders.items() if folder},
    )


def examples(folder: Path) -> Examples:
    """What every example of every task gave."""
    if not folder.is_dir():
        return {}
    return {path.stem: _read_examples(path) for path in sorted(folder.glob("*.jsonl"))}


def _read_examples(path: Path) -> dict[str, Example]:
    by_id = {}
    for record in records(path):
        gold_bits = float(record["gold_bits"])
        by_id[str(record["id"])] = Example(float(record["correct"]), gold_bits, int(record["gold_bytes"]))
    return by_id


def short_names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Recipe names without `-seed3` and without what all of them begin with; whole where that would leave two alike."""
    recipes = [group[0].facts.recipe for group in groups]
    pairs = zip(groups, recipes, strict=True)
    seedless = [_without_seed(recipe) if len(group) > 1 else recipe for group, recipe in pairs]
    names = _without_common_start(seedless)
    if len(set(names)) < len(names) or not all(names):
        names = seedless
    if len(set(names)) < len(names):
        names = recipes
    return [name if names.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(names, 1)]


def _without_seed(recipe: str) -> str:
    return re.sub(r"[-_.]seed[-_]?\d+\Z", "", recipe)


def _without_common_start(names: Sequence[str]) -> list[str]:
    """Names without the words that all of them begin with."""
    if len(names) < 2:
        return list(names)
    common = re.sub(r"[^-_.]*\Z", "", os.path.commonprefix(list(names)))
    return [name.removeprefix(common) for name in names]


def find_baseline(variants: Sequence[Variant], name: str | None) -> Variant:
    """The variant that `name` (short, whole, or of one seed) refers to; the first when no name is given."""
    if name is None:
        return variants[0]
    for variant in variants:
        recipes = [run.facts.recipe for run in variant.runs]
        if name in (variant.name, *recipes):
            return variant
    known = [variant.name for variant in variants]
    raise CodemixError(
        f"there is no run `{name}` to be the baseline", hints=did_you_mean(name, known), rule="baseline"
    )


def equally_long(compared: Sequence[VariantStage], base: VariantStage) -> list[VariantStage]:
    """The stages of other variants at which the run is as long as at the baseline's; all, when none is."""
    others = [stage for stage in compared if stage.variant is not base.variant]
    tokens = base.facts.plan.end_tokens
    as_long = [s for s in others if abs(s.facts.plan.end_tokens - tokens) <= SAME_LENGTH * tokens]
    return as_long or others
