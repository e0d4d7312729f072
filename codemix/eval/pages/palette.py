"""The colours and patterns of sources and runs, the same in every figure and table of a page.

A shade is a colour and a pattern. Text is cool, code is warm, anything else grey and green. Any two colours stay
apart under the three kinds of dichromacy, and each has at least 3:1 contrast with its background; where a family
has more sources than colours, the colours come again under another pattern. So no two of thirty are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codemix.recipe.language.tags import family

# (light, dark), found by a search for the largest least distance in OKLab over normal vision, protanopia,
# deuteranopia and tritanopia (simulated as Machado, Oliveira and Fernandes 2009 do).
PALETTE = {
    "text-1": ("#3f81bd", "#64a4e9"),
    "text-2": ("#4f4acb", "#70d3fc"),
    "text-3": ("#2b2e6c", "#5e69e8"),
    "code-1": ("#e66b14", "#ef8f03"),
    "code-2": ("#92570e", "#fdd345"),
    "code-3": ("#661000", "#c55a00"),
    "other-1": ("#4d4e4e", "#b6f5d4"),
    "other-2": ("#8c9391", "#919493"),
    "other-3": ("#6f7272", "#abbf9e"),
}
THEME = {  # the other colours of a page: (light, dark)
    "page": ("#f6f5f1", "#101318"),
    "card": ("#ffffff", "#171b21"),
    "ink": ("#1d2127", "#e6e9ee"),
    "muted": ("#5d6673", "#9aa5b4"),
    "grid": ("#dcdfe4", "#323945"),
    "rule": ("#e4e3dd", "#2a303a"),
    "accent": ("#0b62b0", "#7db8f7"),
    "good": ("#1f6b3a", "#7fd49b"),
    "good-bg": ("#e9f5ec", "#14291c"),
    "warn": ("#7a4b00", "#f0c05a"),
    "warn-bg": ("#fdf3dc", "#2c2412"),
    "bad": ("#a3161b", "#ff8f8f"),
    "bad-bg": ("#fdeaea", "#351719"),
    "code-bg": ("#f0efe9", "#20252d"),
    "shade": ("#1d212733", "#ffffff38"),
}
COLOURS_OF_A_FAMILY = 3
# The first pattern is plain. Each as matplotlib's hatch for areas and its dashes for lines; page.css draws the
# same ones beside names.
HATCHES = ("", "///", "\\\\\\", "|||", "---", "xxx", "+++", "...", "oo", "/")
DASHES = (
    "-",
    (0, (4, 1.6)),
    (0, (1.4, 1.4)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (9, 2)),
    (0, (1, 3)),
    (0, (4, 1, 1, 1, 1, 1)),
    (0, (8, 1.5, 3, 1.5)),
    (0, (2.5, 2.5)),
    (0, (12, 2, 1.2, 2)),
)
RUN_COLOURS = ("other-1", "code-2", "text-1", "code-1", "text-3", "other-2", "code-3", "text-2", "other-3")


@dataclass(frozen=True)
class Shade:
    """A name of the palette, and the number of a pattern."""

    colour: str
    pattern: int = 0

    @property
    def hatch(self) -> str:
        """How an area is filled."""
        return HATCHES[self.pattern]

    @property
    def dash(self) -> Any:
        """How a line is drawn."""
        return DASHES[self.pattern]


def shades(tags: Mapping[str, Mapping[str, str]]) -> dict[str, Shade]:
    """A shade for each source: by family, then by name, whatever the order."""
    n_taken: dict[str, int] = {}
    shades = {}
    for source in sorted(tags):
        kind = family(tags[source])
        n = n_taken.get(kind, 0)
        n_taken[kind] = n + 1
        colours = [f"{kind}-{i + 1}" for i in range(COLOURS_OF_A_FAMILY)]
        shades[source] = _nth(colours, n)
    return shades


def run_shades(names: Sequence[str], baseline: str) -> dict[str, Shade]:
    """A shade for each run but the baseline, which is drawn in neutral ink."""
    shades: dict[str, Shade] = {}
    for name in names:
        if name != baseline:
            shades[name] = _nth(RUN_COLOURS, len(shades))
    return shades


def _nth(colours: Sequence[str], n: int) -> Shade:
    """All the colours plain, then all of them under the next pattern."""
    n_colours = len(colours)
    n_patterns = len(HATCHES)
    colour = colours[n % n_colours]
    pattern = n // n_colours % n_patterns
    return Shade(colour, pattern)


def stylesheet() -> str:
    """Palette and theme as CSS custom properties: light, dark by preference, dark by class."""
    light = _properties(0)
    dark = _properties(1)
    rules = [
        f":root{{{light}}}",
        f"@media screen and (prefers-color-scheme:dark){{:root:not(.light){{{dark}}}}}",
        f"@media screen{{:root.dark{{{dark}}}}}",
    ]
    return "\n".join(rules)


def _properties(theme: int) -> str:
    properties = []
    for name, colours in (PALETTE | THEME).items():
        properties.append(f"--{name}:{colours[theme]};")
    return "".join(properties)
