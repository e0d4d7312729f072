"""The section of a run report about training: losses by source with the learning rate, and speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from codemix.eval.pages.curves import Column, Curves
from codemix.eval.pages.facts import RunFacts, StageFacts
from codemix.eval.pages.page import Block, Figure, PageTable, Section
from codemix.eval.pages.palette import Shade
from codemix.eval.pages.run_axis import Boundary, Points
from codemix.eval.report import charts, loss_chart

TABLE_INTERVALS = 6  # per stage, between the lines of the table of losses
LEAD = (
    "Losses in nats per token show how training went; "
    "compare recipes by bits per byte, which no tokenizer can flatter."
)


def training_section(facts: RunFacts, shades: Mapping[str, Shade]) -> Section | None:
    """Losses by source with the learning rate, and speed."""
    stages = [stage for stage in facts.stages if stage.training.curves.tokens]
    if not stages:
        return None
    boundaries = [
        Boundary(stage.name, stage.plan.run_tokens_before, stage.plan.end_tokens) for stage in stages
    ]
    blocks: list[Block] = [_losses(stages, boundaries, shades)]
    timed = [stage for stage in stages if stage.training.training_s]
    if timed:
        blocks.append(_throughput(stages, timed, boundaries))
    return Section("training", "Training", LEAD, blocks)


def _losses(
    stages: Sequence[StageFacts], boundaries: Sequence[Boundary], shades: Mapping[str, Shade]
) -> Figure:
    logged = {source for stage in stages for source in stage.training.curves.losses}
    sources = [source for source in sorted(shades) if source in logged]
    title = "Loss by source."
    words = (
        "Training loss over the tokens of the run: thick lines are means over neighbouring steps, pale ones "
        "what was logged. Dashed lines are stage boundaries, below is the learning rate. Lines cut off "
        "at the top belong to the first steps."
    )
    by_source = {source: _points(stages, _loss_of(source)) for source in sources}
    total = _points(stages, lambda curves: curves.total)
    rate = _points(stages, lambda curves: curves.lr)
    svg = loss_chart.losses("losses", title, words, by_source, total, rate, boundaries, shades)
    return Figure(title, svg, words, _loss_table(stages, sources))


def _loss_of(source: str) -> Callable[[Curves], Column]:
    def column(curves: Curves) -> Column:
        return curves.losses.get(source, [])

    return column


def _points(stages: Sequence[StageFacts], column_of: Callable[[Curves], Column]) -> Points:
    """A metric over the tokens of the run; NaN breaks the line where a stage branches off earlier."""
    points: list[tuple[float, float | None]] = []
    last = -math.inf
    for stage in stages:
        curves = stage.training.curves
        column = _filled(column_of(curves), curves)
        start = curves.tokens[0]
        if start <= last:
            points.append((start, math.nan))
        points += zip(curves.tokens, column, strict=True)
        last = curves.tokens[-1]
    return points


def _filled(column: Column, curves: Curves) -> Column:
    """The column, of nothing where it was never logged."""
    if column:
        return column
    return [None] * len(curves.tokens)


def _loss_table(stages: Sequence[StageFacts], sources: Sequence[str]) -> PageTable:
    headings = ["stage", "tokens of the run", "learning rate", *sources, "all sources"]
    align = "lrr" + "r" * (len(sources) + 1)
    table = PageTable("Training loss [nats per token]", headings, align)
    for stage in stages:
        curves = stage.training.curves
        rates = _filled(curves.lr, curves)
        losses = []
        for source in sources:
            column = curves.losses.get(source, [])
            losses.append(_filled(column, curves))
        losses.append(_filled(curves.total, curves))
        for i in _evenly(len(curves.tokens)):
            cells = [_text(rates[i], ".3g")]
            cells += [_text(column[i], ".4f") for column in losses]
            tokens = f"{curves.tokens[i]:,}"
            table.rows.append([stage.name, tokens, *cells])
    return table


def _evenly(n: int) -> list[int]:
    """Indices from the first to the last of `n`."""
    indices = {n - 1}
    for k in range(TABLE_INTERVALS):
        indices.add(n * k // TABLE_INTERVALS)
    return sorted(indices)


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _throughput(
    stages: Sequence[StageFacts], timed: Sequence[StageFacts], boundaries: Sequence[Boundary]
) -> Figure:
    table = PageTable("Speed", ["stage", "tokens", "training time", "tokens per second"], "lrrr")
    for stage in timed:
        seconds = stage.training.training_s or 0
        tokens = stage.training.curves.tokens[-1] - stage.plan.run_tokens_before
        table.rows.append([stage.name, f"{tokens:,}", clock(seconds), f"{tokens / seconds:,.0f}"])
    title = "Throughput."
    words = "Tokens trained per second; pauses between sessions do not count as training time."
    speed = _points(stages, lambda curves: curves.tokens_per_s)
    svg = charts.throughput("throughput", title, words, speed, boundaries)
    return Figure(title, svg, words, table)


def clock(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
