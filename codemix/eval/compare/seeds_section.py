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
    if len(variants) < 2 or max(len(variant.seeds) for variant in variants) < 2:
        return SeedFindings()
    scored = {variant.name: [_metrics(run.scores) for run in variant.last.runs] for variant in variants}
    separations = []
    needed = []
    for metric in _in_all(scored):
        values = {name: [run[metric] for run in runs] for name, runs in scored.items()}
        separations.append(separation(metric, values))
        needed += _needed(metric, values, base.name)
    return SeedFindings(separations, needed)


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


def _in_all(scored: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """The metrics that every run has."""
    runs = [run for runs in scored.values() for run in runs]
    return [metric for metric in runs[0] if all(metric in run for run in runs)]


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
    columns = list(dict.fromkeys(one.metric for one in found.needed))
    variants = list(dict.fromkeys(one.variant for one in found.needed))
    text = {(one.variant, one.metric): one.text for one in found.needed}
    title = f"Seeds needed to tell each from {base}"
    table = PageTable(title, ["metric", *variants], "l" + "r" * len(variants), id="seeds-needed")
    for metric in columns:
        table.rows.append([metric, *(text[variant, metric] for variant in variants)])
    table.notes.append("If the difference is as seen. Enough: there are as many.")
    return table
