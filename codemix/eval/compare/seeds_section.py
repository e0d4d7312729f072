"""What the seeds of a comparison can tell apart, metric by metric, and how many more it would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codemix.eval.compare.variants import Variant
from codemix.eval.decide.separation import Seeds, Separation, seeds_needed, separation
from codemix.eval.decide.tables import SEEDS_NOTE, separation_table
from codemix.eval.evidence.scored import BITS, ERROR, GOLD
from codemix.eval.pages.page import Block, PageTable, Section
from codemix.eval.pages.results import EvalFacts
from codemix.recipe.language.quantities import show_tokens

ENOUGH = "enough"


@dataclass(frozen=True)
class NeededSeeds:
    """Of a variant and of the baseline, to tell them apart by one metric if they differ as seen."""

    metric: str
    variant: str
    runs: int  # the fewer of the two
    needed: int | None  # None where they do not differ

    @property
    def text(self) -> str:
        if self.needed is None:
            return "–"
        return ENOUGH if self.needed <= self.runs else f"{self.needed:,}"


@dataclass(frozen=True)
class SeedFindings:
    """Of the variants that are as long as the baseline, after their last stage."""

    separations: Sequence[Separation] = ()
    needed: Sequence[NeededSeeds] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "separations": [found.as_json() for found in self.separations],
            "needed": [asdict(found) for found in self.needed],
        }


def seed_findings(variants: Sequence[Variant], base: Variant) -> SeedFindings:
    """None where no variant was trained with two seeds, or there is nothing to tell apart."""
    n_runs = sum(len(variant.last.runs) for variant in variants)
    if len(variants) < 2 or n_runs == len(variants):
        return SeedFindings()
    separations = []
    needed = []
    for metric, values in _by_metric(variants).items():
        if sum(map(len, values.values())) < n_runs:  # that some run lacks
            continue
        separations.append(separation(metric, values))
        needed += _needed(metric, values, base.name)
    return SeedFindings(separations, needed)


def _by_metric(variants: Sequence[Variant]) -> dict[str, dict[str, list[float]]]:
    """Of each metric the values of each variant's runs after the last stage."""
    found: dict[str, dict[str, list[float]]] = {}
    for variant in variants:
        for run in variant.last.runs:
            metrics = _metrics(run.scores)
            for metric, value in metrics.items():
                of_metric = found.setdefault(metric, {})
                of_variant = of_metric.setdefault(variant.name, [])
                of_variant.append(value)
    return found


def _metrics(scores: EvalFacts) -> dict[str, float]:
    """By the names that evidence has for them; lower is better."""
    metrics = {}
    for source, bits in scores.sources.items():
        metrics[f"{BITS}/{source}"] = bits.bits_per_byte
    for task, score in scores.tasks.items():
        if score.gold_bits_per_byte is not None:
            metrics[f"{GOLD}/{task}"] = score.gold_bits_per_byte
        metrics[f"{ERROR}/{task}"] = 1 - score.score
    return metrics


def _needed(
    metric: str,
    values: Mapping[str, Sequence[float]],
    base: str,
) -> list[NeededSeeds]:
    seeds = Seeds.of(list(values.values()))
    if seeds.sd is None:
        return []
    means = dict(zip(values, seeds.means.tolist(), strict=True))
    found = []
    for name, runs in values.items():
        if name == base:
            continue
        fewest = min(len(runs), len(values[base]))
        needed = seeds_needed(seeds.sd, means[name] - means[base])
        found.append(NeededSeeds(metric, name, fewest, needed))
    return found


def seeds_section(found: SeedFindings, base: Variant) -> Section | None:
    """Signal, noise and verdict of each metric, and the seeds that each difference from the baseline needs."""
    if not found.separations:
        return None
    signal = PageTable.of(separation_table("Signal and noise", found.separations), "seeds-signal")
    signal.notes.append(SEEDS_NOTE)
    blocks: list[Block] = [signal, _needed_table(found, base.name)]
    length = show_tokens(base.last.end_tokens)
    lead = f"Which metrics can decide between these recipes at {length} tokens, and which cannot."
    return Section("seeds", "What the seeds can tell", lead, blocks)


def _needed_table(found: SeedFindings, base: str) -> PageTable:
    by_metric: dict[str, dict[str, str]] = {}
    for one in found.needed:
        of_metric = by_metric.setdefault(one.metric, {})
        of_metric[one.variant] = one.text
    [variants, *_] = by_metric.values()
    title = f"Seeds needed to tell each from {base}"
    align = "l" + "r" * len(variants)
    table = PageTable(title, ["metric", *variants], align, id="seeds-needed")
    for metric, texts in by_metric.items():
        row = [metric, *texts.values()]
        table.rows.append(row)
    table.notes.append("If the difference is as seen. Enough: there are as many.")
    return table
