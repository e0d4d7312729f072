"""The windows of coming steps, asked for before they are read.

The order is known, so what a host reads next is too: one request for each of its rows, many at a time, as many steps
ahead as fit in `AHEAD_BYTES`. No more is asked for than is read, and nothing is kept once it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from codemix.data.loader.located_rows import LocatedRows
from codemix.data.loader.shards import Shards
from codemix.data.store.elsewhere import PartReader

AHEAD_BYTES = 64 * 2**20  # of windows that are on their way or here: many seconds of one host's reading


@dataclass(frozen=True)
class Asked:
    """Rows, and their windows on the way."""

    rows: LocatedRows
    bodies: list[Future[bytes]]
    dtypes: list[str]
    bytes: int

    def windows(self, length: int) -> ndarray:
        """The tokens, waited for: int32 [B, `length`]. Raises the error of the first that does not come."""
        shape = (len(self.rows), length)
        windows = np.empty(shape, np.int32)
        for row, body in enumerate(self.bodies):
            content = body.result()
            windows[row] = np.frombuffer(content, self.dtypes[row])
        return windows

    def forget(self) -> None:
        """What was not begun is not asked for."""
        for body in self.bodies:
            body.cancel()


class LookAhead:
    """The steps of a stage, read forward."""

    def __init__(
        self,
        reader: PartReader,
        shards: Mapping[int, Shards],
        locate: Callable[[int], LocatedRows],
        steps: int,
    ):
        """`shards` by the number of their source; `locate` gives the rows of a step, of `steps` of them."""
        self._reader = reader
        self._shards = shards
        self._locate = locate
        self._steps = steps
        self._on_the_way: dict[int, Asked] = {}
        self._bytes = 0
        self._next = 0

    def step(self, step: int) -> Asked:
        """The rows of a step; the windows of the steps after it are asked for too."""
        if step not in self._on_the_way:
            self._begin_at(step)
        self._ask_after(step)
        asked = self._on_the_way.pop(step)
        self._bytes -= asked.bytes
        return asked

    def _begin_at(self, step: int) -> None:
        for asked in self._on_the_way.values():
            asked.forget()
        self._on_the_way.clear()
        self._bytes = 0
        self._next = step

    def _ask_after(self, step: int) -> None:
        """Up to the limit, but one step ahead in any case."""
        while self._next < self._steps and (self._bytes < AHEAD_BYTES or self._next <= step + 1):
            rows = self._locate(self._next)
            asked = self.ask(rows)
            self._on_the_way[self._next] = asked
            self._bytes += asked.bytes
            self._next += 1

    def ask(self, rows: LocatedRows) -> Asked:
        """Ask for the windows of some rows."""
        bodies: list[Future[bytes]] = []
        dtypes: list[str] = []
        asked_bytes = 0
        sources = rows.rows.source.tolist()
        places = zip(sources, rows.shard.tolist(), rows.offset.tolist(), strict=True)
        for source, shard, offset in places:
            shards = self._shards[source]
            part = shards.part(shard, offset)
            bodies.append(self._reader.ask(part))
            dtypes.append(shards.dtype)
            asked_bytes += part.end - part.start
        return Asked(rows, bodies, dtypes, asked_bytes)
