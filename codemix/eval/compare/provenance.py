"""Sections of a comparison about what the runs read, and what they are."""

from __future__ import annotations

from collections.abc import Sequence

from codemix.eval.compare.score_sections import family_of, in_order
from codemix.eval.compare.variants import Run, Variant
from codemix.eval.pages.page import Cell, Mark, PageTable, Section


def ledger_section(variants: Sequence[Variant]) -> Section:
    """Tokens that each run really read, by source."""
    used: set[str] = set()
    for variant in variants:
        used.update(variant.first.facts.used_sources)
    sources = in_order(variants, used)
    headings = ["recipe", *sources, "all", "code", "ledger"]
    align = "l" + "r" * (len(sources) + 2) + "l"
    table = PageTable("Tokens consumed over the whole run", headings, align)
    for variant in variants:
        cells: list[Cell] = [variant.name]
        total = 0
        n_code = 0
        for source in sources:
            n = _consumed(variant.first, source)
            total += n
            n_code += n if family_of(variants, source) == "code" else 0
            cells.append(f"{n:,}" if n else "–")
        share = f"{n_code / total:.1%}" if total else "–"
        cells += [f"{total:,}", share, _ledger_mark(variant)]
        table.rows.append(cells)
    return Section("ledgers", "What the runs read", "", [table])


def _consumed(run: Run, source: str) -> int:
    total = 0
    for stage in run.stages:
        if source in stage.sources:
            total += stage.sources[source].consumed or 0
    return total


def _ledger_mark(variant: Variant) -> Mark:
    if all(stage.training.ledger_equal for run in variant.runs for stage in run.stages):
        return Mark("equals the plan", "good")
    return Mark("differs from the plan", "bad")


def provenance_section(variants: Sequence[Variant]) -> Section:
    """Fingerprints of what was compared."""
    headings = ["recipe", "seed", "stages (fingerprints)", "evaluations"]
    table = PageTable("Runs", headings, "lrll")
    for variant in variants:
        for run in variant.runs:
            table.rows.append(_fingerprints(variant.name, run))
    lead = "A stage with the same fingerprint in two runs is one stage, trained once."
    recipes = [variant.first.facts.recipe for variant in variants]
    if any(variant.name != recipe for variant, recipe in zip(variants, recipes, strict=True)):
        table.notes.append(f"The first recipe's whole name is `{recipes[0]}`.")
    return Section("origin", "Provenance", lead, [table])


def _fingerprints(name: str, run: Run) -> list[Cell]:
    stages = []
    evaluations = []
    for stage in run.stages:
        stages.append(f"{stage.name} {_short(stage.fingerprint)}")
        if stage.scores.exists:
            evaluations.append(_short(stage.scores.fingerprint))
    return [name, f"{run.facts.seed}", ", ".join(stages), ", ".join(evaluations)]


def _short(fingerprint: str) -> str:
    return f"`{fingerprint[:12]}`"
