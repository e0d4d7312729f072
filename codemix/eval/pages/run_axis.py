"""The axis of a run: its tokens, its stages, and the learning rate below a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codemix.eval.pages import plots
from codemix.eval.pages.plots import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float | None]  # (tokens of the run, value); NaN breaks a line, None is left out
Points = Sequence[Point]


@dataclass(frozen=True)
class Boundary:
    """A stage on the axis of the run's tokens."""

    name: str
    start: float
    stop: float


def run_limits(boundaries: Sequence[Boundary]) -> tuple[float, float]:
    """The first and the last token of the stages."""
    starts = [stage.start for stage in boundaries]
    stops = [stage.stop for stage in boundaries]
    left = min(starts, default=0)
    right = max(stops, default=0)
    return left, right or 1


@dataclass(frozen=True)
class _Span:
    """Where the name of a stage is written."""

    centre: float
    half: float

    def meets(self, other: _Span) -> bool:
        distance = abs(self.centre - other.centre)
        reach = self.half + other.half
        return distance < reach


def name_stages(upper: Axes, lower: Axes, boundaries: Sequence[Boundary]) -> None:
    """Stage names above the lines; one that would run into another goes above it."""
    for axes in (upper, lower):
        mark_boundaries(axes, boundaries)
    left, right = run_limits(boundaries)
    rows: list[list[_Span]] = []
    for stage in boundaries:
        half = 0.006 * (right - left) * (len(stage.name) + 1)
        span = _Span((stage.start + stage.stop) / 2, half)
        free = [level for level, row in enumerate(rows) if not any(span.meets(other) for other in row)]
        level = free[0] if free else len(rows)
        if level == len(rows):
            rows.append([])
        rows[level].append(span)
        upper.text(
            span.centre,
            1.02 + 0.06 * level,
            stage.name,
            transform=upper.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=10,
            fontweight="bold",
        )


def mark_boundaries(axes: Axes, boundaries: Sequence[Boundary]) -> None:
    """A dashed line where each stage but the first starts."""
    for stage in boundaries[1:]:
        axes.axvline(
            stage.start,
            color=MUTED,
            linewidth=1,
            linestyle=(0, (2, 3)),
        )


def draw_rate(axes: Axes, rate: Points, boundaries: Sequence[Boundary]) -> None:
    tokens = [x for x, _ in rate]
    rates = [math.nan if value is None else value for _, value in rate]
    axes.plot(tokens, rates, color=INK, linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("learning rate")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.yaxis.get_offset_text().set_color(MUTED)
    axes.locator_params(axis="y", nbins=3)
    plots.tokens_axis(axes.xaxis)
    left, right = run_limits(boundaries)
    axes.set_xticks([tick for tick in axes.get_xticks() if left <= tick <= right])
    axes.set_xlabel("tokens of the run")
