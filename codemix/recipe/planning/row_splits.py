"""How the rows of a segment are dealt to its sources: a balanced binary tree of floor splits over
whole-number counts.

A node of the tree with `n` rows, `m` of them for its left half, has sent `floor((p*m + n//2) / n)` of its
first `p` rows to the left; data/loader/order.py says what follows from that. The tree is a heap: node i has
the children 2i and 2i + 1, the root is 1, and source i is the leaf `leaves(sources) + i`.

The arithmetic here is the same for Python's ints (a plan is made without numpy) and for numpy arrays (the
order of a batch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Whole = Any  # an int, or a numpy array of whole numbers


def leaves(sources: int) -> int:
    """Leaves of the tree over this many sources: the next power of two."""
    return 1 << max(0, sources - 1).bit_length()


def split_tree(counts: Sequence[Whole]) -> list[Whole]:
    """The rows below each node of the tree; item 0 is not a node."""
    width = leaves(len(counts))
    inner = [0] * width
    padding = [0] * (width - len(counts))
    tree = [*inner, *counts, *padding]
    for node in range(width - 1, 0, -1):
        left = 2 * node
        tree[node] = tree[left] + tree[left + 1]
    return tree


def row_of_ordinal(node: int, ordinal: Whole, rows_below: Callable[[int], Whole]) -> Whole:
    """The row of the segment that reads the `ordinal`-th row of a node."""
    while node > 1:
        row_in_parent = _row_in_parent_of_right if node & 1 else _row_in_parent_of_left
        ordinal = row_in_parent(ordinal, rows_below(node >> 1), rows_below(node))
        node >>= 1
    return ordinal


def _row_in_parent_of_left(ordinal: Whole, parent: Whole, mine: Whole) -> Whole:
    """ceil(((ordinal + 1) * parent - parent // 2) / mine) - 1"""
    half = parent >> 1
    numerator = (ordinal + 1) * parent - half
    rounded_up = -(-numerator // mine)
    return rounded_up - 1


def _row_in_parent_of_right(ordinal: Whole, parent: Whole, mine: Whole) -> Whole:
    """floor((ordinal * parent + parent // 2) / mine)"""
    half = parent >> 1
    numerator = ordinal * parent + half
    return numerator // mine
