"""Jobs: a folder of the store each, filled by tasks and published whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from codemix.data.execution.runner import Executor, run_tasks
from codemix.data.execution.task import WorkUnit
from codemix.data.store.store import Store, disk_problem
from codemix.errors import CodemixError


class Job(Protocol):
    """One folder of the store and the tasks that fill it."""

    @property
    def final(self) -> Path: ...
    def tasks(self, work: Path) -> list[WorkUnit]: ...
    def finish(self, work: Path) -> dict[str, str]: ...  # the digests of files that are known already


def complete(store: Store, jobs: list[Job], *, label: str, workers: int, executor: Executor) -> None:
    """Finish every job that the store lacks, their tasks side by side; what can be finished is, also when others fail."""
    with contextlib.ExitStack() as locks:
        held: list[tuple[Job, Path, list[WorkUnit]]] = []
        for job in jobs:
            if job.final.exists():
                continue
            work = store.work(job.final)
            locks.enter_context(store.lock(work))
            if not job.final.exists():  # another process may have built it while we waited for nothing
                with _disk(work):
                    work.mkdir(parents=True, exist_ok=True)
                    held.append((job, work, [] if (work / "manifest.json").exists() else job.tasks(work)))
        try:
            run_tasks(
                [task for _, _, tasks in held for task in tasks],
                label=label,
                workers=workers,
                executor=executor,
                work=store.root / ".building" / "jobs",
            )
        finally:
            problems: list[Any] = []
            for job, work, tasks in held:
                if all(task.done.exists() for task in tasks):
                    try:
                        with _disk(work):
                            known = {} if (work / "manifest.json").exists() else job.finish(work)
                            store.publish(job.final, known)
                    except CodemixError as error:
                        problems += error.problems
            if problems:
                raise CodemixError(*problems)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_problem(error, Path(error.filename or path)) from error
