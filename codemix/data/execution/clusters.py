"""Tasks on Ray and on Slurm, through datatrove's executors.

datatrove's Ray executor returns without a word when tasks fail, and neither hands back what a task raised: so each rank
leaves its outcome beside its mark, and the marks are looked at afterwards. The store must lie where every node sees it.
"""

from __future__ import annotations

import os
import pickle
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codemix.data.execution.task import WorkResult, WorkUnit, attempt, quiet
from codemix.data.store.store import write_text
from codemix.errors import CodemixError, Problem
from codemix.progress import progress


def _same_environment() -> str:
    return f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"


@dataclass
class Slurm:
    """What `sbatch` is told. Read from CODEMIX_SLURM_* variables: a place, never a meaning."""

    partition: str = field(default_factory=lambda: os.environ.get("CODEMIX_SLURM_PARTITION", "normal"))
    time: str = field(default_factory=lambda: os.environ.get("CODEMIX_SLURM_TIME", "24:00:00"))
    mem_per_cpu_gb: int = field(default_factory=lambda: int(os.environ.get("CODEMIX_SLURM_MEM_GB", "2")))
    qos: str = field(default_factory=lambda: os.environ.get("CODEMIX_SLURM_QOS", ""))
    env_command: str = field(
        default_factory=lambda: os.environ.get("CODEMIX_SLURM_ENV", _same_environment())
    )  # a shell line that activates codemix's environment


class RunTask:
    """The step that datatrove's executors run: rank r runs task r and leaves what went wrong beside its mark."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        task = pickle.loads((self.folder / f"{rank:05d}.task").read_bytes())
        outcome = attempt(task)
        if outcome:
            (self.folder / f"{rank:05d}.outcome").write_bytes(pickle.dumps(outcome))


def on_cluster(
    todo: list[WorkUnit], workers: int, executor: str, label: str, work: Path | None
) -> list[WorkResult]:
    """Through datatrove's Ray or Slurm executor; the store must lie on a file system that every node sees."""
    assert work is not None
    quiet()
    folder = work / f"{executor}-{os.getpid()}-{time.time_ns()}"
    folder.mkdir(parents=True)
    for rank, task in enumerate(todo):
        (folder / f"{rank:05d}.task").write_bytes(pickle.dumps(task))
    write_text(folder / "tasks.txt", "\n".join(task.name for task in todo))
    (_ray if executor == "ray" else _slurm)(
        [RunTask(folder)],
        len(todo),
        workers,
        label,
        folder,
        lambda: sum(task.size for task in todo if task.done.exists()),
        sum(task.size for task in todo),
    )
    outcomes = []
    for rank, task in enumerate(todo):
        if (path := folder / f"{rank:05d}.outcome").exists():
            outcomes.append(pickle.loads(path.read_bytes()))
        elif not task.done.exists():
            outcomes.append(WorkResult(task.name, problems=(_unfinished(folder, rank),)))
    if not outcomes:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def _unfinished(folder: Path, rank: int) -> Problem:
    """A task that left neither its output nor a word: killed, or never started."""
    hints = ["run the same command again: only what is missing is redone"]
    for log in sorted(folder.glob(f"slurm_logs/*_{rank}.out")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        hints.insert(0, f"its log {log} ends: {lines[-1][:200] if lines else '(it is empty)'}")
    return Problem("did not finish", hints=tuple(hints), rule="task-failed")


def _ray(
    pipeline: list,
    n_tasks: int,
    workers: int,
    label: str,
    folder: Path,
    finished: Callable[[], int],
    total: int,
) -> None:
    try:
        import ray
    except ImportError:
        raise CodemixError(
            "`--executor ray` needs the package `ray`", hints=["pip install ray"], rule="executor-missing"
        ) from None
    from datatrove.executor.ray import RayPipelineExecutor

    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, include_dashboard=False)
    # a rank that fails leaves no completion; what counts is read from the tasks' own marks afterwards
    job = RayPipelineExecutor(
        pipeline=pipeline, tasks=n_tasks, workers=workers, mem_per_cpu_gb=1, logging_dir=str(folder / "ray")
    )
    thread = threading.Thread(target=job.run, daemon=True)
    thread.start()
    _watch(thread.is_alive, label, finished, total)


def _slurm(
    pipeline: list,
    n_tasks: int,
    workers: int,
    label: str,
    folder: Path,
    finished: Callable[[], int],
    total: int,
) -> None:
    import subprocess

    if not shutil.which("sbatch"):
        raise CodemixError(
            "`--executor slurm` needs `sbatch` on this machine",
            hints=["run it on a login node of the cluster"],
            rule="executor-missing",
        )
    from datatrove.executor.slurm import SlurmPipelineExecutor

    told = Slurm()
    job = SlurmPipelineExecutor(
        pipeline=pipeline,
        tasks=n_tasks,
        workers=workers if workers > 1 else -1,
        time=told.time,
        partition=told.partition,
        qos=told.qos,
        mem_per_cpu_gb=told.mem_per_cpu_gb,
        env_command=told.env_command,
        job_name="codemix",
        logging_dir=str(folder / "slurm"),
        slurm_logs_folder=str(folder / "slurm_logs"),
        requeue=False,
    )
    job.run()

    def running() -> bool:
        queued = subprocess.run(
            ["squeue", "--noheader", "--jobs", str(job.job_id), "--format", "%T"],
            capture_output=True,
            text=True,
        )
        return bool(queued.stdout.strip())

    try:
        _watch(running, label, finished, total, every_s=2.0)
    except BaseException:
        subprocess.run(["scancel", str(job.job_id)], check=False)
        raise


def _watch(
    running: Callable[[], bool], label: str, finished: Callable[[], int], total: int, every_s: float = 0.5
) -> None:
    shown = 0
    with progress(label, total, "bytes") as advance:
        while running():
            time.sleep(every_s)
            now = finished()
            advance(now - shown)
            shown = now
        advance(finished() - shown)
