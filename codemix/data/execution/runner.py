"""Running tasks: on this machine, on Ray, or on Slurm; what is finished is skipped, what fails is named at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from codemix.data.execution.clusters import on_cluster
from codemix.data.execution.task import WorkResult, WorkUnit, attempt, report_to
from codemix.data.execution.workers import in_pool
from codemix.errors import CodemixError, Problem
from codemix.progress import progress

Executor = Literal["local", "ray", "slurm"]
IN_PROCESS_BYTES = 2**20  # less work than this is done before a worker has started


def run_tasks(
    tasks: Sequence[WorkUnit],
    *,
    label: str,
    workers: int = 1,
    executor: Executor = "local",
    work: Path | None = None,
) -> None:
    """Run every task that is not done. `work` is a folder for an executor's own files (Ray and Slurm).

    Raises CodemixError naming every task that failed or was killed, after all the others have finished; rerunning
    does only those. A bug in a task is raised as RuntimeError with its traceback.
    """
    todo = sorted((task for task in tasks if not task.done.exists()), key=lambda task: -task.size)
    if not todo:
        return
    if executor == "local":
        run = (
            _in_process
            if workers <= 1 or len(todo) == 1 or sum(task.size for task in todo) < IN_PROCESS_BYTES
            else in_pool
        )
        with progress(label, sum(task.size for task in todo), "bytes") as advance:
            outcomes = run(todo, min(workers, len(todo)), advance)
    elif executor in ("ray", "slurm"):
        outcomes = on_cluster(todo, workers, executor, label, work)
    else:
        raise CodemixError(
            f"there is no executor `{executor}`", hints=["one of: local, ray, slurm"], rule="unknown-executor"
        )
    if bugs := [o for o in outcomes if o.trace]:
        raise RuntimeError("\n".join(f"task failed: {o.name}\n{o.trace}" for o in bugs))
    if problems := [_named(problem, o.name) for o in outcomes for problem in o.problems]:
        raise CodemixError(*problems)
    if missing := [task.name for task in todo if not task.done.exists()]:
        hint = "run the same command again: only what is missing is redone"
        raise CodemixError(
            *(Problem(f"{name}: did not finish", hints=(hint,), rule="task-failed") for name in missing)
        )


def _named(problem: Problem, task: str) -> Problem:
    return Problem(
        f"{task}: {problem.what}", problem.where, problem.hints, problem.rule, problem.severity, problem.cite
    )


def _in_process(todo: list[WorkUnit], _workers: int, advance: Callable[..., None]) -> list[WorkResult]:
    report_to(advance)
    try:
        outcomes = []
        for task in todo:
            outcomes.append(attempt(task))
            if outcomes[-1] and any(p.rule == "disk-full" for p in outcomes[-1].problems):
                break  # the others could only fail the same way
        return [outcome for outcome in outcomes if outcome]
    finally:
        report_to(None)
