"""The surface of a mixture page: level lines over two shares, in a triangle where there are three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from codemix.eval.mix.charts import share_tick, signed_number
from codemix.eval.mix.landscape import Slice
from codemix.eval.pages import plots
from codemix.eval.pages.palette import Shade
from codemix.eval.pages.plots import INK, MUTED, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_LEVELS = 6  # above and below the prior's
FAINTEST = 0.06
STRONGEST = 0.5  # opacity of the largest gain: labels stay readable on it
CORNERS = np.array([[0, 0], [1, 0], [0.5, 3**0.5 / 2]])  # of a triangle: third, first, second share


def surface(
    key: str,
    title: str,
    words: str,
    shown: Slice,
    marks: Mapping[str, np.ndarray],
    runs: np.ndarray,
) -> str:
    """Level lines of the gain over two shares, in a triangle where there are three; stronger is better, dashed is
    worse than the prior. `marks` are mixtures by name, `runs` those that were measured."""
    with plots.drawing(10, 5.6) as figure:
        axes = figure.subplots()
        plane = _Plane(shown)
        _levels(axes, plane.at(shown.mixtures), shown.gain)
        where = plane.at(runs)
        axes.plot(*where.T, "o", color=MUTED, markersize=3.5, label="a run", clip_on=False)
        for (name, mixture), marker in zip(marks.items(), ("o", "D"), strict=False):
            place = plane.at(mixture)
            face = PAPER if marker == "o" else INK
            axes.plot(
                *place, marker, color=face, markeredgecolor=INK, markersize=9, label=name, linestyle="none"
            )
        plane.frame(axes)
        figure.legend(loc="outside upper left", ncols=4, fontsize=9.5)
        return plots.svg(figure, key, title, words)


def _levels(axes: Axes, places: np.ndarray, gain: np.ndarray) -> None:
    """Areas whose colour is stronger where the gain is larger, and lines with their values."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(N_LEVELS)
    largest = max(gain.max(), 0)
    least = min(gain.min(), 0)
    better = locator.tick_values(0, largest)
    worse = locator.tick_values(least, 0)
    x, y = places.T
    if largest > 0:
        axes.tricontourf(
            x,
            y,
            gain,
            levels=better,
            colors=_fills(len(better) - 1),
            antialiased=False,
        )
        axes.tricontour(x, y, gain, levels=better[1:], colors=INK, linewidths=0.8)
    lines = axes.tricontour(
        x,
        y,
        gain,
        levels=worse,
        colors=INK,
        linewidths=[0.8] * (len(worse) - 1) + [2],
        linestyles=["--"] * (len(worse) - 1) + ["-"],
    )
    axes.clabel(lines, fmt=signed_number, fontsize=8.5)


def _fills(count: int) -> list:
    """One colour, ever stronger."""
    from matplotlib.colors import to_rgba

    colour = plots.ink(Shade("text-2"))
    fills = []
    for opacity in np.linspace(FAINTEST, STRONGEST, count).tolist():
        fills.append(to_rgba(colour, opacity))
    return fills


class _Plane:
    """Where a mixture lies in the figure of a slice."""

    def __init__(self, shown: Slice):
        self.shown = shown
        self.is_triangle = bool(shown.third)

    def at(self, mixtures: np.ndarray) -> np.ndarray:
        """Places [..., 2] of mixtures [..., domains]."""
        pair = self.shown.places(mixtures)
        if not self.is_triangle:
            return pair
        third, first, second = CORNERS
        sides = np.stack([first - third, second - third])
        return third + pair @ sides

    def frame(self, axes: Axes) -> None:
        """What says which share is where."""
        first, second = self.shown.shares
        if self.is_triangle:
            names = [self.shown.third, first.name, second.name]
            return _triangle(axes, names)
        axes.set_xlabel(f"share of {first.name}")
        axes.set_ylabel(f"share of {second.name}")
        axes.xaxis.set_major_formatter(share_tick)
        axes.yaxis.set_major_formatter(share_tick)


def _triangle(axes: Axes, names: list[str]) -> None:
    """Its sides, and the names of its corners below and above."""
    around = np.vstack([CORNERS, CORNERS[:1]])
    x, y = around.T
    axes.plot(x, y, color=INK, linewidth=1.2)
    axes.set_aspect("equal")
    axes.axis("off")
    aligned = ("right", "left", "center")
    offsets = ((-4, -14), (4, -14), (0, 6))
    for name, corner, side, offset in zip(names, CORNERS.tolist(), aligned, offsets, strict=True):
        axes.annotate(
            f"100% {name}",
            corner,
            offset,
            textcoords="offset points",
            ha=side,
            fontsize=10,
            fontweight="bold",
            color=INK,
        )
