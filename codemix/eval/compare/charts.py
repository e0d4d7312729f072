"""The figures of a comparison. Each takes plain numbers and gives inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codemix.eval.pages import plots
from codemix.eval.pages.page import signed
from codemix.eval.pages.plots import INK, MUTED, PAPER

RUN_COLOURS = (
    "other-1",
    "code-3",
    "text-1",
    "code-2",
    "text-3",
    "other-2",
    "code-1",
    "text-2",
    "code-4",
    "text-4",
)
FAMILY_COLOURS = {"code": "code-1", "text": "text-1", "other": "other-1"}


def run_colours(names: Sequence[str], baseline: str) -> dict[str, str]:
    """A palette name for each variant but the baseline, which is drawn in neutral ink."""
    return {n: RUN_COLOURS[i % len(RUN_COLOURS)] for i, n in enumerate(n for n in names if n != baseline)}


def forest(
    key: str, title: str, description: str, panels: Mapping[str, Sequence[dict[str, Any]]], axis: str
) -> str:
    """A panel a measure: relative changes as bars from zero with their intervals; pale where no winner may be called."""
    labels = list(dict.fromkeys(row["label"] for rows in panels.values() for row in rows))
    with plots.drawing(10, 0.46 * len(labels) + 1.35) as figure:
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (measure, rows) in zip(grid, panels.items(), strict=True):
            shade = plots.colour(FAMILY_COLOURS[measure])
            reach = max(
                [
                    abs(v) * 100
                    for row in rows
                    for v in (row["relative"], row.get("low", 0), row.get("high", 0))
                ]
                + [0.5]
            )
            for row in rows:
                y, called = labels.index(row["label"]), row["verdict"] != "no call"
                axes.barh(y, row["relative"] * 100, height=0.52, color=PAPER)
                axes.barh(y, row["relative"] * 100, height=0.52, color=shade, alpha=1 if called else 0.32)
                if row.get("low") is not None:
                    axes.plot([row["low"] * 100, row["high"] * 100], [y, y], color=INK, linewidth=1.6)
                    axes.plot(
                        [row["low"] * 100, row["high"] * 100],
                        [y, y],
                        "|",
                        color=INK,
                        markersize=7,
                        markeredgewidth=1.4,
                    )
                edge = max(row["relative"], row.get("high", 0), 0) * 100
                words = signed(row["relative"]) + ("" if called else " no call")
                axes.text(
                    edge + reach * 0.045, y, words, va="center", fontsize=9, color=INK if called else MUTED
                )
            axes.axvline(0, color=INK, linewidth=1)
            lowest = min(
                [row[k] * 100 for row in rows for k in ("relative", "low") if row.get(k) is not None] + [0]
            )
            highest = max(
                [row[k] * 100 for row in rows for k in ("relative", "high") if row.get(k) is not None] + [0]
            )
            axes.set_xlim(lowest - reach * 0.12, highest + reach * 0.62)
            axes.set_title(
                {"code": "held-out code", "text": "held-out text", "other": "other held-out sources"}[
                    measure
                ],
                color=shade,
            )
            axes.set_yticks(range(len(labels)), labels)
            axes.tick_params(axis="y", labelcolor=INK)
            axes.grid(axis="y", visible=False)
            axes.locator_params(axis="x", nbins=6)
            axes.xaxis.set_major_formatter(
                lambda value, _: f"{value:+g}%".replace("-", "−") if value else "0"
            )
        grid[0].set_ylim(len(labels) - 0.45, -0.55)
        figure.supxlabel(axis, fontsize=10, color=MUTED)
        return plots.svg(figure, key, title, description)


def paths(
    key: str,
    title: str,
    description: str,
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]],
    shades: Mapping[str, str],
) -> str:
    """A panel a measure: bits per byte after each stage over tokens, a line a variant, a bar where seeds spread."""
    with plots.drawing(10, 3.9) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (measure, lines) in zip(grid, panels.items(), strict=True):
            for name, points in lines.items():
                shade, style = (plots.colour(shades[name]), "-") if name in shades else (INK, (0, (4, 1.8)))
                x, y = [p[0] for p in points], [p[1] for p in points]
                axes.plot(
                    x,
                    y,
                    color=shade,
                    linestyle=style,
                    marker="o",
                    markersize=5,
                    label=name,
                    markeredgecolor=PAPER,
                    markeredgewidth=0.8,
                )
                for tokens, _, low, high in points:
                    if high > low:
                        axes.plot([tokens, tokens], [low, high], color=shade, linewidth=1)
            axes.set_title(
                {"code": "held-out code", "text": "held-out text", "other": "other held-out sources"}[measure]
            )
            axes.set_ylabel("bits per byte")
            axes.set_xlabel("tokens of the run")
            axes.margins(x=0.08, y=0.12)
            plots.tokens_axis(axes.xaxis)
            axes.locator_params(axis="x", nbins=6)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=9.5)
        return plots.svg(figure, key, title, description)


def sweep(
    key: str,
    title: str,
    description: str,
    panels: Mapping[str, Sequence[tuple[float, Sequence[float]]]],
    unit: str,
    shade: str = "",
) -> str:
    """A panel a measure over the share of code: the mean over seeds as a line, each seed as a dot."""
    with plots.drawing(10, 3.1) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (name, points) in zip(grid, panels.items(), strict=True):
            colour = MUTED if shade == "muted" else plots.colour(FAMILY_COLOURS.get(name, "other-1"))
            x, y = [share * 100 for share, _ in points], [sum(v) / len(v) for _, v in points]
            axes.plot(
                x,
                y,
                color=colour,
                linestyle="-" if shade != "muted" else (0, (4, 1.8)),
                marker="o",
                markersize=5.5,
                markeredgecolor=PAPER,
            )
            for share, values in points:
                if len(values) > 1:
                    axes.plot(
                        [share * 100] * len(values), values, "o", color=colour, markersize=3, alpha=0.55
                    )
            for i, (place, value) in enumerate(zip(x, y, strict=True)) if shade != "muted" else ():
                around = (
                    y[min(i + 1, len(y) - 1)] - y[max(i - 1, 0)]
                )  # the label stands on the side that the line leaves free
                ends = i in (0, len(y) - 1)
                side = "center" if ends else "left" if around < 0 else "right"
                shift = (
                    {"center": 0, "left": 3, "right": -3}[side],
                    -14 if around < 0 and i == len(y) - 1 else 6,
                )
                axes.annotate(
                    f"{value:.3f}", (place, value), shift, textcoords="offset points", ha=side, fontsize=8.5
                )
            axes.set_title(
                {"code": "held-out code", "text": "held-out text", "other": "other held-out sources"}.get(
                    name, name
                )
            )
            axes.set_xlabel("share of code")
            axes.set_ylabel("bits per byte" if unit != "%" else "score [%]")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
            axes.margins(x=0.08, y=0.18)
        return plots.svg(figure, key, title, description)


def wins(key: str, title: str, description: str, rows: Sequence[tuple[str, str, int, int, int]]) -> str:
    """A bar a pair: prompts that A won, ties, prompts that B won, as shares of the valid ones."""
    with plots.drawing(10, 0.62 * len(rows) + 0.95) as figure:
        axes = figure.subplots()
        for y, (a, b, won, tied, lost) in enumerate(rows):
            n, left = won + tied + lost or 1, 0.0
            for count, face, label in (
                (won, plots.colour("text-1"), f"{a} {won}"),
                (tied, plots.GRID, f"ties {tied}"),
                (lost, plots.colour("code-1"), f"{b} {lost}"),
            ):
                axes.barh(y, count / n, left=left, height=0.6, color=face, edgecolor=PAPER, linewidth=1.2)
                if count / n > 0.1:
                    axes.text(
                        left + count / n / 2,
                        y,
                        label,
                        ha="center",
                        va="center",
                        fontsize=9,
                        color=INK if face == plots.GRID else PAPER,
                        fontweight="bold",
                    )
                left += count / n
        axes.set_yticks(range(len(rows)), [f"{a} : {b}" for a, b, *_ in rows])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(0, 1)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("share of the prompts")
        return plots.svg(figure, key, title, description)
