"""The figures of a run report. Each takes plain numbers and gives inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from codemix.eval.pages import plots
from codemix.eval.pages.plots import GRID, INK, MUTED, PAPER

Points = Sequence[tuple[float, float | None]]


def mixture(
    key: str,
    title: str,
    description: str,
    stages: Sequence[tuple[str, int]],
    tokens: Mapping[str, Sequence[int]],
    shades: Mapping[str, str],
) -> str:
    """One bar a stage, as long as its tokens, divided by source; shares written where they fit."""
    longest = max((total for _, total in stages), default=0) or 1
    columns = min(6, max(1, len(tokens)), max(1, 110 // (max(map(len, tokens), default=1) + 4)))
    with plots.drawing(10, 0.62 * len(stages) + 0.9 + 0.25 * -(-len(tokens) // columns)) as figure:
        axes = figure.subplots()
        left = [0.0] * len(stages)
        for source, counts in tokens.items():
            drawn = [n or 0 for n in counts]
            look = dict(
                color=plots.colour(shades[source]), hatch=plots.hatch(source, shades), edgecolor=PAPER
            )
            edges = [1.2 if n / longest > 0.02 else 0 for n in drawn]  # thin parts would be all edge
            axes.barh(
                range(len(stages)), drawn, left=left, height=0.62, linewidth=edges, label=source, **look
            )
            for row, n in enumerate(drawn):
                if n / longest > 0.055:
                    axes.text(
                        left[row] + n / 2,
                        row,
                        f"{n / stages[row][1]:.0%}",
                        ha="center",
                        va="center",
                        color=PAPER,
                        fontsize=9.5,
                        fontweight="bold",
                    )
            left = [a + b for a, b in zip(left, drawn, strict=True)]
        axes.set_yticks(range(len(stages)), [name for name, _ in stages])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(stages) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, longest * 1.005)
        plots.tokens_axis(axes.xaxis)
        axes.set_xlabel("tokens")
        figure.legend(loc="outside upper left", ncols=columns, fontsize=9.5, handlelength=1, handleheight=1)
        return plots.svg(figure, key, title, description)


def losses(
    key: str,
    title: str,
    description: str,
    curves: Mapping[str, Points],
    total: Points,
    rate: Points,
    boundaries: Sequence[tuple[str, float, float]],
    shades: Mapping[str, str],
) -> str:
    """Training loss by source over the tokens of the run, stage boundaries marked, the learning rate below on the same axis."""
    with plots.drawing(10, 5.2) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4.2, 1))
        ends: list[tuple[float, float, str, str]] = []
        lowest, highest = math.inf, -math.inf
        for name, points in [*curves.items(), ("all sources", total)]:
            kept = [
                (p, v) for p, v in points if v is not None
            ]  # a line without tokens of the source is no gap; NaN is one
            x, y = [p for p, _ in kept], [v for _, v in kept]
            finite = [v for v in y if math.isfinite(v)]
            if not finite:
                continue
            shade = MUTED if name == "all sources" else plots.colour(shades[name])
            style = (
                dict(linewidth=1.2, linestyle=(0, (1, 1.5)))
                if name == "all sources"
                else dict(linestyle=plots.dash(name, shades))
            )
            upper.plot(x, y, color=shade, label=name, **style)
            last = max(i for i, v in enumerate(y) if math.isfinite(v))
            ends.append((x[last], y[last], name, shade))
            # the first few points tower over everything: the axis starts where learning has begun, and the caption says so
            lowest, highest = (
                min(lowest, *finite),
                max(highest, sorted(finite)[min(len(finite) - 1, int(len(finite) * 0.97))]),
            )
        if ends:
            pad = 0.06 * (highest - lowest or 1)
            upper.set_ylim(lowest - pad, highest + pad)
        left, right = (
            min((start for _, start, _ in boundaries), default=0),
            max((stop for _, _, stop in boundaries), default=1) or 1,
        )
        span = right - left
        upper.set_xlim(
            left,
            right
            + span * ((0.06 + 0.011 * max(map(len, ["", *(e[2] for e in ends)]))) if len(ends) <= 9 else 0),
        )
        bottom, top = upper.get_ylim()
        if len(ends) <= 9:
            places = plots.spread_labels([y for _, y, _, _ in ends], 0.062 * (top - bottom))
            for (x, y, name, shade), place in zip(ends, places, strict=True):
                upper.annotate(
                    name,
                    (x, y),
                    (right + 0.025 * span, place),
                    textcoords="data",
                    va="center",
                    color=shade,
                    fontsize=9.5,
                    annotation_clip=False,
                    arrowprops=dict(arrowstyle="-", color=shade, linewidth=0.7, shrinkA=1, shrinkB=1),
                )
        else:
            figure.legend(loc="outside right upper", fontsize=9)
        rows: list[
            list[tuple[float, float]]
        ] = []  # of stage names: one that would run into another goes above it
        for i, (name, start, stop) in enumerate(boundaries):
            for axes in (upper, lower) if i else ():
                axes.axvline(start, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
            centre, half = (start + stop) / 2, 0.006 * span * (len(name) + 1)
            level = next(
                (n for n, row in enumerate(rows) if all(abs(centre - c) >= half + h for c, h in row)),
                len(rows),
            )
            if level == len(rows):
                rows.append([])
            rows[level].append((centre, half))
            place = dict(
                transform=upper.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=10,
                fontweight="bold",
            )
            upper.text(centre, 1.02 + 0.06 * level, name, **place)
        upper.set_ylabel("loss [nats per token]")
        lower.plot(
            [x for x, _ in rate], [math.nan if v is None else v for _, v in rate], color=INK, linewidth=1.4
        )
        lower.set_ylim(bottom=0)
        lower.set_ylabel("learning rate")
        lower.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        lower.yaxis.get_offset_text().set_color(MUTED)
        lower.locator_params(axis="y", nbins=3)
        plots.tokens_axis(lower.xaxis)
        lower.set_xticks([tick for tick in lower.get_xticks() if left <= tick <= right])
        lower.set_xlabel("tokens of the run")
        figure.align_ylabels([upper, lower])
        return plots.svg(figure, key, title, description)


def scores(
    key: str,
    title: str,
    description: str,
    values: Mapping[str, Sequence[float | None]],
    stages: Sequence[str],
    shades: Mapping[str, str],
    unit: str,
) -> str:
    """A group of bars a source, one bar a stage, paler for earlier stages; every bar carries its number."""
    short = len(values) <= 12 and sum(map(len, values)) <= 100
    longest = max(map(len, values), default=0)
    turn = 0 if short else 30 if longest <= 16 else 90
    with plots.drawing(
        10, 3.5 + (0.08 * longest if turn == 90 else 0)
    ) as figure:  # long names stand below the bars, not in their place
        axes = figure.subplots()
        width = 0.82 / max(1, len(stages))
        crowded = len(values) * len(stages) > 24
        for group, (source, row) in enumerate(values.items()):
            for i, value in enumerate(row):
                if value is None:
                    continue
                x = group + (i - (len(stages) - 1) / 2) * width
                opacity = 1 - 0.62 * (len(stages) - 1 - i) / max(1, len(stages) - 1)
                axes.bar(x, value, width * 0.9, color=PAPER)  # so that the grid does not shine through
                axes.bar(x, value, width * 0.9, color=plots.colour(shades[source]), alpha=opacity)
                if not crowded:
                    axes.text(
                        x,
                        value,
                        f"{value:.3f}" if len(values) * len(stages) <= 14 else f"{value:.2f}",
                        ha="center",
                        va="bottom",
                        fontsize=9,
                    )
        axes.set_xticks(
            range(len(values)), list(values), rotation=turn, ha="right" if turn == 30 else "center"
        )
        axes.tick_params(axis="x", labelcolor=INK, length=0)
        axes.grid(axis="x", visible=False)
        axes.set_ylabel(unit)
        axes.set_xlim(-0.6, len(values) - 0.4)
        _stage_key(axes, stages)
        return plots.svg(figure, key, title, description)


def _stage_key(axes, stages: Sequence[str]) -> None:
    """Which opacity is which stage, in neutral ink."""
    from matplotlib.patches import Patch

    handles = [
        Patch(color=INK, alpha=1 - 0.62 * (len(stages) - 1 - i) / max(1, len(stages) - 1), label=name)
        for i, name in enumerate(stages)
    ]
    axes.figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=max(1, len(stages)),
        fontsize=9.5,
        handlelength=1,
        handleheight=1,
    )


def funnel(
    key: str,
    title: str,
    description: str,
    rows: Mapping[str, Sequence[tuple[str, int]]],
    shades: Mapping[str, str],
) -> str:
    """One bar a source: what was kept in its colour, then each reason to drop, as shares of the documents read."""
    with plots.drawing(10, 0.55 * len(rows) + 1.0) as figure:
        axes = figure.subplots()
        for row, (source, parts) in enumerate(rows.items()):
            read, left = sum(n for _, n in parts) or 1, 0.0
            for i, (reason, n) in enumerate(parts):
                share = n / read
                face = plots.colour(shades[source]) if reason == "kept" else GRID if i % 2 else MUTED
                axes.barh(
                    row,
                    share,
                    left=left,
                    height=0.58,
                    color=face,
                    alpha=1 if reason == "kept" else 0.75,
                    edgecolor=PAPER,
                    linewidth=1,
                )
                if reason == "kept" and share > 0.08:
                    axes.text(
                        left + share / 2,
                        row,
                        f"kept {share:.1%}",
                        ha="center",
                        va="center",
                        color=PAPER,
                        fontsize=9.5,
                        fontweight="bold",
                    )
                elif share > 0.13:
                    axes.text(
                        left + share / 2, row, f"{reason} {share:.0%}", ha="center", va="center", fontsize=8.5
                    )
                left += share
        axes.set_yticks(range(len(rows)), list(rows))
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("share of the documents read")
        return plots.svg(figure, key, title, description)


def throughput(
    key: str, title: str, description: str, speed: Points, boundaries: Sequence[tuple[str, float, float]]
) -> str:
    """Training speed over the tokens of the run."""
    with plots.drawing(10, 2.1) as figure:
        axes = figure.subplots()
        kept = [(x, v) for x, v in speed if v is not None]
        axes.plot([x for x, _ in kept], [v for _, v in kept], color=plots.colour("other-1"), linewidth=1.5)
        for _, start, _ in boundaries[1:]:
            axes.axvline(start, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        axes.set_ylim(bottom=0)
        axes.set_xlim(
            min((start for _, start, _ in boundaries), default=0),
            max((stop for _, _, stop in boundaries), default=1) or 1,
        )
        plots.tokens_axis(axes.yaxis)
        plots.tokens_axis(axes.xaxis)
        axes.set_ylabel("tokens / s")
        axes.set_xlabel("tokens of the run")
        return plots.svg(figure, key, title, description)
