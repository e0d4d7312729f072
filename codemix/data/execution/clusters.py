"""Tasks on Ray and on Slurm. The store must be on a file system that every node sees."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from codemix.data.execution.cluster_job import ClusterJob
from codemix.data.execution.task import WorkResult, WorkUnit
from codemix.data.store.store import write_text


def run_on_cluster(
    tasks: Sequence[WorkUnit], workers: int, executor: str, label: str, work: Path
) -> list[WorkResult]:
    """Run tasks on `ray` or `slurm`. `work`: a folder for the job's own files."""
    job = ClusterJob(tasks, workers, label, work / f"{executor}-{os.getpid()}-{time.time_ns()}")
    job.folder.mkdir(parents=True)
    for rank, task in enumerate(tasks):
        job.step.task_file(rank).write_bytes(pickle.dumps(task))
    write_text(job.folder / "tasks.txt", "\n".join(task.name for task in tasks))
    if executor == "ray":
        from codemix.data.execution.on_ray import run_on_ray

        run_on_ray(job)
    else:
        from codemix.data.execution.on_slurm import run_on_slurm

        run_on_slurm(job)
    results = job.results()
    if not results:
        shutil.rmtree(job.folder, ignore_errors=True)
    return results
