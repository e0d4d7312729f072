"""The figures of a mixture page. Each takes plain numbers and gives inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codemix.eval.mix.intervals import Interval
from codemix.eval.mix.landscape import Effect, TradeOff
from codemix.eval.pages import plots
from codemix.eval.pages.palette import Shade
from codemix.eval.pages.plots import GRID, INK, MUTED, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAMILY_SHADES = {"code": Shade("code-1", 1), "text": Shade("text-1", 2), "other": Shade("other-2")}
COLUMNS = 3  # of panels
ABOVE = (9, 9)  # a name, from its point [points]
BELOW = (9, -13)
ROOM = 0.3  # above and below lines, of their range
Tick = Callable[[float, float], str]


@dataclass(frozen=True)
class Row:
    """An interval in a figure: what it is of, and how it is named at its right."""

    name: str
    interval: Interval
    text: str
    shade: Shade | None = None
    prior: float | None = None
    is_clear: bool = True


def rows(
    key: str,
    title: str,
    words: str,
    shown: Sequence[Row],
    axis: str,
    tick: Tick,
) -> str:
    """A line per row from the low to the high end of its interval, with its value, and the prior where it has one."""
    n_rows = len(shown)
    with plots.drawing(10, 0.42 * n_rows + 1.1) as figure:
        axes = figure.subplots()
        for place, row in enumerate(shown):
            _row(axes, place, row)
        axes.set_yticks(range(n_rows), [row.name for row in shown])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(n_rows - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(axis)
        left, right = axes.get_xlim()
        axes.set_xlim(left, right + 0.3 * (right - left))
        axes.xaxis.set_major_formatter(tick)
        return plots.svg(figure, key, title, words)


def _row(axes: Axes, place: int, row: Row) -> None:
    colour = plots.ink(row.shade) if row.shade else INK
    opacity = 1 if row.is_clear else 0.45
    ends = [row.interval.low, row.interval.high]
    axes.plot(ends, [place, place], color=colour, linewidth=3, alpha=opacity)
    axes.plot(row.interval.value, place, "D", color=colour, markersize=7, alpha=opacity)
    if row.prior is None:
        axes.axvline(0, color=INK, linewidth=1)
    else:
        axes.plot(row.prior, place, "o", color=PAPER, markeredgecolor=INK, markersize=8)
    right = max(*ends, row.prior or 0)
    axes.annotate(
        row.text,
        (right, place),
        (9, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=INK if row.is_clear else MUTED,
    )


def share_tick(value: float, _: float) -> str:
    return f"{value:.0%}"


def gain_tick(value: float, _: float) -> str:
    return signed_number(value)


def signed_number(value: float) -> str:
    """`+0.02`, `−0.1`, `0`."""
    if abs(value) < 1e-12:
        return "0"
    return f"{value:+.4g}".replace("-", "−")


def effects(
    key: str,
    title: str,
    words: str,
    shown: Sequence[Effect],
    proposed: Mapping[str, float],
) -> str:
    """A panel per share: the gain over the prior along it, a line with its band per measure; `proposed` has the
    share of the proposal by the name of the panel."""
    n_rows = -(-len(shown) // COLUMNS)
    columns = min(COLUMNS, len(shown))
    with plots.drawing(10, 2.5 * n_rows + 0.7) as figure:
        grid = figure.subplots(n_rows, columns, sharey=True, squeeze=False).ravel()
        for axes, effect in zip(grid, shown, strict=False):
            _effect(axes, effect, proposed.get(panel_name(effect)))
        bottom, top = _limits(shown)
        grid[0].set_ylim(bottom, top)
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        for axes in grid[::columns]:
            axes.set_ylabel("gain")
            axes.yaxis.set_major_formatter(gain_tick)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=6, fontsize=9.5)
        return plots.svg(figure, key, title, words)


def _limits(shown: Sequence[Effect]) -> tuple[float, float]:
    """Of the gains, with room for bands as wide as they: wider ones are cut off."""
    values = [0.0]
    for effect in shown:
        for band in effect.gains.values():
            values += band.value.tolist()
    bottom = min(values)
    top = max(values)
    room = ROOM * (top - bottom)
    return bottom - room, top + room


def panel_name(effect: Effect) -> str:
    """The share that moves; of all code with its stage."""
    share = effect.share
    if share.is_single:
        return share.name
    return f"all code of {share.stage}"


def _effect(axes: Axes, effect: Effect, proposed: float | None) -> None:
    for name, band in effect.gains.items():
        shade = FAMILY_SHADES.get(name)
        colour = plots.ink(shade) if shade else INK
        axes.fill_between(effect.levels, band.low, band.high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(
            effect.levels,
            band.value,
            color=colour,
            linestyle=shade.dash if shade else "-",
            label=f"{name} metrics" if shade else name,
        )
    axes.axhline(0, color=GRID, linewidth=1.2)
    axes.axvline(effect.at_prior, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), label="prior")
    if proposed is not None:
        axes.axvline(proposed, color=INK, linewidth=1.2, label="proposed")
    axes.plot(
        effect.of_runs,
        np.full(len(effect.of_runs), 0.02),
        "|",
        color=MUTED,
        markersize=6,
        transform=axes.get_xaxis_transform(),
    )
    axes.set_title(panel_name(effect))
    axes.xaxis.set_major_formatter(share_tick)
    axes.locator_params(axis="x", nbins=5)


def trade_off(
    key: str,
    title: str,
    words: str,
    curve: TradeOff,
    proposed: tuple[Interval, Interval],
) -> str:
    """Gains of text to the right and of code upwards, from an objective of text to one of code."""
    middle = len(curve.weights) // 2
    last = len(curve.weights) - 1
    code, text = proposed
    with plots.drawing(10, 5) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=GRID, linewidth=1.2)
        axes.axvline(0, color=GRID, linewidth=1.2)
        for place in (0, middle, last):
            _cross(axes, curve.text.at(place), curve.code.at(place), MUTED)
        axes.plot(
            curve.text.value,
            curve.code.value,
            "o-",
            color=plots.ink(Shade("text-2")),
            markersize=5,
        )
        _cross(axes, text, code, INK)
        axes.plot(text.value, code.value, "D", color=INK, markersize=9)
        axes.plot(0, 0, "o", color=PAPER, markeredgecolor=INK, markersize=9)
        _name(axes, "prior", (0, 0), BELOW)
        _name(axes, "proposed", (text.value, code.value), ABOVE)
        _name(axes, "text alone", (curve.text.value[0], curve.code.value[0]), BELOW)
        _name(axes, "code alone", (curve.text.value[last], curve.code.value[last]), ABOVE)
        axes.margins(x=0.12, y=0.12)
        axes.set_xlabel("gain of the text metrics")
        axes.set_ylabel("gain of the code metrics")
        axes.xaxis.set_major_formatter(gain_tick)
        axes.yaxis.set_major_formatter(gain_tick)
        return plots.svg(figure, key, title, words)


def _cross(
    axes: Axes,
    across: Interval,
    up: Interval,
    colour: str,
) -> None:
    """The intervals of a point in both directions."""
    axes.hlines(
        up.value,
        across.low,
        across.high,
        color=colour,
        linewidth=1,
    )
    axes.vlines(
        across.value,
        up.low,
        up.high,
        color=colour,
        linewidth=1,
    )


def _name(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    offset: tuple[float, float],
) -> None:
    axes.annotate(
        text,
        place,
        offset,
        textcoords="offset points",
        fontsize=9.5,
        color=INK,
    )
