"""A task: a piece of a build that runs anywhere, and whose result appears on disk, whole, under `done`.

So a rerun redoes only what is missing, and whether a task ran is a question to the file system, not to an
executor.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from codemix.data.store.store import disk_problem
from codemix.errors import CodemixError, Problem

_report: Callable[[int], Any] | None = None  # who is told what a running task has done, in this process


class WorkUnit(Protocol):
    @property
    def name(self) -> str: ...  # for people: "tokens of web, part 3"
    @property
    def size(self) -> int: ...  # [bytes], for the bar, and to start the largest first
    @property
    def done(self) -> Path: ...  # exists when the task's output is whole

    def reads(
        self,
    ) -> list[Path]: ...  # the files and folders that it opens besides raw inputs; some may be absent

    def run(self) -> None: ...


@dataclass(frozen=True)
class WorkResult:
    """How a task failed: either by `problems` (the user's business) or by a bug, with its `trace`."""

    name: str
    problems: tuple[Problem, ...] = ()
    trace: str = ""


def report_to(report: Callable[[int], Any] | None) -> None:
    """From now on, `tick` in this process calls `report`; None for nobody."""
    global _report
    _report = report


def tick(n_bytes: int) -> None:
    """Called by a running task when it has dealt with some more bytes."""
    if _report is not None:
        _report(n_bytes)


def attempt(task: WorkUnit) -> WorkResult | None:
    """Run one task; None when it went well. Only interruption passes through."""
    try:
        task.run()
    except CodemixError as error:
        return WorkResult(task.name, problems=error.problems)
    except OSError as error:
        return WorkResult(task.name, problems=disk_problem(error, Path(error.filename or task.done)).problems)
    except Exception:
        return WorkResult(task.name, trace=traceback.format_exc())
    return None
