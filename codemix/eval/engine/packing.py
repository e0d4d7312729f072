"""Which sequences share a row, and which rows share a batch: few shapes, little padding.
Standard library only.

Sequences that share a row never see each other: each has its own segment and its own positions from 0.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SMALLEST_ROW = 256


def row_lengths(longest: int) -> list[int]:
    """The row lengths [tokens] in use: 256, 1024, 4096, ... up to the longest row allowed.
    Each costs one compilation.
    """
    lengths, length = [], SMALLEST_ROW
    while length < longest:
        lengths.append(length)
        length *= 4
    return [*lengths, longest]


def rows(lengths: Sequence[int], room: int, items: Sequence[int]) -> list[list[int]]:
    """Items (indices into `lengths`) in rows of at most `room` tokens: longest first, each into the fullest
    row that still has room.
    """
    filled: list[list[int]] = []
    open_rows: list[tuple[int, int]] = []  # (room left, row), sorted
    for item in sorted(items, key=lambda i: (-lengths[i], i)):
        length = lengths[item]
        fullest = bisect.bisect_left(open_rows, (length, -1))
        if fullest == len(open_rows):
            left, row = room, len(filled)
            filled.append([])
        else:
            left, row = open_rows.pop(fullest)
        filled[row].append(item)
        left -= length
        if left > 0:
            bisect.insort(open_rows, (left, row))
    return filled


@dataclass(frozen=True)
class Batch:
    """Rows of items (indices into the lengths), in a shape of `height` rows of `room` tokens."""

    room: int
    height: int
    rows: list[list[int]]


def batches(lengths: Sequence[int], longest: int, batch_tokens: int) -> Iterator[Batch]:
    """Batches such that every sequence comes exactly once.

    A sequence goes to the shortest row that is at least four times its length, which keeps both padding and
    attention small; what does not fill a batch moves on to longer rows. Only the last batch may have empty
    rows.
    """
    waiting: list[int] = []
    below = 0
    for room in row_lengths(longest):
        waiting += [item for item, n in enumerate(lengths) if _first_fits(n, below, room, longest)]
        height = max(1, batch_tokens // room)
        packed = rows(lengths, room, waiting)
        while len(packed) >= height:
            yield Batch(room, height, packed[:height])
            del packed[:height]
        waiting = [item for row in packed for item in row]
        below = room
    if packed:
        yield Batch(room, height, packed)


def _first_fits(length: int, below: int, room: int, longest: int) -> bool:
    """Whether rows of `room` are the first for a sequence;
    those of `below` are the next shorter ones, 0 if none.
    """
    wanted = 4 * length
    fits = wanted <= room or room == longest
    fits_below = below > 0 and wanted <= below
    return fits and not fits_below
