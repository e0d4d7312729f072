"""datatrove's Slurm executor. A pipeline is one step, called with (data, rank, number of ranks)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codemix import environment
from codemix.data.datatrove_adapter.logs import silence

NODE_LOG = "/tmp/codemix-%A_%a.out"  # on a node that shares no folder with us; Slurm fills in job and rank
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


def submit_to_slurm(
    step: Step, ranks: int, workers: int, folder: Path, submitted: list[str], command: str = ""
) -> None:
    """Submit job arrays of all ranks; each job's id is added to `submitted` at once. The logs are
    `slurm_logs/*_<rank>.out` in `folder`.

    `command`: where nodes do not see `folder`, what runs a rank, with its number behind it; given a log behind that,
    it puts this where it is found. Raises subprocess.CalledProcessError when `sbatch` refuses one; it says why on stderr.
    """
    from datatrove.executor.slurm import SlurmPipelineExecutor

    class Executor(SlurmPipelineExecutor):
        def launch_merge_stats(self) -> None:
            """Not at all: it would wait for ever in the queue behind a task that failed."""

        def get_launch_file_contents(self, sbatch_args: dict[str, Any], run_script: str) -> str:
            """The script of a task."""
            if command:
                ranked = f"{command} $((SLURM_ARRAY_TASK_ID + {self.max_array_size} * RUN_OFFSET))"
                log = NODE_LOG.replace("%A", "$SLURM_ARRAY_JOB_ID").replace("%a", "$SLURM_ARRAY_TASK_ID")
                run_script = f"srun -l -n 1 {ranked} || {{ {ranked} {log}; exit 1; }}"
            return super().get_launch_file_contents(sbatch_args, run_script)

    def note(answer: str) -> str:
        job_id = answer.split()[-1]
        submitted.append(job_id)
        return job_id

    silence()
    options = SlurmOptions()
    of_nodes = {"output": NODE_LOG, "error": NODE_LOG, "chdir": "/tmp"}
    executor = Executor(
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
        sbatch_args=of_nodes if command else {},
        job_id_retriever=note,
    )
    executor.run()
