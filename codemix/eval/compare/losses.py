"""The section of a comparison about training losses, where another trainer's log is one of the runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from codemix.eval.compare.charts import DASHED
from codemix.eval.compare.findings import Findings
from codemix.eval.compare.variants import Run
from codemix.eval.pages import plots
from codemix.eval.pages.page import Figure, PageTable, Section
from codemix.eval.pages.palette import Shade, run_shades
from codemix.eval.pages.plots import INK
from codemix.eval.pages.run_axis import Points

END_SHARE = 0.1  # of a stage's points, the last ones, that its loss at the end is the mean of
LEAD = (
    "The loss on the documents that a run learns from. It depends on which documents they are: equal recipes in two "
    "trainers should give equal losses, different recipes need not."
)


def losses_section(findings: Findings) -> Section | None:
    """The loss of each run over its tokens; None where codemix trained every stage."""
    variants = findings.everything
    if not any(variant.elsewhere for variant in variants):
        return None
    headings = ["recipe", "seed", "stage", "tokens of the run", "trained by", "loss at the end"]
    table = PageTable("Training loss, in nats per token", headings, "lrlrlr", id="losses")
    lines: dict[str, Points] = {}
    for variant in variants:
        for run in variant.runs:
            table.rows += _rows(variant.name, run)
        lines[variant.name] = _points(variant.first)
    names = [variant.name for variant in variants]
    shades = run_shades(names, findings.base.name)
    title = "Training loss."
    words = (
        f"The first seed of each recipe; the dashed line is the baseline `{findings.base.name}`. "
        f"The loss at the end is the mean over the last {END_SHARE:.0%} of a stage."
    )
    svg = _chart(title, words, lines, shades)
    return Section("losses", "Training loss", LEAD, [Figure(title, svg, words, table)])


def _chart(title: str, words: str, lines: Mapping[str, Points], shades: Mapping[str, Shade]) -> str:
    """The losses over the tokens of the run, a line for each variant."""
    with plots.drawing(10, 3.9) as figure:
        axes = figure.subplots()
        for name, points in lines.items():
            shade = shades.get(name)
            axes.plot(
                [tokens for tokens, _ in points],
                [math.nan if loss is None else loss for _, loss in points],
                color=plots.ink(shade) if shade else INK,
                linestyle=shade.dash if shade else DASHED,
                linewidth=1.4,
                label=name,
            )
        axes.set_ylabel("loss [nats per token]")
        axes.set_xlabel("tokens of the run")
        plots.tokens_axis(axes.xaxis)
        figure.legend(loc="outside upper left", ncols=4, fontsize=9.5)
        return plots.svg(figure, "losses", title, words)


def _rows(name: str, run: Run) -> list[list[str]]:
    rows = []
    for stage in run.stages:
        trainer = "another trainer" if stage.training.elsewhere else "codemix"
        loss = _at_end(stage.training.curves.total)
        shown = "–" if loss is None else f"{loss:.4f}"
        tokens = f"{stage.plan.end_tokens:,}"
        rows.append([name, f"{run.facts.seed}", stage.name, tokens, trainer, shown])
    return rows


def _at_end(losses: Sequence[float | None]) -> float | None:
    """The mean of the last finite losses of a stage."""
    n_last = max(1, round(END_SHARE * len(losses)))
    known = []
    for loss in losses[-n_last:]:
        if loss is not None:
            known.append(loss)
    if not known:
        return None
    return sum(known) / len(known)


def _points(run: Run) -> Points:
    """The losses of all stages, over the tokens of the run."""
    points: list[tuple[float, float | None]] = []
    for stage in run.stages:
        curves = stage.training.curves
        points += zip(curves.tokens, curves.total, strict=False)
    return points
