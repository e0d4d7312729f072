"""Tasks on Ray and on Slurm, through datatrove's executors.

datatrove's Ray executor returns without a word when tasks fail, and neither hands back what a task raised: so
each rank leaves its result beside its mark, and the marks are looked at afterwards. The store must be on a
file system that every node sees.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.execution.task import WorkResult, WorkUnit, attempt
from codemix.data.store.store import write_text
from codemix.errors import CodemixError, Problem
from codemix.progress import progress


@dataclass(frozen=True)
class RunTask:
    """The step that datatrove's executors run: rank r runs task r and leaves what went wrong beside its
    mark."""

    folder: Path

    def task_file(self, rank: int) -> Path:
        return self.folder / f"{rank:05d}.task"

    def result_file(self, rank: int) -> Path:
        return self.folder / f"{rank:05d}.result"

    def __call__(self, _data: Any, rank: int, _ranks: int) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        task = pickle.loads(self.task_file(rank).read_bytes())
        result = attempt(task)
        if result is not None:
            self.result_file(rank).write_bytes(pickle.dumps(result))


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

    def watch(self, running: Callable[[], bool], every_s: float) -> None:
        """Show progress, by the tasks' own marks, while the job runs."""
        shown = 0
        with progress(self.label, sum(task.size for task in self.tasks), "bytes") as advance:
            while running():
                time.sleep(every_s)
                finished = self._finished_bytes()
                advance(finished - shown)
                shown = finished
            advance(self._finished_bytes() - shown)

    def _finished_bytes(self) -> int:
        finished = (task for task in self.tasks if task.done.exists())
        return sum(task.size for task in finished)

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


def run_on_cluster(
    tasks: Sequence[WorkUnit], workers: int, executor: str, label: str, work: Path
) -> list[WorkResult]:
    """Through datatrove's Ray or Slurm executor. `work`: a folder for the executor's own files."""
    job = ClusterJob(tasks, workers, label, work / f"{executor}-{os.getpid()}-{time.time_ns()}")
    job.folder.mkdir(parents=True)
    for rank, task in enumerate(tasks):
        job.step.task_file(rank).write_bytes(pickle.dumps(task))
    write_text(job.folder / "tasks.txt", "\n".join(task.name for task in tasks))
    if executor == "ray":
        _run_on_ray(job)
    else:
        _run_on_slurm(job)
    results = job.results()
    if not results:
        shutil.rmtree(job.folder, ignore_errors=True)
    return results


def _unfinished(folder: Path, rank: int) -> Problem:
    """A task that left neither its output nor a result: killed, or never started."""
    hints = ["run the same command again: only what is missing is redone"]
    for log in sorted(folder.glob(f"slurm_logs/*_{rank}.out")):
        lines = log.read_text(errors="replace").strip().splitlines()
        last_line = lines[-1][:200] if lines else "(it is empty)"
        hints.insert(0, f"its log {log} ends: {last_line}")
    return Problem("did not finish", hints=tuple(hints), rule="task-failed")


def _run_on_ray(job: ClusterJob) -> None:
    try:
        import ray
    except ImportError:
        raise CodemixError(
            "`--executor ray` needs the package `ray`", hints=["pip install ray"], rule="executor-missing"
        ) from None
    from codemix.data.datatrove_adapter.executors import run_on_ray

    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, include_dashboard=False)
    arguments = (job.step, len(job.tasks), job.workers, job.folder)
    thread = threading.Thread(target=run_on_ray, args=arguments, daemon=True)
    thread.start()
    job.watch(thread.is_alive, every_s=0.5)


def _run_on_slurm(job: ClusterJob) -> None:
    if not shutil.which("sbatch"):
        raise CodemixError(
            "`--executor slurm` needs `sbatch` on this machine",
            hints=["run it on a login node of the cluster"],
            rule="executor-missing",
        )
    from codemix.data.datatrove_adapter.executors import submit_to_slurm

    job_id = submit_to_slurm(job.step, len(job.tasks), job.workers, job.folder)

    def running() -> bool:
        command = ["squeue", "--noheader", "--jobs", job_id, "--format", "%T"]
        queue = subprocess.run(command, capture_output=True, text=True)
        return bool(queue.stdout.strip())

    try:
        job.watch(running, every_s=2.0)
    except BaseException:
        subprocess.run(["scancel", job_id], check=False)
        raise
