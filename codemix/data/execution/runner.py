"""Running tasks: on this machine, on Ray, or on Slurm; finished ones are skipped, failures are reported at
the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from codemix.data.execution.clusters import run_on_cluster
from codemix.data.execution.nodes import Nodes
from codemix.data.execution.task import WorkResult, WorkUnit, attempt, report_to
from codemix.data.execution.workers import run_in_workers
from codemix.errors import CodemixError, Problem
from codemix.progress import progress

Executor = Literal["local", "ray", "slurm"]
EXECUTORS: tuple[str, ...] = get_args(Executor)
IN_PROCESS_BYTES = 2**20  # less work than this is done before a worker has started


@dataclass(frozen=True)
class Resources:
    """How fast and where tasks run; it changes no byte of what they write."""

    workers: int = 1
    executor: Executor = "local"

    def __post_init__(self) -> None:
        """Raises CodemixError for an executor that does not exist, and for no workers."""
        if self.executor not in EXECUTORS:
            raise CodemixError(
                f"there is no executor `{self.executor}`",
                hints=[f"known here: {', '.join(EXECUTORS)}"],
                rule="unknown-executor",
            )
        if self.workers < 1:
            what = f"{self.workers} workers cannot build"
            raise CodemixError(what, hints=["give 1 or more"], rule="no-workers")


def run_tasks(
    tasks: Sequence[WorkUnit],
    *,
    label: str,
    resources: Resources = Resources(),
    nodes: Nodes | None = None,
) -> None:
    """Run every task that is not done. `nodes`: those of Ray and Slurm.

    Raises CodemixError naming every task that failed or was killed, after all the others have finished;
    rerunning does only those. A bug in a task is raised as RuntimeError with its traceback.
    """
    unfinished = [task for task in tasks if not task.done.exists()]
    if not unfinished:
        return
    unfinished.sort(key=lambda task: -task.size)
    if resources.executor == "local":
        results = _run_here(unfinished, resources.workers, label)
    else:
        assert nodes is not None, "Ray and Slurm need to know how tasks reach their nodes"
        results = run_on_cluster(unfinished, resources.workers, resources.executor, label, nodes)
    _raise_failures(unfinished, results)


def _raise_failures(tasks: Sequence[WorkUnit], results: Sequence[WorkResult]) -> None:
    bugs = [f"task failed: {result.name}\n{result.trace}" for result in results if result.trace]
    if bugs:
        raise RuntimeError("\n".join(bugs))
    problems: list[Problem] = []
    for result in results:
        problems += [_named(problem, result.name) for problem in result.problems]
    if problems:
        raise CodemixError(*problems)
    missing = [task.name for task in tasks if not task.done.exists()]
    if missing:
        raise CodemixError(*map(_unfinished, missing))


def _unfinished(task: str) -> Problem:
    hint = "run the same command again: only what is missing is redone"
    return Problem(f"{task}: did not finish", hints=(hint,), rule="task-failed")


def _named(problem: Problem, task: str) -> Problem:
    what = f"{task}: {problem.what}"
    return dataclasses.replace(problem, what=what)


def _run_here(tasks: Sequence[WorkUnit], workers: int, label: str) -> list[WorkResult]:
    size = sum(task.size for task in tasks)
    n_workers = min(workers, len(tasks))
    with progress(label, size, "bytes") as advance:
        if n_workers <= 1 or size < IN_PROCESS_BYTES:
            return _in_process(tasks, advance)
        return run_in_workers(tasks, n_workers, advance)


def _in_process(tasks: Sequence[WorkUnit], advance: Callable[..., None]) -> list[WorkResult]:
    report_to(advance)
    try:
        results = []
        for task in tasks:
            result = attempt(task)
            if result is None:
                continue
            results.append(result)
            if any(problem.rule == "disk-full" for problem in result.problems):
                break  # the others could only fail the same way
        return results
    finally:
        report_to(None)
