"""The figures of a run report. Each takes plain numbers and gives inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codemix.eval.pages import plots
from codemix.eval.pages.palette import Shade
from codemix.eval.pages.plots import GRID, INK, PAPER
from codemix.eval.pages.run_axis import Boundary, Points, mark_boundaries, run_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

THIN_PART = 0.02  # of the longest bar; thinner parts would be all edge
FUNNEL_BAR: dict[str, Any] = {"height": 0.58, "edgecolor": PAPER, "linewidth": 1}
GREYS = (0.55, 1.0)  # opacities of neighbouring dropped parts
REASON_SIZE = 8.5  # [points] of the text on a dropped part
REASON_TEXT: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": REASON_SIZE}


def mixture(
    key: str,
    title: str,
    description: str,
    totals: Mapping[str, int],
    tokens: Mapping[str, Sequence[int]],
    shades: Mapping[str, Shade],
) -> str:
    """One bar per stage, as long as its tokens, divided by source; shares written where they fit."""
    names = list(totals)
    longest = max(totals.values(), default=0) or 1
    widest_name = max(map(len, tokens), default=1)
    columns = min(6, max(1, len(tokens)), max(1, 110 // (widest_name + 4)))
    legend_rows = -(-len(tokens) // columns)
    with plots.drawing(10, 0.62 * len(names) + 0.9 + 0.25 * legend_rows) as figure:
        axes = figure.subplots()
        lefts = [0.0] * len(names)
        for source, counts in tokens.items():
            axes.barh(
                range(len(names)),
                counts,
                left=lefts,
                height=0.62,
                linewidth=[1.2 if n / longest > THIN_PART else 0 for n in counts],
                label=source,
                color=plots.ink(shades[source]),
                hatch=shades[source].hatch,
                edgecolor=PAPER,
            )
            for row, n in enumerate(counts):
                share = n / totals[names[row]]
                text = f"{share:.0%}"
                if plots.fits(text, n / longest, plots.ON_BAR_SIZE):
                    axes.text(lefts[row] + n / 2, row, text, **plots.on_bar(shades[source]))
                lefts[row] += n
        _name_rows(axes, names)
        axes.set_xlim(0, longest * 1.005)
        plots.tokens_axis(axes.xaxis)
        axes.set_xlabel("tokens")
        figure.legend(loc="outside upper left", ncols=columns, fontsize=9.5, handlelength=1, handleheight=1)
        return plots.svg(figure, key, title, description)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name horizontal bars, the first at the top."""
    n_rows = len(names)
    axes.set_yticks(range(n_rows), names)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(n_rows - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def scores(
    key: str,
    title: str,
    description: str,
    values: Mapping[str, Sequence[float | None]],
    stages: Sequence[str],
    shades: Mapping[str, Shade],
    unit: str,
) -> str:
    """A group of bars per source, one bar per stage, paler for earlier stages; bars carry their number."""
    longest = max(map(len, values), default=0)
    turn = _label_angle(values)
    room_below = 0.08 * longest if turn == 90 else 0  # long names are below the bars, not in their place
    with plots.drawing(10, 3.5 + room_below) as figure:
        axes = figure.subplots()
        width = 0.82 / max(1, len(stages))
        n_bars = len(values) * len(stages)
        digits = 3 if n_bars <= 14 else 2
        for group, (source, row) in enumerate(values.items()):
            for i, value in enumerate(row):
                if value is None:
                    continue
                x = group + (i - (len(stages) - 1) / 2) * width
                axes.bar(x, value, width * 0.9, color=PAPER)  # so that the grid does not shine through
                axes.bar(
                    x,
                    value,
                    width * 0.9,
                    color=plots.ink(shades[source]),
                    hatch=shades[source].hatch,
                    edgecolor=PAPER,
                    linewidth=0,
                    alpha=_opacity(i, len(stages)),
                )
                if n_bars <= 24:
                    axes.text(x, value, f"{value:.{digits}f}", ha="center", va="bottom", fontsize=9)
        alignment = "right" if turn == 30 else "center"
        axes.set_xticks(range(len(values)), list(values), rotation=turn, ha=alignment)
        axes.tick_params(axis="x", labelcolor=INK, length=0)
        axes.grid(axis="x", visible=False)
        axes.set_ylabel(unit)
        axes.set_xlim(-0.6, len(values) - 0.4)
        _stage_key(axes, stages)
        return plots.svg(figure, key, title, description)


def _label_angle(names: Mapping[str, object]) -> int:
    """How far names are turned so that they do not run into each other [degrees]."""
    lengths = list(map(len, names))
    if len(lengths) <= 12 and sum(lengths) <= 100:
        return 0
    if max(lengths) <= 16:
        return 30
    return 90


def _opacity(i: int, n_stages: int) -> float:
    """The last stage is opaque, the first one palest."""
    last = n_stages - 1
    if i == last:
        return 1
    age = (last - i) / last
    return 1 - 0.62 * age


def _stage_key(axes: Axes, stages: Sequence[str]) -> None:
    """Which opacity is which stage, in neutral ink."""
    from matplotlib.patches import Patch

    axes.figure.legend(
        handles=[
            Patch(color=INK, alpha=_opacity(i, len(stages)), label=name) for i, name in enumerate(stages)
        ],
        loc="outside upper left",
        ncols=max(1, len(stages)),
        fontsize=9.5,
        handlelength=1,
        handleheight=1,
    )


@dataclass(frozen=True)
class FunnelPart:
    """Documents of a source that met one fate."""

    fate: str  # "kept", or why not
    documents: int


def funnel(
    key: str,
    title: str,
    description: str,
    rows: Mapping[str, Sequence[FunnelPart]],
    shades: Mapping[str, Shade],
) -> str:
    """One bar per source: what was kept in its colour, then each reason to drop, as shares."""
    with plots.drawing(10, 0.55 * len(rows) + 1.0) as figure:
        axes = figure.subplots()
        for row, (source, parts) in enumerate(rows.items()):
            _funnel_bar(axes, row, parts, shades[source])
        _name_rows(axes, list(rows))
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("share of the documents read")
        return plots.svg(figure, key, title, description)


def _funnel_bar(axes: Axes, row: int, parts: Sequence[FunnelPart], shade: Shade) -> None:
    read = sum(part.documents for part in parts) or 1
    left = 0.0
    for i, part in enumerate(parts):
        share = part.documents / read
        place = _Place(row, left, share)
        if part.fate == "kept":
            _draw_kept(axes, place, shade)
        else:
            _draw_dropped(axes, place, part.fate, GREYS[i % 2])
        left += share


@dataclass(frozen=True)
class _Place:
    """Where a part of a funnel's bar is."""

    row: int
    left: float
    share: float

    @property
    def centre(self) -> float:
        return self.left + self.share / 2


def _draw_kept(axes: Axes, place: _Place, shade: Shade) -> None:
    share = place.share
    text = _fitting(share, [f"kept {share:.1%}", f"{share:.0%}"], plots.ON_BAR_SIZE)
    axes.barh(
        place.row,
        share,
        left=place.left,
        color=plots.ink(shade),
        hatch=shade.hatch,
        **FUNNEL_BAR,
    )
    axes.text(place.centre, place.row, text, **plots.on_bar(shade))


def _draw_dropped(axes: Axes, place: _Place, reason: str, opacity: float) -> None:
    share = place.share
    percent = f"{share:.0%}"
    text = _fitting(share, [f"{reason} {percent}", reason, percent], REASON_SIZE)
    axes.barh(
        place.row,
        share,
        left=place.left,
        color=GRID,
        alpha=opacity,
        **FUNNEL_BAR,
    )
    axes.text(place.centre, place.row, text, **REASON_TEXT)


def _fitting(share: float, texts: Sequence[str], size: float) -> str:
    """The first text that fits into a part of the bar; none where none does."""
    for text in texts:
        if plots.fits(text, share, size):
            return text
    return ""


def throughput(key: str, title: str, description: str, speed: Points, boundaries: Sequence[Boundary]) -> str:
    """Training speed over the tokens of the run."""
    with plots.drawing(10, 2.1) as figure:
        axes = figure.subplots()
        known = [(tokens, value) for tokens, value in speed if value is not None]
        tokens = [x for x, _ in known]
        values = [y for _, y in known]
        axes.plot(tokens, values, color=INK, linewidth=1.5)
        mark_boundaries(axes, boundaries)
        axes.set_ylim(bottom=0)
        axes.set_xlim(*run_limits(boundaries))
        plots.tokens_axis(axes.yaxis)
        plots.tokens_axis(axes.xaxis)
        axes.set_ylabel("tokens / s")
        axes.set_xlabel("tokens of the run")
        return plots.svg(figure, key, title, description)
