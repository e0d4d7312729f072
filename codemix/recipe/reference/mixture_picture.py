"""A small picture of a run's mixture: shares by kind of data as stacked areas over tokens, as SVG."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.planning.plan import Plan, StagePlan, lineage

WIDTH = 640
HEIGHT = 150
TOP = 20
BOTTOM = 118
COLOURS = {  # of Okabe and Ito, told apart by the colour-blind; the same kind is the same in every picture
    "text": "#0072b2",
    "code": "#e69f00",
    "markup": "#009e73",
    "maths": "#cc79a7",
    "synthetic-code": "#d55e00",
    "instruct": "#56b4e9",
    "code-adjacent": "#f0e442",
}
FURTHER = ("#332288", "#882255", "#117733")  # for kinds of a recipe's own
OTHER = "#999999"


@dataclass(frozen=True)
class _Stretch:
    """Tokens read at constant shares, by kind."""

    start: int
    tokens: int
    shares: dict[str, float]


def mixture_svg(plan: Plan) -> str:
    """The run that ends with the plan's last stage: what it reads at each of its tokens."""
    stages = lineage(plan.stages[-1])
    stretches = [stretch for stage in stages for stretch in _stretches(stage)]
    total = sum(stretch.tokens for stretch in stretches)
    scale = WIDTH / max(1, total)
    colours = _colours(stretches)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{_label(plan, stages)}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for stretch in stretches:
        lines += _column(stretch, colours, scale)
    for stage in stages:
        lines += _edge(stage, scale)
    lines += _legend(colours)
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def _label(plan: Plan, stages: Sequence[StagePlan]) -> str:
    names = ", ".join(stage.name for stage in stages)
    label = f"mixture of {plan.recipe.name} by kind over its stages {names}"
    return html.escape(label)


def _stretches(stage: StagePlan) -> Iterator[_Stretch]:
    for segment in stage.segments:
        rows = max(1, segment.rows)
        shares: dict[str, float] = {}
        for source, count in zip(stage.sources, segment.counts, strict=True):
            kind = source.tags.get("kind", source.source)
            before = shares.get(kind, 0.0)
            shares[kind] = before + count / rows
        first_token = segment.first_row * stage.seq_len
        start = stage.run_tokens + first_token
        tokens = segment.rows * stage.seq_len
        yield _Stretch(start, tokens, shares)


def _colours(stretches: Sequence[_Stretch]) -> dict[str, str]:
    """Kinds, most tokens first, with their colours; where there are too many, the last are `other`."""
    tokens: dict[str, float] = {}
    for stretch in stretches:
        for kind, share in stretch.shares.items():
            before = tokens.get(kind, 0.0)
            tokens[kind] = before + share * stretch.tokens
    further = iter(FURTHER)
    colours: dict[str, str] = {}
    for kind in sorted(tokens, key=lambda kind: (-tokens[kind], kind)):
        colour = COLOURS.get(kind) or next(further, None)
        if colour is not None:
            colours[kind] = colour
    if len(colours) < len(tokens):
        colours["other"] = OTHER
    return colours


def _column(stretch: _Stretch, colours: Mapping[str, str], scale: float) -> Iterator[str]:
    x = f"{stretch.start * scale:.2f}"
    width = f"{stretch.tokens * scale:.2f}"
    bottom = float(BOTTOM)
    for kind, colour in colours.items():
        share = stretch.shares.get(kind, 0.0)
        if kind == "other":
            share = sum(stretch.shares[other] for other in stretch.shares if other not in colours)
        height = share * (BOTTOM - TOP)
        bottom -= height
        if height:
            place = f'x="{x}" y="{bottom:.2f}" width="{width}" height="{height:.2f}"'
            yield f'<rect {place} fill="{colour}" shape-rendering="crispEdges"/>'


def _edge(stage: StagePlan, scale: float) -> Iterator[str]:
    """The line where a stage begins, and its name where there is room."""
    left = stage.run_tokens * scale
    room = stage.tokens * scale
    x = f"{left:.2f}"
    top = TOP - 12
    yield f'<line x1="{x}" x2="{x}" y1="{top}" y2="{BOTTOM}" stroke="#222"/>'
    tokens = show_tokens(stage.tokens)
    label = f"{stage.name} {tokens}"
    if _width(label) < room:
        yield _text(left + 4, TOP - 6, label)


def _width(text: str) -> float:
    """About what a text takes."""
    return 6.2 * len(text)


def _text(x: float, y: float, text: str) -> str:
    shown = html.escape(text)
    return f'<text x="{x:.2f}" y="{y}" fill="#222">{shown}</text>'


def _legend(colours: Mapping[str, str]) -> Iterator[str]:
    left = 0.0
    top = BOTTOM + 12
    for kind, colour in colours.items():
        yield f'<rect x="{left:.0f}" y="{top}" width="10" height="10" fill="{colour}"/>'
        yield _text(left + 14, top + 9, kind)
        left += 26 + _width(kind)
