"""Strangers' texts in Markdown, as they are and without effect, and how much of a text fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TICKS = re.compile(r"`+")


def code(text: str) -> str:
    """A text as inline code, whatever is in it; nothing in it mentions anybody."""
    n_ticks = _longest_ticks(text) + 1
    fence = "`" * n_ticks
    edges = text[:1] + text[-1:]
    padding = " " if "`" in edges else ""
    return fence + padding + text + padding + fence


def cell(text: str) -> str:
    """Markdown in one cell of a table."""
    return text.replace("|", "\\|").replace("\n", "<br>")


def block(text: str) -> list[str]:
    """Lines of a block of code, whatever is in them."""
    n_ticks = _longest_ticks(text) + 1
    fence = "`" * max(3, n_ticks)
    start = fence + "text"
    return [start, text, fence]


def row(cells: Iterable[str]) -> str:
    """A row of a table."""
    escaped = map(cell, cells)
    content = " | ".join(escaped)
    return f"| {content} |"


def size(text: str) -> int:
    """What a text counts against GitHub's limit, in the stricter of its two readings [bytes]."""
    return len(text.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Fitting:
    """The first pieces of a text, as far as they fit, and how many do not."""

    pieces: tuple[str, ...]
    left_out: int

    @property
    def size(self) -> int:
        return sum(size(piece) + 1 for piece in self.pieces)


def fitting(pieces: Sequence[str], room: int) -> Fitting:
    """The longest start of `pieces` that fits into `room` [bytes], each with a line break."""
    taken = 0
    for i, piece in enumerate(pieces):
        taken += size(piece) + 1
        if taken > room:
            return Fitting(tuple(pieces[:i]), len(pieces) - i)
    return Fitting(tuple(pieces), 0)


def _longest_ticks(text: str) -> int:
    runs = _TICKS.findall(text)
    return max(map(len, runs), default=0)
