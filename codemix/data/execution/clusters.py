"""Tasks on Ray and on Slurm."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence

from codemix.data.execution.cluster_job import ClusterJob
from codemix.data.execution.nodes import Nodes
from codemix.data.execution.task import WorkResult, WorkUnit
from codemix.data.store.store import write_text


def run_on_cluster(
    tasks: Sequence[WorkUnit], workers: int, executor: str, label: str, nodes: Nodes
) -> list[WorkResult]:
    """Run tasks on `ray` or `slurm`, those that an interrupted build has not left there as done."""
    nodes.collect(tasks)
    left = [task for task in tasks if not task.done.exists()]
    if not left:
        return []
    name = f"{executor}-{os.getpid()}-{time.time_ns()}"
    job = ClusterJob(left, workers, label, nodes.folder / name, nodes.files(name), nodes)
    job.folder.mkdir(parents=True)
    job.send()
    write_text(job.folder / "tasks.txt", "\n".join(task.name for task in left))
    if executor == "ray":
        from codemix.data.execution.on_ray import run_on_ray

        run_on_ray(job)
    else:
        from codemix.data.execution.on_slurm import run_on_slurm

        run_on_slurm(job)
    results = job.results()
    if not results:
        job.files.delete()
        shutil.rmtree(job.folder, ignore_errors=True)
    return results
