"""The section of a comparison that follows each run stage by stage."""

from __future__ import annotations

from codemix.eval.compare import charts
from codemix.eval.compare.findings import Findings
from codemix.eval.compare.variants import Variant, VariantStage
from codemix.eval.pages.page import Figure, PageTable, Section
from codemix.eval.pages.palette import run_shades
from codemix.eval.pages.score_tables import mean_text

SHOWN_MEASURES = ("code", "text")


def trajectories_section(findings: Findings) -> Section | None:
    """Bits per byte after each stage, of the runs that are scored after more than one."""
    longer = [variant for variant in findings.variants if len(_scored(variant)) > 1]
    headings = ["recipe", "stage", "tokens of the run", *SHOWN_MEASURES]
    table = PageTable("Bits per byte after each stage", headings, "llrrr")
    panels: dict[str, dict[str, list[charts.PathPoint]]] = {}
    for variant in longer:
        for stage in _scored(variant):
            tokens = stage.end_tokens
            values = {measure: stage.family_bits(measure) for measure in SHOWN_MEASURES}
            cells = [mean_text(values[measure]) for measure in SHOWN_MEASURES]
            table.rows.append([variant.name, stage.name, f"{tokens:,}", *cells])
            for measure, seeds in values.items():
                if seeds:
                    lines = panels.setdefault(measure, {})
                    lines.setdefault(variant.name, []).append(charts.PathPoint(tokens, seeds))
    if not panels:
        return None
    shades = run_shades([variant.name for variant in longer], findings.base.name)
    title = "Bits per byte after each stage."
    words = (
        f"Lower is better; the dashed line is the baseline `{findings.base.name}`. "
        "A vertical bar is the range over seeds."
    )
    svg = charts.paths("stages", title, words, panels, shades)
    return Section("stages", "Stage by stage", "", [Figure(title, svg, words, table)])


def _scored(variant: Variant) -> list[VariantStage]:
    scored = []
    for stage in variant.stages:
        if stage.facts.has_bits():
            scored.append(stage)
    return scored
