"""The next block of steps, located and checked in a second thread while the current one is read.

Checking only marks rows that are sound. What is not marked when a batch is made (the thread is late, or has
met a bad block) the reader checks itself, so an error is raised by the batch that holds the bad tokens, and
by no batch before it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from codemix.data.loader.located_rows import StepBlock


@lru_cache(maxsize=1)
def _second_thread() -> Executor:
    """One thread for all loaders of the process; it starts with its first work."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="codemix-loader")


os.register_at_fork(after_in_child=_second_thread.cache_clear)  # a fork does not copy threads


@dataclass(frozen=True)
class _Pending:
    step: int
    thread: Executor
    located: Future[StepBlock]


class BlockAhead:
    """At most one block that is being prepared. Pickled, it is one that prepares nothing."""

    def __init__(self, locate: Callable[[int], StepBlock], check: Callable[[StepBlock], None]):
        self._locate = locate
        self._check = check
        self._pending: _Pending | None = None
        self.stopped = False  # the check looks here now and then

    def start(self, step: int) -> None:
        """Prepare the block that begins with `step`."""
        self.stopped = False
        thread = _second_thread()
        located = thread.submit(self._locate, step)
        thread.submit(lambda: self._check(located.result()))  # in turn: by now it is located
        self._pending = _Pending(step, thread, located)

    def take(self, step: int) -> StepBlock | None:
        """The block that begins with `step`, as soon as it is located; None if it was not started here."""
        pending = self._pending
        self._pending = None
        if pending is None or pending.step != step or pending.thread is not _second_thread():
            return None
        return pending.located.result()

    def stop(self) -> None:
        """Leave what is not checked yet."""
        self.stopped = True

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_pending": None}
