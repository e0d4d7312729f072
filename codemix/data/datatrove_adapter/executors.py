"""datatrove's Ray and Slurm executors. A pipeline is one step, called with (data, rank, number of ranks)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codemix import environment
from codemix.data.datatrove_adapter.logs import silence

Step = Callable[[Any, int, int], None]


def _environment_of_this_python() -> str:
    return f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"


@dataclass(frozen=True)
class SlurmOptions:
    """What `sbatch` is given. Read from CODEMIX_SLURM_* variables: they say where, and change no output."""

    partition: str = field(default_factory=lambda: environment.text(environment.SLURM_PARTITION, "normal"))
    time: str = field(default_factory=lambda: environment.slurm_duration(environment.SLURM_TIME, "24:00:00"))
    mem_per_cpu_gb: int = field(default_factory=lambda: environment.whole_number(environment.SLURM_MEM_GB, 2))
    qos: str = field(default_factory=lambda: environment.text(environment.SLURM_QOS, ""))
    env_command: str = field(  # a shell line that activates codemix's environment
        default_factory=lambda: environment.text(environment.SLURM_ENV, _environment_of_this_python())
    )


def run_on_ray(step: Step, ranks: int, workers: int, folder: Path) -> None:
    """Run every rank on the Ray that is initialized. A rank that fails is not reported: look at what it
    should write."""
    from datatrove.executor.ray import RayPipelineExecutor

    silence()
    RayPipelineExecutor(
        pipeline=[step], tasks=ranks, workers=workers, mem_per_cpu_gb=1, logging_dir=str(folder / "ray")
    ).run()


def submit_to_slurm(step: Step, ranks: int, workers: int, folder: Path) -> str:
    """Submit a job array of all ranks; returns the job's id. The logs are `slurm_logs/*_<rank>.out` in
    `folder`."""
    from datatrove.executor.slurm import SlurmPipelineExecutor

    silence()
    options = SlurmOptions()
    executor = SlurmPipelineExecutor(
        pipeline=[step],
        tasks=ranks,
        workers=workers if workers > 1 else -1,
        time=options.time,
        partition=options.partition,
        qos=options.qos,
        mem_per_cpu_gb=options.mem_per_cpu_gb,
        env_command=options.env_command,
        job_name="codemix",
        logging_dir=str(folder / "slurm"),
        slurm_logs_folder=str(folder / "slurm_logs"),
        requeue=False,
    )
    executor.run()
    return str(executor.job_id)
