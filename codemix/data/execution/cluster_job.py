"""A job of many tasks on a cluster, whose nodes share nothing with this machine but the store's file system.

No cluster hands back what a task raised: each rank leaves its result beside its mark, and the marks are looked at
afterwards.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.execution.task import WorkResult, WorkUnit, attempt
from codemix.errors import Problem
from codemix.progress import progress


@dataclass(frozen=True)
class RunTask:
    """What a cluster runs: rank r runs task r and leaves what went wrong beside its mark."""

    folder: Path

    def task_file(self, rank: int) -> Path:
        return self.folder / f"{rank:05d}.task"

    def result_file(self, rank: int) -> Path:
        return self.folder / f"{rank:05d}.result"

    def __call__(self, _data: Any, rank: int, _ranks: int) -> None:
        """Called as a step of a datatrove pipeline is."""
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        task = pickle.loads(self.task_file(rank).read_bytes())
        result = attempt(task)
        if result is not None:
            self.leave(rank, result)

    def leave(self, rank: int, result: WorkResult) -> None:
        """What went wrong, for whoever waits."""
        content = pickle.dumps(result)
        path = self.result_file(rank)
        path.write_bytes(content)


@dataclass(frozen=True)
class ClusterJob:
    """Tasks on their way through a cluster."""

    tasks: Sequence[WorkUnit]
    workers: int
    label: str
    folder: Path

    @property
    def step(self) -> RunTask:
        return RunTask(self.folder)

    def watch(self, running: Callable[[], bool]) -> None:
        """Show progress, by the tasks' own marks, while the job runs. `running` is asked when it has answered,
        and takes its time."""
        shown = 0
        with progress(self.label, sum(task.size for task in self.tasks), "bytes") as advance:
            while running():
                finished = self._finished_bytes()
                advance(finished - shown)
                shown = finished
            advance(self._finished_bytes() - shown)

    def _finished_bytes(self) -> int:
        finished = (task for task in self.tasks if task.done.exists())
        return sum(task.size for task in finished)

    def fail(self, rank: int, problem: Problem) -> None:
        """Note what went wrong with a task that cannot say so itself."""
        task = self.tasks[rank]
        problems = (problem,)
        result = WorkResult(task.name, problems)
        self.step.leave(rank, result)

    def results(self) -> list[WorkResult]:
        """What went wrong, by the files that the tasks left."""
        results: list[WorkResult] = []
        for rank, task in enumerate(self.tasks):
            result = self._result(rank, task)
            if result is not None:
                results.append(result)
        return results

    def _result(self, rank: int, task: WorkUnit) -> WorkResult | None:
        path = self.step.result_file(rank)
        if path.exists():
            return pickle.loads(path.read_bytes())
        if task.done.exists():
            return None
        return WorkResult(task.name, problems=(_unfinished(self.folder, rank),))


def _unfinished(folder: Path, rank: int) -> Problem:
    """A task that left neither its output nor a result: killed, or never started."""
    hints = ["run the same command again: only what is missing is redone"]
    logs = folder.glob(f"slurm_logs/*_{rank}.out")
    for log in sorted(logs):
        text = log.read_text(errors="replace")
        hints.insert(0, f"its log {log} says: {reason(text)}")
    return Problem("did not finish", hints=tuple(hints), rule="task-failed")


def reason(log: str) -> str:
    """The line of a log that says most likely why it ends."""
    lines = log.strip().splitlines() or ["(it is empty)"]
    errors = [line for line in lines if "error:" in line.lower()]
    likely = errors or lines
    return likely[-1][:200]
