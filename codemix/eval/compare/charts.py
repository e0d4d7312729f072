"""The figures of a comparison. Each takes plain numbers and gives inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codemix.eval.compare.changes import NO_CALL
from codemix.eval.pages import plots
from codemix.eval.pages.page import signed
from codemix.eval.pages.palette import Shade
from codemix.eval.pages.plots import INK, MUTED, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAMILY_SHADES = {"code": Shade("code-1"), "text": Shade("text-1"), "other": Shade("other-1")}
PANEL_TITLES = {"code": "held-out code", "text": "held-out text", "other": "other held-out sources"}
DASHED = (0, (4, 1.8))


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name horizontal bars, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.grid(axis="y", visible=False)


@dataclass(frozen=True)
class ForestBar:
    """A relative change with its interval."""

    label: str
    relative: float
    low: float
    high: float
    verdict: str

    @property
    def is_called(self) -> bool:
        return self.verdict != NO_CALL

    @property
    def text(self) -> str:
        change = signed(self.relative)
        return change if self.is_called else f"{change} no call"


def forest(
    key: str, title: str, description: str, panels: Mapping[str, Sequence[ForestBar]], axis: str
) -> str:
    """A panel per measure: relative changes as bars with their intervals; pale where nothing is called."""
    rows: dict[str, int] = {}
    for bars in panels.values():
        for bar in bars:
            rows.setdefault(bar.label, len(rows))
    height = 0.46 * len(rows) + 1.35
    with plots.drawing(10, height) as figure:
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (measure, bars) in zip(grid, panels.items(), strict=True):
            shade = plots.ink(FAMILY_SHADES[measure])
            for bar in bars:
                _forest_bar(axes, rows[bar.label], bar, shade)
            _scale_forest(axes, bars, rows)
            axes.axvline(0, color=INK, linewidth=1)
            _name_rows(axes, list(rows))
            axes.set_title(PANEL_TITLES[measure])
        grid[0].set_ylim(len(rows) - 0.45, -0.55)
        figure.supxlabel(axis, fontsize=10, color=MUTED)
        return plots.svg(figure, key, title, description)


def _forest_bar(axes: Axes, y: int, bar: ForestBar, shade: str) -> None:
    percent = bar.relative * 100
    interval = [bar.low * 100, bar.high * 100]
    opacity = 1 if bar.is_called else 0.32
    axes.barh(y, percent, height=0.52, color=PAPER)
    axes.barh(y, percent, height=0.52, color=shade, alpha=opacity)
    axes.plot(interval, [y, y], color=INK, linewidth=1.6)
    axes.plot(
        interval,
        [y, y],
        "|",
        color=INK,
        markersize=7,
        markeredgewidth=1.4,
    )


def _scale_forest(axes: Axes, bars: Sequence[ForestBar], rows: Mapping[str, int]) -> None:
    """Room for the widest interval, and to the right of each bar for its number."""
    ends = [0.0]
    for bar in bars:
        ends += [bar.relative * 100, bar.low * 100, bar.high * 100]
    reach = max(*map(abs, ends), 0.5)
    axes.set_xlim(min(ends) - reach * 0.12, max(ends) + reach * 0.62)
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(_signed_tick)
    for bar in bars:
        edge = max(bar.relative, bar.high, 0) * 100
        axes.text(
            edge + reach * 0.045,
            rows[bar.label],
            bar.text,
            va="center",
            fontsize=9,
            color=INK if bar.is_called else MUTED,
        )


def _signed_tick(value: float, _: float) -> str:
    if not value:
        return "0"
    return f"{value:+g}%".replace("-", "−")


@dataclass(frozen=True)
class PathPoint:
    """Bits per byte at a place of the run, one value per seed."""

    tokens: float
    seeds: Sequence[float]

    @property
    def mean(self) -> float:
        return sum(self.seeds) / len(self.seeds)


def paths(
    key: str,
    title: str,
    description: str,
    panels: Mapping[str, Mapping[str, Sequence[PathPoint]]],
    shades: Mapping[str, Shade],
) -> str:
    """A panel per measure: bits per byte over tokens, a line per variant, a bar where seeds spread."""
    with plots.drawing(10, 3.9) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (measure, lines) in zip(grid, panels.items(), strict=True):
            for name, points in lines.items():
                _path(axes, name, points, shades.get(name))
            axes.set_title(PANEL_TITLES[measure])
            axes.set_ylabel("bits per byte")
            axes.set_xlabel("tokens of the run")
            axes.margins(x=0.08, y=0.12)
            plots.tokens_axis(axes.xaxis)
            axes.locator_params(axis="x", nbins=6)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=9.5)
        return plots.svg(figure, key, title, description)


def _path(axes: Axes, name: str, points: Sequence[PathPoint], shade: Shade | None) -> None:
    """The line of one variant; dashed and in neutral ink for the baseline, which has no shade."""
    colour = plots.ink(shade) if shade else INK
    axes.plot(
        [point.tokens for point in points],
        [point.mean for point in points],
        color=colour,
        linestyle=shade.dash if shade else DASHED,
        marker="o",
        markersize=5,
        label=name,
        markeredgecolor=PAPER,
        markeredgewidth=0.8,
    )
    for point in points:
        low = min(point.seeds)
        high = max(point.seeds)
        if high > low:
            axes.plot([point.tokens, point.tokens], [low, high], color=colour, linewidth=1)


@dataclass(frozen=True)
class SweepPoint:
    """Scores at a share of code, one value per seed."""

    share: float
    seeds: Sequence[float]

    @property
    def mean(self) -> float:
        return sum(self.seeds) / len(self.seeds)


@dataclass(frozen=True)
class SweepStyle:
    """What a sweep's values are, and whether they are ours."""

    unit: str
    is_ours: bool


