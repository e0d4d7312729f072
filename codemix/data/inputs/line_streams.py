"""Stretches of whole lines of a compressed file, which can be read only from its start.

A stretch is [start, stop) in bytes of the decompressed content. A line belongs to the stretch in which it begins,
so stretches that meet share no line and lose none, wherever their limits fall. Whoever reads one decompresses all
that comes before it and counts the lines, several times as fast as making documents of them; a process that reads
one stretch after the other keeps its place, and decompresses the file once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

Key = tuple[Any, ...]  # what decides the content: the input, and how it is opened

_kept: LineStream | None = None  # where this process stopped reading


@dataclass
class LineStream:
    """Decompressed content that has been read up to the first line that begins at `limit` or later."""

    key: Key
    pieces: Iterator[bytes]
    limit: int = 0
    at: int = 0  # bytes before that line
    row: int = 0  # lines before it
    rest: bytes = b""  # of the last piece

    def until(self, limit: int | None) -> Iterator[bytes]:
        """The lines that begin before `limit` (None: all that are left), in pieces. Raises Damaged."""
        if limit is None:
            limit = 1 << 62
        if self.at < limit:
            for piece in chain([self.rest] if self.rest else [], self.pieces):
                self.rest = b""
                cut = piece.find(b"\n", max(limit - 1 - self.at, 0)) + 1
                lines = piece[:cut] if cut else piece
                self.at += len(lines)
                self.row += lines.count(b"\n")
                yield lines
                if cut:
                    self.rest = piece[cut:]
                    break
        self.limit = limit


def line_stream(key: Key, start: int, opened: Callable[[], Iterator[bytes]]) -> LineStream:
    """The stream of `key` before the first line that begins at `start` or later: the one that this process kept, or
    what `opened` gives. Raises Damaged where damage comes before that line."""
    global _kept
    stream, _kept = _kept, None
    if stream is None or stream.key != key or stream.limit > start:
        stream = LineStream(key, opened())
    for _ in stream.until(start):
        pass
    return stream


def keep(stream: LineStream) -> None:
    """Let the next `line_stream` of this process go on where this one stands."""
    global _kept
    _kept = stream
