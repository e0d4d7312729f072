"""The figure of the losses of a run, with its learning rate below."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from codemix.eval.pages import plots
from codemix.eval.pages.palette import Shade
from codemix.eval.pages.plots import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[
    tuple[float, float | None]
]  # (tokens of the run, value); NaN breaks a line, None is left out
ALL_SOURCES = "all sources"
DOTTED = {"color": MUTED, "linewidth": 1.2, "linestyle": (0, (1, 1.5))}
AS_LOGGED = {"linewidth": 0.7, "alpha": 0.3}
SMOOTHED_SHARE = 0.08  # of a stage's points that one mean is over
MAX_END_LABELS = 9  # more lines are named in a legend
SHOWN_SHARE = 0.97  # of a line's points set the top of the axis: the first few tower over everything


@dataclass(frozen=True)
class Boundary:
    """A stage on the axis of the run's tokens."""

    name: str
    start: float
    stop: float


@dataclass(frozen=True)
class _Line:
    """A line of the figure, without the points where it has no value."""

    name: str
    x: list[float]
    y: list[float]
    style: Mapping[str, Any]

    @property
    def finite(self) -> list[float]:
        """The values that can be drawn."""
        return list(filter(math.isfinite, self.y))

    @property
    def end(self) -> tuple[float, float]:
        """The last point that has a value."""
        last = len(self.y) - 1
        while not math.isfinite(self.y[last]):
            last -= 1
        return self.x[last], self.y[last]

    @property
    def top(self) -> float:
        """The value that all but the few largest stay below."""
        values = sorted(self.finite)
        last = len(values) - 1
        place = int(len(values) * SHOWN_SHARE)
        return values[min(last, place)]


def losses(
    key: str,
    title: str,
    description: str,
    curves: Mapping[str, Points],
    total: Points,
    rate: Points,
    boundaries: Sequence[Boundary],
    shades: Mapping[str, Shade],
) -> str:
    """Training loss by source over the tokens of the run, stages marked, the learning rate below."""
    with plots.drawing(10, 5.2) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4.2, 1))
        lines = [line for line in _lines(curves, total, shades) if line.finite]
        for line in lines:
            upper.plot(line.x, line.y, **{**line.style, **AS_LOGGED})
            upper.plot(line.x, smoothed(line, boundaries), label=line.name, **line.style)
        _limit(upper, lines, boundaries)
        if len(lines) <= MAX_END_LABELS:
            _label_ends(upper, lines, boundaries)
        else:
            figure.legend(loc="outside right upper", fontsize=9)
        _name_stages(upper, lower, boundaries)
        upper.set_ylabel("loss [nats per token]")
        _draw_rate(lower, rate, boundaries)
        figure.align_ylabels([upper, lower])
        return plots.svg(figure, key, title, description)


def _lines(curves: Mapping[str, Points], total: Points, shades: Mapping[str, Shade]) -> Iterable[_Line]:
    """A line per source, then a dotted one for all of them."""
    for name, points in curves.items():
        style = {
            "color": plots.ink(shades[name]),
            "linestyle": shades[name].dash,
        }
        yield _line(name, points, style)
    yield _line(ALL_SOURCES, total, DOTTED)


def _line(name: str, points: Points, style: Mapping[str, Any]) -> _Line:
    x = []
    y = []
    for tokens, value in points:
        if value is not None:
            x.append(tokens)
            y.append(value)
    return _Line(name, x, y, style)


def smoothed(line: _Line, boundaries: Sequence[Boundary]) -> list[float]:
    """The mean of each value and its neighbours in the same stage; NaN stays, and breaks the line."""
    starts = [stage.start for stage in boundaries]
    stretches = []
    for tokens, value in zip(line.x, line.y, strict=True):
        stage = bisect_left(starts, tokens)
        stretches.append((stage, math.isfinite(value)))
    means: list[float] = []
    for (_, is_finite), stretch in groupby(stretches):
        first = len(means)
        last = first + len(list(stretch))
        values = line.y[first:last]
        means += _moving_mean(values) if is_finite else values
    return means


def _moving_mean(values: Sequence[float]) -> list[float]:
    """Means over as many values on one side as on the other, so that a slope is not bent at its ends."""
    n = len(values)
    reach = max(1, round(n * SMOOTHED_SHARE / 2))
    means = []
    for i in range(n):
        near = min(reach, i, n - 1 - i)
        neighbours = values[i - near : i + near + 1]
        means.append(sum(neighbours) / len(neighbours))
    return means


def run_limits(boundaries: Sequence[Boundary]) -> tuple[float, float]:
    """The first and the last token of the stages."""
    starts = [stage.start for stage in boundaries]
    stops = [stage.stop for stage in boundaries]
    left = min(starts, default=0)
    right = max(stops, default=0)
    return left, right or 1


def _limit(axes: Axes, lines: Sequence[_Line], boundaries: Sequence[Boundary]) -> None:
    """Axes that hold all the lines, with room on the right for their names."""
    if lines:
        lowest = min(min(line.finite) for line in lines)
        highest = max(line.top for line in lines)
        height = highest - lowest or 1
        pad = 0.06 * height
        axes.set_ylim(lowest - pad, highest + pad)
    left, right = run_limits(boundaries)
    room = 0.0
    if len(lines) <= MAX_END_LABELS:
        longest_name = max((len(line.name) for line in lines), default=0)
        room = 0.06 + 0.011 * longest_name
    width = right - left
    axes.set_xlim(left, right + width * room)


def _label_ends(axes: Axes, lines: Sequence[_Line], boundaries: Sequence[Boundary]) -> None:
    """The name of each line beside its end."""
    left, right = run_limits(boundaries)
    bottom, top = axes.get_ylim()
    ends = [line.end for line in lines]
    heights = plots.spread_labels([y for _, y in ends], 0.062 * (top - bottom))
    for line, end, height in zip(lines, ends, heights, strict=True):
        colour = line.style["color"]
        axes.annotate(
            line.name,
            end,
            (right + 0.025 * (right - left), height),
            textcoords="data",
            va="center",
            fontsize=9.5,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 1},
        )


@dataclass(frozen=True)
class _Span:
    """Where the name of a stage is written."""

    centre: float
    half: float

    def meets(self, other: _Span) -> bool:
        distance = abs(self.centre - other.centre)
        reach = self.half + other.half
        return distance < reach


def _name_stages(upper: Axes, lower: Axes, boundaries: Sequence[Boundary]) -> None:
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


def _draw_rate(axes: Axes, rate: Points, boundaries: Sequence[Boundary]) -> None:
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
