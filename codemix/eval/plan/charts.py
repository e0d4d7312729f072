"""The figures of a plan: what is read when, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codemix.eval.pages import plots
from codemix.eval.pages.palette import Shade
from codemix.eval.pages.plots import GRID, INK, PAPER
from codemix.eval.pages.run_axis import Boundary, Point, Points, draw_rate, name_stages, run_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from codemix.recipe.planning.plan import Plan, StagePlan

RATE_SAMPLES = 160  # per stage, of its learning rate
LEGEND_CHARACTERS = 110  # that fit beside each other above a figure
SWATCH_CHARACTERS = 4  # the room of one patch of colour
MAX_LEGEND_COLUMNS = 6
MIXTURE_TITLE = "Mixture over the run."
MIXTURE_WORDS = (
    "Share of each source in what is read, over the tokens of the stages, one after the other; "
    "dashed lines are stage edges, below is the learning rate."
)


@dataclass(frozen=True)
class Stretch:
    """Tokens over which the shares of the sources are constant."""

    start: int
    stop: int
    shares: Mapping[str, float]


@dataclass(frozen=True)
class SourceEpochs:
    """How often a source is read by the end of the plan, and how often it may be."""

    source: str
    epochs: float | None  # None where its size is unknown
    cap: float


def stage_boundaries(stages: Sequence[StagePlan]) -> list[Boundary]:
    """The stages one after the other, also where two of them continue the same one."""
    boundaries = []
    start = stages[0].run_tokens
    for stage in stages:
        stop = start + stage.tokens
        boundaries.append(Boundary(stage.name, start, stop))
        start = stop
    return boundaries


def stretches(stage: StagePlan, start: int) -> Iterator[Stretch]:
    """The stretches of a stage whose first token is `start`."""
    for segment in stage.segments:
        first = start + segment.first_row * stage.seq_len
        last = first + segment.rows * stage.seq_len
        shares = {}
        for source, count in zip(stage.sources, segment.counts, strict=True):
            shares[source.source] = count / segment.rows
        yield Stretch(first, last, shares)


def mixture(plan: Plan, shades: Mapping[str, Shade], key: str = "plan") -> str:
    """The shares of the sources as stacked areas over tokens, with stage edges and the learning rate below."""
    boundaries = stage_boundaries(plan.stages)
    parts: list[Stretch] = []
    for stage, edges in zip(plan.stages, boundaries, strict=True):
        parts += stretches(stage, round(edges.start))
    with plots.drawing(10, 4.6 + 0.25 * _legend_rows(shades)) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        _stack(upper, parts, shades)
        upper.set_ylim(0, 1)
        upper.set_xlim(*run_limits(boundaries))
        upper.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        upper.set_ylabel("share of tokens")
        name_stages(upper, lower, boundaries)
        draw_rate(lower, _rates(plan.stages, boundaries), boundaries)
        figure.legend(
            loc="outside upper left",
            ncols=_legend_columns(shades),
            fontsize=9.5,
            handlelength=1,
            handleheight=1,
        )
        return plots.svg(figure, key, MIXTURE_TITLE, MIXTURE_WORDS)


def _legend_columns(names: Mapping[str, object]) -> int:
    widest = max(map(len, names))
    n_fitting = LEGEND_CHARACTERS // (widest + SWATCH_CHARACTERS)
    n_useful = min(len(names), MAX_LEGEND_COLUMNS)
    return max(1, min(n_fitting, n_useful))


def _legend_rows(names: Mapping[str, object]) -> int:
    columns = _legend_columns(names)
    rounded_up = -(-len(names) // columns)
    return rounded_up


def _stack(axes: Axes, parts: Sequence[Stretch], shades: Mapping[str, Shade]) -> None:
    """An area per source on top of those before, flat within a stretch."""
    edges: list[int] = []
    for part in parts:
        edges += [part.start, part.stop]
    floor = [0.0] * len(edges)
    for source, shade in shades.items():
        shares: list[float] = []
        for part in parts:
            share = part.shares.get(source, 0.0)
            shares += [share, share]
        ceiling = [below + share for below, share in zip(floor, shares, strict=True)]
        axes.fill_between(
            edges,
            floor,
            ceiling,
            label=source,
            facecolor=plots.ink(shade),
            hatch=shade.hatch,
            edgecolor=PAPER,
            linewidth=0.6,
        )
        floor = ceiling


def _rates(stages: Sequence[StagePlan], boundaries: Sequence[Boundary]) -> Points:
    """The learning rate over tokens; a gap where a stage begins."""
    points: list[Point] = []
    for stage, edges in zip(stages, boundaries, strict=True):
        for step in _sampled_steps(stage):
            tokens = stage.first_row(step) * stage.seq_len
            points.append((edges.start + tokens, stage.lr(step)))
        points.append((edges.stop, None))
    return points


def _sampled_steps(stage: StagePlan) -> list[int]:
    """Steps from the first to the last."""
    stride = max(1, stage.steps // RATE_SAMPLES)
    steps = set(range(0, stage.steps, stride))
    steps.add(stage.steps - 1)
    return sorted(steps)


def epochs(
    key: str, title: str, words: str, sources: Sequence[SourceEpochs], shades: Mapping[str, Shade]
) -> str:
    """A bar per source, as long as it is read often, and a line where its limit is."""
    n_rows = len(sources)
    with plots.drawing(10, 0.42 * n_rows + 0.9) as figure:
        axes = figure.subplots()
        for row, source in enumerate(sources):
            _epochs_bar(axes, row, source, shades[source.source])
        axes.set_yticks(range(n_rows), [source.source for source in sources])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(n_rows - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("epochs by the end of the plan")
        return plots.svg(figure, key, title, words)


def _epochs_bar(axes: Axes, row: int, source: SourceEpochs, shade: Shade) -> None:
    known = source.epochs or 0.0
    text = f"size unknown, limit {source.cap:g}"
    if source.epochs is not None:
        text = f"{known:.2f} of {source.cap:g}"
    axes.barh(row, source.cap, height=0.62, color=GRID, alpha=0.5)
    axes.barh(
        row,
        known,
        height=0.62,
        color=plots.ink(shade),
        hatch=shade.hatch,
        edgecolor=PAPER,
        linewidth=0,
    )
    axes.plot([source.cap, source.cap], [row - 0.38, row + 0.38], color=INK, linewidth=1.8)
    right = max(known, source.cap)
    axes.annotate(
        text,
        (right, row),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
    )
