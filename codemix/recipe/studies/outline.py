"""A tree drawn with lines of text: the branches in front of each node, and cells aligned below each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol, TypeVar

TEE = "├─ "
CORNER = "└─ "
_BELOW = {"": "", TEE: "│  ", CORNER: "   "}  # in front of the node's children


class Branching(Protocol):
    """A node of a tree."""

    @property
    def children(self) -> Sequence[Any]:
        """The nodes below it, of the same type."""


_Node = TypeVar("_Node", bound=Branching)


def outline(roots: Sequence[_Node]) -> Iterator[tuple[str, _Node]]:
    """Every node with the branches in front of it, parents before children."""
    waiting = [("", "", root) for root in reversed(roots)]
    while waiting:
        before, branch, node = waiting.pop()
        yield before + branch, node
        below = before + _BELOW[branch]
        branch = CORNER
        for child in reversed(node.children):
            waiting.append((below, branch, child))
            branch = TEE


def aligned(rows: Sequence[Sequence[str]], to_the_right: Collection[int]) -> list[str]:
    """Rows of cells as lines whose cells align; columns without any text are left out."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for i, cell in enumerate(row):
            if not widths[i]:
                continue
            padded = cell.rjust(widths[i]) if i in to_the_right else cell.ljust(widths[i])
            cells.append(padded)
        lines.append("  ".join(cells).rstrip())
    return lines
