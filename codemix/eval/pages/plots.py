"""Drawing: matplotlib figures as inline SVG that follows the page's colours, light and dark.

Every colour in a figure is a sentinel that leaves here as a CSS variable, so one SVG serves every theme and
print. Text stays text (selectable, in the page's own font); ids carry the figure's name, so two figures never
clash.
"""

from __future__ import annotations

import contextlib
import html
import io
import re
from collections.abc import Iterator
from typing import Any

from codemix.eval.pages import palette
from codemix.eval.pages.palette import PALETTE, Shade

_SENTINELS = {name: f"#01fe{i:02x}" for i, name in enumerate(PALETTE)}
INK, MUTED, GRID, PAPER = "#01fd00", "#01fd01", "#01fd02", "#01fd03"
_CSS = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--card)"}
_CSS |= {sentinel: f"var(--{name})" for name, sentinel in _SENTINELS.items()}
MAX_SPREAD_ROUNDS = 200


def ink(shade: Shade) -> str:
    """The sentinel that the colour of a shade has inside a figure."""
    return _SENTINELS[shade.colour]


STYLE: dict[str, Any] = {  # of matplotlib's rcParams
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "hatch.linewidth": 0.6,
    "axes.unicode_minus": True,
}


@contextlib.contextmanager
def drawing(width: float = 10, height: float = 3.4, **layout: Any) -> Iterator[Any]:
    """A bare matplotlib figure in the project's style; no global state is touched."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams  # its keys are typed as a Literal
        parameters.update(STYLE)
        yield Figure(figsize=(width, height), layout=layout.pop("layout", "constrained"), **layout)


ON_BAR_SIZE = 9.5  # [points]


def svg(figure: Any, key: str, title: str, description: str) -> str:
    """Inline SVG of a figure: responsive, labelled, its ids prefixed by `key`, its colours the page's."""
    import matplotlib

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": key, "svg.id": None}
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    buffer = io.StringIO()
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", metadata=metadata)
    _, tag, rest = buffer.getvalue().partition("<svg")
    styled = _page_style(tag + rest)
    labelled = _labelled(_own_ids(styled, key), key, title, description)
    return re.sub(r"\n\s*", "\n", labelled).strip()


def standalone(drawing: str) -> str:
    """Inline SVG as a file of its own, with the page's colours inside: light, and dark where that is preferred."""
    style = f"{palette.stylesheet()}\nsvg{{color:var(--ink);font-family:sans-serif}}"
    background = '<rect width="100%" height="100%" fill="var(--card)"/>'
    opening, rest = drawing.split(">", 1)
    names = 'xmlns="http://www.w3.org/2000/svg"'
    return f"{opening} {names}>\n<style>{style}</style>\n{background}{rest}\n"


def _own_ids(text: str, key: str) -> str:
    """SVG whose ids, and the references to them, begin with `key`."""
    own = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', text)
    reference = re.compile(r'(href="#|url\(#)')
    return reference.sub(rf"\g<1>{key}-", own)


def _page_style(text: str) -> str:
    """SVG without a style sheet and fonts of its own, its colours those of the page."""
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"font:\s*([^;\"]*?)(\d+(?:\.\d+)?px)[^;\"]*", r"font-size: \2; \1", text)
    text = re.sub(r"font-family:[^;\"]*;?\s*", "", text)
    text = re.sub(r"#01f[ed][0-9a-f]{2}", lambda match: _CSS[match[0]], text)
    bold = r"(font-size: [\d.]+px; )(?:bold|600|700)(\s*)(?=[;\"])"
    return re.sub(bold, r"\1font-weight: 600\2", text)


def _labelled(text: str, key: str, title: str, description: str) -> str:
    """SVG that scales with the page and says what it shows."""
    view = re.findall(r'viewBox="([^"]+)"', text)[0]
    names = f'role="img" aria-labelledby="{key}-t {key}-d"'
    head = [
        f'<svg viewBox="{view}" {names} class="plot" xmlns:xlink="http://www.w3.org/1999/xlink">',
        f'<title id="{key}-t">{html.escape(title)}</title>',
        f'<desc id="{key}-d">{html.escape(description)}</desc>',
    ]
    opening = re.compile(r"<svg\b[^>]*>", flags=re.S)
    return opening.sub(lambda _: "".join(head), text, count=1)


POINTS_WIDE = 600  # [points] of the axes of a figure of full width
CHARACTER = 0.62  # width of a character of a sans-serif font, over its size


def fits(text: str, share: float, size: float) -> bool:
    """Whether text of this size [points] fits into a share of the width of a figure's axes."""
    margin = size
    needed = margin + CHARACTER * size * len(text)
    return needed <= share * POINTS_WIDE


def on_bar(shade: Shade) -> dict[str, Any]:
    """The style of text on a bar of this shade, readable whatever the pattern."""
    background = {"facecolor": ink(shade), "edgecolor": "none", "pad": 1.5}
    return {
        "ha": "center",
        "va": "center",
        "color": PAPER,
        "fontsize": ON_BAR_SIZE,
        "fontweight": "bold",
        "bbox": background if shade.pattern else None,
    }


def spread_labels(positions: list[float], gap: float) -> list[float]:
    """`positions` moved apart, in their order, until neighbours are at least `gap` away."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    placed = [positions[i] for i in order]
    for _ in range(MAX_SPREAD_ROUNDS):
        if not _push_apart(placed, gap):
            break
    spread = [0.0] * len(positions)
    for i, position in zip(order, placed, strict=True):
        spread[i] = position
    return spread


def _push_apart(placed: list[float], gap: float) -> bool:
    """Move neighbours that are too close, each by half of what is missing; whether there were any."""
    moved = False
    for i in range(len(placed) - 1):
        missing = gap - (placed[i + 1] - placed[i])
        if missing > 1e-9:
            placed[i] -= missing / 2
            placed[i + 1] += missing / 2
            moved = True
    return moved


def tokens_axis(axis: Any) -> None:
    """Ticks of a token axis as people say them: 0, 250k, 1.2M, 40B."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(_tokens_tick))


def _tokens_tick(value: float, _: int | None) -> str:
    from codemix.recipe.language.quantities import show_tokens

    if value < 0:
        return ""
    return show_tokens(round(value))
