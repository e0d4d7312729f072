"""Jobs: each fills one folder of the store by tasks and publishes it whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codemix.data.execution.nodes import nodes_of
from codemix.data.execution.runner import Resources, run_tasks
from codemix.data.execution.task import WorkUnit
from codemix.data.store.store import Store, disk_problem
from codemix.errors import CodemixError, Problem

AT_ONCE = 100  # jobs side by side: the lock of each is an open file, and a process may have few of those


class Job(Protocol):
    """One folder of the store and the tasks that fill it."""

    @property
    def final(self) -> Path: ...

    def tasks(self, work: Path) -> Sequence[WorkUnit]:
        """The tasks that fill the folder `work`."""
        ...

    def finish(self, work: Path) -> dict[str, str]:
        """Join what the tasks left; returns the digests of files that are known already."""
        ...


@dataclass(frozen=True)
class _Held:
    """A job whose lock we hold."""

    job: Job
    work: Path
    tasks: Sequence[WorkUnit]

    @property
    def is_joined(self) -> bool:
        return (self.work / "manifest.json").exists()


def complete(store: Store, jobs: Sequence[Job], *, label: str, resources: Resources) -> None:
    """Finish every job that the store lacks, their tasks side by side; what can be finished is, also when
    others fail."""
    problems: list[Problem] = []
    for first in range(0, len(jobs), AT_ONCE):
        some = jobs[first : first + AT_ONCE]
        try:
            _complete(store, some, label=label, resources=resources)
        except CodemixError as error:
            problems += error.problems
            if error.problems[0].rule == "disk-full":
                break
    if problems:
        raise CodemixError(*problems)


def _complete(store: Store, jobs: Sequence[Job], *, label: str, resources: Resources) -> None:
    with contextlib.ExitStack() as locks:
        lacking = [job for job in jobs if not job.final.exists()]
        held = [each for job in lacking if (each := _hold(store, job, locks)) is not None]
        tasks = [task for each in held for task in each.tasks]
        try:
            run_tasks(tasks, label=label, resources=resources, nodes=nodes_of(store))
        finally:
            problems = [problem for each in held for problem in _publish(store, each)]
            if problems:
                raise CodemixError(*problems)


def _hold(store: Store, job: Job, locks: contextlib.ExitStack) -> _Held | None:
    """Lock a job and list its tasks; None where another process was faster."""
    work = locks.enter_context(store.begin(job.final))
    if work is None:
        return None
    with _disk_problems(work):
        held = _Held(job, work, ())
        return held if held.is_joined else _Held(job, work, job.tasks(work))


def _publish(store: Store, held: _Held) -> tuple[Problem, ...]:
    """Publish a job whose tasks are all done; the problems that this meets."""
    if not all(task.done.exists() for task in held.tasks):
        return ()
    try:
        with _disk_problems(held.work):
            known = {} if held.is_joined else held.job.finish(held.work)
            store.publish(held.job.final, known)
    except CodemixError as error:
        return error.problems
    return ()


@contextlib.contextmanager
def _disk_problems(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_problem(error, Path(error.filename or path)) from error
