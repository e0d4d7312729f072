"""A job of many tasks on a cluster, whose nodes share nothing with this machine but the job's files.

No cluster hands back what a task raised: each rank leaves its result beside its mark, and the marks are looked at
afterwards.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from codemix.data.execution.nodes import JobFiles, Nodes
from codemix.data.execution.task import WorkResult, WorkUnit, attempt
from codemix.errors import Problem
from codemix.progress import progress

SENDING = 32  # tasks at a time
LOGS = "slurm_logs"  # in the job's files, each named after its job and rank


@dataclass(frozen=True)
class RunTask:
    """What a cluster runs: rank r runs task r and leaves what went wrong beside its mark."""

    files: JobFiles

    def __call__(self, _data: Any, rank: int, _ranks: int) -> None:
        """Called as a step of a datatrove pipeline is."""
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        content = self.files.read(task_file(rank))
        task = pickle.loads(content)
        result = attempt(task)
        if result is not None:
            self.leave(rank, result)

    def leave(self, rank: int, result: WorkResult) -> None:
        """What went wrong, for whoever waits."""
        content = pickle.dumps(result)
        self.files.write(result_file(rank), content)


def task_file(rank: int) -> str:
    return f"{rank:05d}.task"


def result_file(rank: int) -> str:
    return f"{rank:05d}.result"


@dataclass(frozen=True)
class ClusterJob:
    """Tasks on their way through a cluster."""

    tasks: Sequence[WorkUnit]
    workers: int
    label: str
    folder: Path  # of this machine, for an executor's own files
    files: JobFiles
    nodes: Nodes

    @property
    def step(self) -> RunTask:
        return RunTask(self.files)

    def send(self) -> None:
        """Put the tasks where the nodes find them."""
        sent = self.nodes.sent(self.tasks)
        names = [task_file(rank) for rank, _ in enumerate(sent)]
        with ThreadPoolExecutor(SENDING) as pool:
            for _ in pool.map(self.files.write, names, sent):
                pass

    def watch(self, running: Callable[[], bool]) -> None:
        """Show progress, by the tasks' own marks, and have here what is made, while the job runs. `running` is asked
        when it has answered, and takes its time."""
        shown = 0
        size = sum(task.size for task in self.tasks)
        with progress(self.label, size, "bytes") as advance, ThreadPoolExecutor(1) as pool:
            collecting = pool.submit(self.nodes.collect, self.tasks)
            while running():
                finished = self._finished_bytes()
                advance(finished - shown)
                shown = finished
                if collecting.done():
                    collecting.result()
                    collecting = pool.submit(self.nodes.collect, self.tasks)
            collecting.result()
            self.nodes.collect(self.tasks)  # what was made since that began
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
        left = self.files.names()
        results: list[WorkResult] = []
        for rank, task in enumerate(self.tasks):
            if result_file(rank) in left:
                content = self.files.read(result_file(rank))
                results.append(pickle.loads(content))
            elif not task.done.exists():
                logs = [name for name in left if fnmatch(name, f"{LOGS}/*_{rank}.out")]
                results.append(WorkResult(task.name, problems=(self._unfinished(logs),)))
        return results

    def _unfinished(self, logs: Sequence[str]) -> Problem:
        """A task that left neither its output nor a result: killed, or never started."""
        hints = ["run the same command again: only what is missing is redone"]
        for log in logs:
            text = self.files.read(log).decode(errors="replace")
            hints.insert(0, f"its log {self.files}/{log} says: {reason(text)}")
        return Problem("did not finish", hints=tuple(hints), rule="task-failed")


def reason(log: str) -> str:
    """The line of a log that says most likely why it ends."""
    lines = log.strip().splitlines() or ["(it is empty)"]
    errors = [line for line in lines if "error:" in line.lower()]
    likely = errors or lines
    return likely[-1][:200]
