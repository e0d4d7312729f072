"""What may be called between the task scores of two variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codemix.eval import stats
from codemix.eval.compare.variants import Example, Variant, VariantStage
from codemix.eval.pages.results import TaskScore
from codemix.eval.pages.score_tables import present


@dataclass(frozen=True)
class _Measure:
    """How a measure reads one example, and a whole result."""

    name: str  # "gold": bits per byte of the right answers; "score": credit

    @property
    def lower_is_better(self) -> bool:
        return self.name == "gold"

    def numerator(self, example: Example) -> float:
        return example.gold_bits if self.name == "gold" else example.credit

    def denominator(self, example: Example) -> float:
        return example.gold_bytes if self.name == "gold" else 1.0

    def of(self, score: TaskScore) -> float | None:
        return score.gold_bits_per_byte if self.name == "gold" else score.score


def task_call(variant: Variant, base: Variant, measure: str, task: str) -> str:
    """What may be called between two variants' last stages: "better", "worse", "no call".

    "" where there are no examples to pair. `measure`: "gold" (bits per byte of the right answers) or "score".
    """
    if variant is base:
        return ""
    read = _Measure(measure)
    ours = variant.last.examples(task)
    theirs = base.last.examples(task)
    common = sorted(set.intersection(*map(set, [*ours, *theirs])))
    if len(common) < 2:
        return ""
    side = _side(ours, common, read)
    base_side = _side(theirs, common, read)
    if sum(side[1]) == 0 or sum(base_side[1]) == 0:
        return ""
    return stats.verdict(
        stats.paired_bootstrap(base_side, side),
        stats.seed_spread(_seeds(base.last, task, read)),
        stats.seed_spread(_seeds(variant.last, task, read)),
        lower_is_better=read.lower_is_better,
    )


def _side(
    runs: Sequence[dict[str, Example]], common: Sequence[str], read: _Measure
) -> tuple[list[float], list[float]]:
    """Numerators and denominators of the common examples, the numerators averaged over the seeds."""
    numerators = []
    denominators = []
    for name in common:
        seeds = [read.numerator(run[name]) for run in runs]
        numerators.append(sum(seeds) / len(seeds))
        denominators.append(read.denominator(runs[0][name]))
    return numerators, denominators


def _seeds(stage: VariantStage, task: str, read: _Measure) -> list[float]:
    """The score of each run that has one."""
    values = []
    for run in stage.runs:
        if task in run.scores.tasks:
            values.append(read.of(run.scores.tasks[task]))
    return present(values)
