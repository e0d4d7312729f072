"""Tasks on Slurm, as job arrays."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence

from codemix.data.execution.cluster_job import ClusterJob
from codemix.errors import CodemixError, Problem

PATIENCE_S = 900.0  # with a controller that does not answer: it may be restarted meanwhile
ASK_EVERY_S = 2.0


def problems() -> list[Problem]:
    """What can be known to be wrong before anything is submitted."""
    from codemix.data.datatrove_adapter.slurm import SlurmOptions

    found: list[Problem] = []
    if not shutil.which("sbatch"):
        found.append(
            Problem(
                "`--executor slurm` needs `sbatch`, which is not on this machine",
                hints=("run it on a login node of the cluster, or leave `--executor` out",),
                rule="executor-missing",
            )
        )
    try:
        SlurmOptions()
    except CodemixError as error:
        found += error.problems
    return found


def run_on_slurm(job: ClusterJob) -> None:
    """Submit every rank and wait until Slurm has none of them any more; Ctrl-C cancels them."""
    if found := problems():
        raise CodemixError(*found)
    from codemix.data.datatrove_adapter.slurm import submit_to_slurm

    submitted: list[str] = []
    try:
        command = job.files.node_command
        submit_to_slurm(job.step, len(job.tasks), job.workers, job.folder, submitted, command)
        job.watch(Queue(submitted).advance)
    except subprocess.CalledProcessError as error:
        _cancel(submitted)
        raise CodemixError(
            f"Slurm refused the job: {(error.stderr or 'sbatch says why above').strip()}",
            hints=[
                "`sinfo` lists the partitions; CODEMIX_SLURM_PARTITION, _TIME, _MEM_GB and _QOS choose one "
                "and what is asked of it"
            ],
            rule="executor-refused",
        ) from error
    except BaseException:
        _cancel(submitted)
        raise


def _cancel(job_ids: Sequence[str]) -> None:
    if job_ids:
        subprocess.run(["scancel", *job_ids], check=False)


class Queue:
    """What Slurm still has of some jobs."""

    def __init__(self, job_ids: Sequence[str]):
        self._job_ids = job_ids
        self._answered_s = time.monotonic()

    def advance(self) -> bool:
        """Wait a little; whether a job is left. A controller that does not answer does not say that none is."""
        time.sleep(ASK_EVERY_S)
        command = ["squeue", "--noheader", "--format", "%T", "--jobs", ",".join(self._job_ids)]
        answer = subprocess.run(command, capture_output=True, text=True)
        forgotten = "Invalid job id" in answer.stderr  # some minutes after its end
        if answer.returncode == 0 or forgotten:
            self._answered_s = time.monotonic()
            return bool(answer.stdout.strip())
        if time.monotonic() - self._answered_s > PATIENCE_S:
            raise CodemixError(
                f"Slurm has not answered for {PATIENCE_S / 60:.0f} minutes: {answer.stderr.strip()}",
                hints=["run the same command again when `squeue` works: only what is missing is redone"],
                rule="executor-silent",
            )
        return True