BITS = SweepStyle("bits per byte", is_ours=True)
PAPER_SCORES = SweepStyle("score [%]", is_ours=False)


def sweep(
    key: str,
    title: str,
    description: str,
    panels: Mapping[str, Sequence[SweepPoint]],
    style: SweepStyle,
) -> str:
    """A panel per measure over the share of code: the mean over seeds as a line, each seed as a dot."""
    with plots.drawing(10, 3.1) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (name, points) in zip(grid, panels.items(), strict=True):
            family_shade = plots.ink(FAMILY_SHADES.get(name, FAMILY_SHADES["other"]))
            _sweep_line(axes, points, family_shade if style.is_ours else MUTED, style)
            if style.is_ours:
                _label_points(axes, points)
            axes.set_title(PANEL_TITLES.get(name, name))
            axes.set_xlabel("share of code")
            axes.set_ylabel(style.unit)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
            axes.margins(x=0.08, y=0.18)
        return plots.svg(figure, key, title, description)


def _sweep_line(axes: Axes, points: Sequence[SweepPoint], colour: str, style: SweepStyle) -> None:
    axes.plot(
        [point.share * 100 for point in points],
        [point.mean for point in points],
        color=colour,
        linestyle="-" if style.is_ours else DASHED,
        marker="o",
        markersize=5.5,
        markeredgecolor=PAPER,
    )
    for point in points:
        if len(point.seeds) > 1:
            x = [point.share * 100] * len(point.seeds)
            axes.plot(x, point.seeds, "o", color=colour, markersize=3, alpha=0.55)


LABEL_SHIFTS = {"center": 0, "left": 3, "right": -3}  # alignment -> points to the right


def _label_points(axes: Axes, points: Sequence[SweepPoint]) -> None:
    """The value of each point, on the side that the line leaves free."""
    last = len(points) - 1
    for i, point in enumerate(points):
        slope = points[min(i + 1, last)].mean - points[max(i - 1, 0)].mean
        inner_side = "left" if slope < 0 else "right"
        side = "center" if i in (0, last) else inner_side
        is_below = slope < 0 and i == last
        axes.annotate(
            f"{point.mean:.3f}",
            (point.share * 100, point.mean),
            (LABEL_SHIFTS[side], -14 if is_below else 6),
            textcoords="offset points",
            ha=side,
            fontsize=8.5,
        )


@dataclass(frozen=True)
class WinBar:
    """Prompts that A won, ties, and prompts that B won."""

    a: str
    b: str
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class _WinPart:
    """A part of a bar."""

    count: int
    label: str
    colour: str
    ink: str = PAPER


def wins(key: str, title: str, description: str, bars: Sequence[WinBar]) -> str:
    """A bar per pair: prompts that A won, ties, prompts that B won, as shares of the valid ones."""
    n_rows = len(bars)
    with plots.drawing(10, 0.62 * n_rows + 0.95) as figure:
        axes = figure.subplots()
        for y, bar in enumerate(bars):
            _win_bar(axes, y, bar)
        _name_rows(axes, [f"{bar.a} : {bar.b}" for bar in bars])
        axes.set_ylim(n_rows - 0.45, -0.55)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("share of the prompts")
        return plots.svg(figure, key, title, description)


def _win_bar(axes: Axes, y: int, bar: WinBar) -> None:
    n_valid = bar.wins + bar.ties + bar.losses or 1
    left = 0.0
    for part in _win_parts(bar):
        share = part.count / n_valid
        axes.barh(
            y,
            share,
            left=left,
            height=0.6,
            color=part.colour,
            edgecolor=PAPER,
            linewidth=1.2,
        )
        if share > 0.1:
            axes.text(
                left + share / 2,
                y,
                part.label,
                ha="center",
                va="center",
                fontsize=9,
                color=part.ink,
                fontweight="bold",
            )
        left += share


def _win_parts(bar: WinBar) -> list[_WinPart]:
    ink_a = plots.ink(FAMILY_SHADES["text"])
    ink_b = plots.ink(FAMILY_SHADES["code"])
    return [
        _WinPart(bar.wins, f"{bar.a} {bar.wins}", ink_a),
        _WinPart(bar.ties, f"ties {bar.ties}", plots.GRID, INK),
        _WinPart(bar.losses, f"{bar.b} {bar.losses}", ink_b),
    ]
