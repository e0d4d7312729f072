"""Several processes as one run: how they find each other, agree, and wait. With one process each of these is free."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from codemix.errors import CodemixError
from codemix.train.run.options import Hosts


def join(hosts: Hosts | None) -> None:
    """Connect this process to the others; once a process, before jax looks at its devices. None: a run of one process."""
    if hosts is None or jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # read only where the devices are CPUs
    given = {
        "coordinator_address": hosts.coordinator,
        "num_processes": hosts.count,
        "process_id": hosts.index,
    }
    try:
        jax.distributed.initialize(**{name: value for name, value in given.items() if value is not None})
    except (ValueError, RuntimeError) as error:
        raise CodemixError(
            f"the processes of this run did not find each other: {str(error).splitlines()[0]}",
            hints=[
                "give every process the same coordinator address and count, and its own index from 0",
                "on a TPU slice or under Slurm give none of them",
            ],
            rule="hosts",
        ) from error


_LOST_SIGNS = (
    "gloo",
    "unavailable",
    "heartbeat",
    "connection",
    "barrier",
)  # in the text of an error, by backend and by what was waited for


@contextlib.contextmanager
def explain_lost_host() -> Iterator[None]:
    """The user's words for the end of another process of the run, which here is an error of whatever was waiting for it."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or not any(sign in str(error).lower() for sign in _LOST_SIGNS):
            raise
        hints = [
            "its own output says why, unless it was killed",
            "the same command on every host goes on from the newest checkpoint",
        ]
        raise CodemixError(
            f"another process of this run has ended: {str(error).splitlines()[0]}", hints=hints, rule="hosts"
        ) from error


def enough_threads() -> None:
    """Give CPU devices that are made up (for tests of a mesh) threads enough to meet each other; before jax looks at its devices.

    XLA runs several collectives of a step at once, each holding a thread a device; with one thread a core they wait for
    each other until a time-out ends the process.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("NPROC", "32")


def is_first() -> bool:
    """Whether this process writes what only one may write."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Return when every process is here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def any_of(flags: Sequence[bool]) -> list[bool]:
    """For each flag whether any process raised it; all processes get the same answer."""
    if jax.process_count() == 1:
        return list(flags)
    import numpy as np
    from jax.experimental import multihost_utils

    return (
        multihost_utils.process_allgather(np.array(flags, np.int32)).reshape(-1, len(flags)).any(0).tolist()
    )


def use_compile_cache(folder: Path | None, default: Path) -> None:
    """Keep compiled programs on disk: in `folder`, where the environment says, or in `default`."""
    if folder is None and (
        os.environ.get("JAX_COMPILATION_CACHE_DIR") or jax.config.jax_compilation_cache_dir
    ):
        return
    place = Path(folder or default)
    place.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(place.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
