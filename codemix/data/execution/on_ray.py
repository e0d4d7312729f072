"""Tasks on Ray, one Ray task each.

Not through datatrove's executor: it runs a rank in a pool of processes, which waits for ever for one that was
killed.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import Any

from codemix import environment
from codemix.data.execution.cluster_job import ClusterJob, RunTask
from codemix.errors import CodemixError, Problem
from codemix.recipe.language.requirements import package

REACH_S = 10.0  # for the host that `RAY_ADDRESS` names
_PACKAGE = package("`--executor ray`", "ray", '"codemix[ray]"')
TRIES = 3  # of a task whose process or node died


def run_on_ray(job: ClusterJob) -> None:
    """Run every rank on the Ray that `RAY_ADDRESS` names, or on one that is started on this machine."""
    _connect()
    ranks = _Ranks(job)
    job.watch(ranks.advance)


def problems() -> list[Problem]:
    """What can be known to be wrong before anything is handed to Ray."""
    found: list[Problem] = []
    if _PACKAGE.absent:
        found.append(_PACKAGE.problem())
    try:
        memory_per_task()
        _reach(os.environ.get("RAY_ADDRESS", ""))
    except CodemixError as error:
        found += error.problems
    return found


def _reach(address: str) -> None:
    """Raises CodemixError where a host and port do not answer: Ray itself asks for half a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return  # none, or `auto`: one of this machine
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except OSError as error:
        raise _no_ray(address, error) from error


def _no_ray(address: str, error: Exception) -> CodemixError:
    return CodemixError(
        f"no Ray answers at {address or 'this machine'}: {str(error).splitlines()[0]}",
        hints=[
            "`ray status` says whether it runs; `RAY_ADDRESS` names it",
            "its nodes need the same versions of Python and Ray as this one",
        ],
        rule="executor-missing",
    )


def memory_per_task() -> int:
    """What a task reserves of its node's memory [bytes]. Raises CodemixError where the variable is no number."""
    return environment.whole_number(environment.RAY_MEM_GB, 1) * 2**30


def _connect() -> None:
    if found := problems():
        raise CodemixError(*found)
    import ray

    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "")
    try:
        ray.init(address=address or None, log_to_driver=False, include_dashboard=False)
    except (ConnectionError, RuntimeError) as error:
        raise _no_ray(address, error) from error


class _Ranks:
    """The ranks of a job: those that wait, and those that Ray has."""

    def __init__(self, job: ClusterJob):
        import ray

        # its own retries do not end for a task that needs more memory than there is
        self._remote = ray.remote(num_cpus=1, memory=memory_per_task(), max_retries=0)(_run)
        self._job = job
        self._waiting = deque(range(len(job.tasks)))
        self._running: dict[Any, int] = {}  # Ray's reference -> rank
        self._tries = [0] * len(job.tasks)

    def advance(self) -> bool:
        """Hand Ray what it has room for, and wait half a second for something to end. Whether any is left."""
        import ray

        while self._waiting and len(self._running) < self._job.workers:
            rank = self._waiting.popleft()
            self._tries[rank] += 1
            reference = self._remote.remote(self._job.step, rank)
            self._running[reference] = rank
        ended, _ = ray.wait(list(self._running), num_returns=1, timeout=0.5)
        for reference in ended:
            rank = self._running.pop(reference)
            try:
                ray.get(reference)
            except ray.exceptions.RayError as error:  # its process or node was killed
                self._try_again(rank, error)
        return bool(self._waiting or self._running)

    def _try_again(self, rank: int, error: Exception) -> None:
        if self._tries[rank] < TRIES:
            self._waiting.append(rank)
            return
        cause = getattr(error, "cause", None) or error  # what the task raised, if that is what happened
        what = f"did not finish in {TRIES} tries: {str(cause).splitlines()[0]}"
        hints = (
            f"often a node ran out of memory: `export {environment.RAY_MEM_GB}=4` runs fewer tasks on each",
            "run the same command again: only what is missing is redone",
        )
        problem = Problem(what, hints=hints, rule="task-failed")
        self._job.fail(rank, problem)


def _run(step: RunTask, rank: int) -> None:
    step(None, rank, 0)
