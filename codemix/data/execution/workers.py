"""Worker processes of this machine: a killed one takes down one task, and the task is named."""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from codemix.data.execution.task import WorkResult, WorkUnit, attempt, report_to
from codemix.errors import CodemixError, Problem

_SPAWN = get_context("spawn")  # never fork: the libraries below hold threads and locks
MAIN_GUARD = (
    'in a script of your own, call `build` below `if __name__ == "__main__":`; each worker loads the script'
)


def _work(tasks: Connection, finished_bytes: Any, modules: tuple[str, ...]) -> None:
    """The main function of a worker process: run the tasks that it is sent, until the connection is closed.

    `modules`: what the first task will need, imported while the parent is still preparing it.
    """

    def count(n_bytes: int) -> None:
        finished_bytes.value += (
            n_bytes  # nobody else writes it, so it needs no lock that a killed worker could hold
        )

    report_to(count)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one worker, one core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_exit_after_parent, daemon=True).start()
    for module in modules:
        importlib.import_module(module)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            tasks.send(attempt(tasks.recv()))


def _exit_after_parent() -> None:
    """A worker must not outlive a parent that was killed while a task runs: it holds no lock, and the build that
    follows may already be in the same folder."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C takes effect after the block, and never in a process that is started inside.

    Before a worker is told what to do it would end with a traceback, from Ctrl-C itself or because this
    process stopped in the middle of telling it.
    """
    resource_tracker.ensure_running()  # which would take the mask away
    interrupts: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()  # no other thread is interrupted
    if is_main:
        handler = signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, handler)
        if interrupts:
            signal.raise_signal(signal.SIGINT)


class _Worker:
    """One process, which runs one task at a time."""

    def __init__(self, modules: tuple[str, ...] = ()) -> None:
        self._finished_bytes = _SPAWN.RawValue("Q", 0)
        self._tasks, workers_end = _SPAWN.Pipe()
        arguments = (workers_end, self._finished_bytes, modules)
        self._process = _SPAWN.Process(target=_work, args=arguments)
        try:
            with _interrupts_later():
                self._process.start()
        except (
            RuntimeError
        ):  # this process is itself a worker, still loading the script that it was started from
            raise CodemixError(
                "a build with several workers began while a worker was loading this script",
                hints=[MAIN_GUARD],
                rule="main-guard",
            ) from None
        workers_end.close()  # the process has its own: when that dies, we read the end

    @property
    def finished_bytes(self) -> int:
        return self._finished_bytes.value

    def run(self, task: WorkUnit) -> WorkResult | None:
        """Run a task there. Raises EOFError or ConnectionError when the process died."""
        self._tasks.send(task)
        return self._tasks.recv()

    def exit_code(self) -> int | None:
        """Of a process that died, when it has."""
        self._process.join()
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def join(self) -> None:
        self._process.join()


class _Workers:
    """Processes that outlive a phase of a build."""

    def __init__(self) -> None:
        self._all: list[_Worker] = []
        self._idle: list[_Worker] = []

    def start(self, n_workers: int, modules: tuple[str, ...]) -> None:
        """Start some that import `modules` until a task comes."""
        for _ in range(n_workers):
            worker = _Worker(modules)
            self._all.append(worker)
            self._idle.append(worker)

    def take(self) -> _Worker:
        if self._idle:
            return self._idle.pop()
        worker = _Worker()
        self._all.append(worker)
        return worker

    def give_back(self, worker: _Worker) -> None:
        self._idle.append(worker)

    def finished_bytes(self) -> int:
        return sum(worker.finished_bytes for worker in self._all)

    def close(self) -> None:
        """End them all at once: an idle one has nothing to lose, and for one that is not (after Ctrl-C)
        nobody waits: its partial output is a temporary file."""
        for worker in self._all:
            worker.terminate()
        for worker in self._idle:  # or the resources that they used would be counted nowhere
            worker.join()


_warm: _Workers | None = None


@contextlib.contextmanager
def warm_workers() -> Iterator[_Workers]:
    """Worker processes started inside are kept for the next phase, and end with the block."""
    global _warm
    if _warm is not None:
        yield _warm
        return
    _warm = _Workers()
    try:
        yield _warm
    finally:
        _warm.close()
        _warm = None


def run_in_workers(
    tasks: Sequence[WorkUnit], n_workers: int, advance: Callable[..., None]
) -> list[WorkResult]:
    """Up to `n_workers` tasks at a time, each in a process of its own: we know which one a killed process was
    running."""
    with warm_workers() as workers:
        return _serve(tasks, [workers.take() for _ in range(n_workers)], workers, advance)


def _serve(
    tasks: Sequence[WorkUnit], first: list[_Worker], workers: _Workers, advance: Callable[..., None]
) -> list[WorkResult]:
    waiting: queue.SimpleQueue[WorkUnit] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    results: list[WorkResult] = []
    stop = threading.Event()

    def serve(worker: _Worker) -> None:
        while not stop.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                result = worker.run(task)
            except (EOFError, ConnectionError):
                if stop.is_set():  # it was ended with all the others, and nobody waits for another one
                    return
                result = WorkResult(task.name, problems=(_broken(worker.exit_code()),))
                worker = workers.take()
            if result is not None:
                results.append(result)
        if not stop.is_set():
            workers.give_back(worker)

    threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in first]
    shown = workers.finished_bytes()
    try:
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(0.2)
            finished = workers.finished_bytes()
            advance(finished - shown)
            shown = finished
    finally:
        stop.set()
    return results


def _broken(exit_code: int | None) -> Problem:
    if exit_code is not None and exit_code > 0:  # not a signal: it never came to its task
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
