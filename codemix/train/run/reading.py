"""What reading tokens that are not on this disk takes, in this process: requests, bytes, and the time that training
waits for batches.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from codemix.data.store.elsewhere import PartReader, Traffic

T = TypeVar("T")


class Reading:
    """The counts of one stage; of nothing where tokens are on this disk."""

    def __init__(self, reader: PartReader | None, done: int):
        """`done`: the steps of the stage that were done before."""
        self._reader = reader
        self._waited_s = 0.0
        self._before = reader.traffic if reader else Traffic()
        self._done = done

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches; how long each is waited for is counted."""
        began_s = time.monotonic()
        for batch in batches:
            self._waited_s += time.monotonic() - began_s
            yield batch
            began_s = time.monotonic()

    def line(self, done: int) -> dict[str, float]:
        """For metrics: per step, over those since the line before."""
        if self._reader is None:
            return {}
        now = self._reader.traffic
        steps = done - self._done
        since = now - self._before
        line = {
            "data/requests_per_step": since.requests / steps,
            "data/bytes_per_step": since.bytes / steps,
            "data/wait_s_per_step": self._waited_s / steps,
        }
        self._before = now
        self._waited_s = 0.0
        self._done = done
        return line
