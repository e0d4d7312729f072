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
from codemix.eval.pages.plots import MUTED
from codemix.eval.pages.run_axis import Boundary, Points, draw_rate, name_stages, run_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALL_SOURCES = "all sources"
DOTTED = {"color": MUTED, "linewidth": 1.2, "linestyle": (0, (1, 1.5))}
AS_LOGGED = {"linewidth": 0.7, "alpha": 0.3}
SMOOTHED_SHARE = 0.08  # of a stage's points that one mean is over
MAX_END_LABELS = 9  # more lines are named in a legend
SHOWN_SHARE = 0.97  # of a line's points set the top of the axis: the first few tower over everything


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
        name_stages(upper, lower, boundaries)
        upper.set_ylabel("loss [nats per token]")
        draw_rate(lower, rate, boundaries)
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
