"""The section of a comparison about the share of code, as the paper's figure 4."""

from __future__ import annotations

from codemix.eval.compare import charts, paper
from codemix.eval.compare.findings import Findings, point_bits
from codemix.eval.compare.stage_roles import Sweep
from codemix.eval.pages.page import Block, Figure, PageTable, Section
from codemix.eval.pages.score_tables import mean_text
from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.language.tags import FAMILIES

LEAD = "Runs from scratch that differ only in how much of their tokens is code (the paper's figure 4)."


def sweep_section(findings: Findings) -> Section | None:
    """One figure per length of the first stages."""
    blocks: list[Block] = [_figure(sweep, f"sweep-{number}") for number, sweep in enumerate(findings.sweeps)]
    if not blocks:
        return None
    if findings.question.overlay_paper:
        blocks += paper.overlay("sweep")
    return Section("sweep", "Proportion of code", LEAD, blocks)


def _figure(sweep: Sweep, key: str) -> Figure:
    bits = [point_bits(point) for point in sweep.points]
    measures = [family for family in FAMILIES if any(values[family] for values in bits)]
    table = PageTable(
        f"Bits per byte by share of code, {sweep.tokens:,} tokens",
        ["share of code", "recipe", "seeds", *measures],
        "rlr" + "r" * len(measures),
    )
    panels: dict[str, list[charts.SweepPoint]] = {measure: [] for measure in measures}
    for point, values in zip(sweep.points, bits, strict=True):
        n_seeds = max(len(values[measure]) for measure in measures)
        cells = [mean_text(values[measure]) for measure in measures]
        name = point.stage.variant.name
        table.rows.append([f"{point.share * 100:g}%", name, str(n_seeds), *cells])
        for measure in measures:
            if values[measure]:
                panels[measure].append(charts.SweepPoint(point.share, values[measure]))
    title = f"Share of code, {show_tokens(sweep.tokens)} tokens from scratch."
    words = (
        "Bits per byte on held-out documents after the first stage; lower is better. "
        "The line is the mean over seeds, small dots are seeds."
    )
    svg = charts.sweep(key, title, words, panels, charts.BITS)
    return Figure(title, svg, words, table)
