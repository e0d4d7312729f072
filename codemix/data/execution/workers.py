"""Worker processes of this machine: a killed one takes down one task, and is told."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process, get_context
from typing import Any

from codemix.data.execution.task import WorkResult, WorkUnit, attempt, report_to
from codemix.errors import CodemixError, Problem

_SPAWN = get_context("spawn")  # never fork: the libraries below hold threads and locks
MAIN_GUARD = (
    'in a script of your own, call `build` below `if __name__ == "__main__":`; each worker loads the script'
)


def _start_worker(counter: Any, parent: int) -> None:
    def count(n_bytes: int) -> None:  # for the parent's bar
        with counter.get_lock():
            counter.value += n_bytes

    report_to(count)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one worker, one core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

    def watch() -> None:  # a worker must not outlive a parent that was killed: it holds no lock
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Workers:
    """Processes that outlive a phase of a build, each behind a pool of its own, so that a killed process takes down one task."""

    def __init__(self):
        self.counter = _SPAWN.Value("Q", 0)
        self.idle: list[ProcessPoolExecutor] = []
        self.busy: set[ProcessPoolExecutor] = set()

    def take(self) -> ProcessPoolExecutor:
        pool = (
            self.idle.pop()
            if self.idle
            else ProcessPoolExecutor(
                1, mp_context=_SPAWN, initializer=_start_worker, initargs=(self.counter, os.getpid())
            )
        )
        self.busy.add(pool)
        return pool

    def give_back(self, pool: ProcessPoolExecutor) -> None:
        self.busy.discard(pool)
        self.idle.append(pool)

    def lost(self, pool: ProcessPoolExecutor) -> None:
        self.busy.discard(pool)
        pool.shutdown()

    def close(self) -> None:
        for pool in self.idle:
            pool.shutdown()
        for (
            pool
        ) in self.busy:  # after Ctrl-C: nobody waits for these; their partial output is only a file aside
            for process in list((pool._processes or {}).values()):
                process.terminate()


_warm: _Workers | None = None


@contextlib.contextmanager
def warm_workers() -> Iterator[None]:
    """Worker processes started inside are kept for the next phase, and end with the block."""
    global _warm
    if _warm is not None:
        yield
        return
    _warm = _Workers()
    try:
        yield
    finally:
        _warm.close()
        _warm = None


def in_pool(todo: list[WorkUnit], workers: int, advance: Callable[..., None]) -> list[WorkResult]:
    """Up to `workers` tasks at a time, each in a process of its own; we know which one a killed process was running."""
    if getattr(
        current_process(), "_inheriting", False
    ):  # a worker that loads the script it was started from, and met this call again
        raise CodemixError(
            "a build with several workers began while a worker was loading this script",
            hints=[MAIN_GUARD],
            rule="main-guard",
        )
    with warm_workers():
        return _serve(todo, workers, advance, _warm)


def _broken(exit_code: int | None) -> Problem:
    if exit_code is not None and exit_code > 0:  # no signal: it never came to its task
        return Problem(
            "its worker process could not start, for the reason that it printed",
            hints=(MAIN_GUARD,),
            rule="worker-killed",
        )
    hints = (
        "often the machine ran out of memory: use fewer `--workers`",
        "run the same command again: only what is missing is redone",
    )
    return Problem("its worker process was killed", hints=hints, rule="worker-killed")


def _serve(
    todo: list[WorkUnit], workers: int, advance: Callable[..., None], processes: _Workers
) -> list[WorkResult]:
    waiting: queue.SimpleQueue[WorkUnit] = queue.SimpleQueue()
    for task in todo:
        waiting.put(task)
    outcomes: list[WorkResult] = []
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            pool = processes.take()
            answer = pool.submit(attempt, task)
            process = next(iter((pool._processes or {}).values()), None)
            try:
                outcome = answer.result()
            except BrokenProcessPool:
                processes.lost(pool)
                outcome = WorkResult(task.name, problems=(_broken(process and process.exitcode),))
            else:
                processes.give_back(pool)
            if outcome:
                outcomes.append(outcome)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(workers)]
    shown = processes.counter.value
    try:
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(0.2)
            now = processes.counter.value
            advance(now - shown)
            shown = now
    finally:
        stop.set()
    return outcomes
