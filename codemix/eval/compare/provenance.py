"""Sections of a comparison about what the runs read, and what they are."""

from __future__ import annotations

from collections.abc import Sequence

from codemix.eval.compare.score_sections import family_of
from codemix.eval.compare.variants import Run, Variant
from codemix.eval.pages.page import Cell, Mark, PageTable, Section


def ledger_section(variants: Sequence[Variant]) -> Section:
    """Tokens that each run really read, by source."""
    used = {source for variant in variants for stage in variant.first.stages for source in stage.sources}
    sources = sorted(used, key=lambda source: (family_of(variants, source), source))
    headings = ["recipe", *sources, "all", "code", "ledger"]
    align = "l" + "r" * (len(sources) + 2) + "l"
    table = PageTable("Tokens consumed over the whole run", headings, align)
    code = [source for source in sources if family_of(variants, source) == "code"]
    for variant in variants:
        tokens = {source: _consumed(variant.first, source) for source in sources}
        total = sum(tokens.values())
        n_code = sum(tokens[source] for source in code)
        cells: list[Cell] = [f"{n:,}" if n else "–" for n in tokens.values()]
        share = f"{n_code / total:.1%}" if total else "–"
        table.rows.append([variant.name, *cells, f"{total:,}", share, _ledger_mark(variant)])
    return Section("ledgers", "What the runs read", "", [table])


def _consumed(run: Run, source: str) -> int:
    uses = [stage.sources[source] for stage in run.stages if source in stage.sources]
    return sum(use.consumed or 0 for use in uses)


def _ledger_mark(variant: Variant) -> Mark:
    if all(stage.training.ledger_equal for run in variant.runs for stage in run.stages):
        return Mark("equals the plan", "good")
    return Mark("differs from the plan", "bad")


def provenance_section(variants: Sequence[Variant]) -> Section:
    """Fingerprints of what was compared."""
    table = PageTable("Runs", ["recipe", "seed", "stages (fingerprints)", "evaluations"], "lrll")
    for run in [run for variant in variants for run in variant.runs]:
        stages = ", ".join(f"{stage.name} {_short(stage.fingerprint)}" for stage in run.stages)
        scores = ", ".join(_short(stage.scores.fingerprint) for stage in run.stages if stage.scores.exists)
        table.rows.append([run.facts.recipe, str(run.facts.seed), stages, scores])
    lead = "A stage with the same fingerprint in two runs is one stage, trained once."
    return Section("origin", "Provenance", lead, [table])


def _short(fingerprint: str) -> str:
    return f"`{fingerprint[:12]}`"
