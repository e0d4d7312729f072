"""Several processes as one run: how they find each other, agree, and wait.
With one process each of these is free.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from codemix.errors import EXIT_PROBLEM, CodemixError, Problem
from codemix.train.run import memory
from codemix.train.run.lost_host import RuntimeWords
from codemix.train.run.options import Hosts


def prepare(hosts: Hosts | None) -> None:
    """Meet the other processes, and set what must be set before JAX looks at its devices and starts its threads.

    Where there are others, they connect now, in which JAX waits for each other half a minute only: what comes next
    may take longer on one of them.
    """
    enough_threads()
    memory.keep_freed_pages()
    join(hosts)
    if hosts is not None:
        barrier("met")


def join(hosts: Hosts | None) -> None:
    """Connect this process to the others; once a process, before jax looks at its devices.
    None: a run of one process.
    """
    if hosts is None or jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # read only where the devices are CPUs
    try:
        jax.distributed.initialize(
            coordinator_address=hosts.coordinator, num_processes=hosts.count, process_id=hosts.index
        )
    except (ValueError, RuntimeError) as error:
        raise CodemixError(
            f"the processes of this run did not find each other: {str(error).splitlines()[0]}",
            hints=[
                "give every process the same coordinator address and count, and its own index from 0",
                "on a TPU slice or under Slurm give none of them",
            ],
            rule="hosts",
        ) from error
    if jax.process_count() > 1:
        _joined.append(RuntimeWords(Problem(_ENDED, hints=_HINTS).render() + "\n"))


# Words in the text of an error: by backend, and by what was waited for.
_LOST_SIGNS = ("gloo", "unavailable", "heartbeat", "connection", "barrier")
# Without one that says why, nobody knows that a host has ended.
_SLOW_SIGNS = ("deadline", "timed out", "timeout")
_ENDED_SIGNS = ("closed", "reset", "refused", "broken pipe", "heartbeat", "unavailable", "crashed")
_HINTS = (
    "its own output says why, unless it was killed",
    "the same command on every host resumes from the newest checkpoint",
)
_ENDED = "another process of this run has ended"
_SLOW = "another process of this run has not answered in time; it may be slow or stopped"
_joined: list[RuntimeWords] = []  # of this process, once it is one of several


@contextlib.contextmanager
def explain_lost_host() -> Iterator[None]:
    """The user's words for the end of another process of the run, which here is an error of whatever was
    waiting for it.
    """
    try:
        yield
    except CodemixError:
        _leave_at_once()
        raise
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        message = str(error).lower()
        is_lost = _mentions(message, _LOST_SIGNS) and _of_the_runtime(error)
        if jax.process_count() == 1 or not is_lost:
            raise
        is_slow = _mentions(message, _SLOW_SIGNS) and not _mentions(message, _ENDED_SIGNS)
        what = _SLOW if is_slow else _ENDED
        _leave_at_once()
        raise CodemixError(f"{what}: {str(error).splitlines()[0]}", hints=_HINTS, rule="hosts") from error


def _mentions(message: str, signs: Sequence[str]) -> bool:
    mentioned = [sign for sign in signs if sign in message]
    return bool(mentioned)


def _of_the_runtime(error: Exception) -> bool:
    """Whether JAX's runtime raised it: a ValueError with a status code in front is its error too."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        return True
    return re.match(r"[A-Z_]{5,}: ", str(error)) is not None


def _leave_at_once() -> None:
    """Let the coming end of this process be quick: JAX's own would wait for the others, which wait for this one, and
    abort."""
    if _joined:
        atexit.register(_leave)


def _leave() -> None:
    """End this process now, with what it has printed:
    the runtime's own way out waits for a host that is gone.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    for words in _joined:
        words.restore()
    os._exit(EXIT_PROBLEM)


def enough_threads() -> None:
    """Give CPU devices that are made up (for tests of a mesh) threads enough to meet each other; before jax
    looks at its devices.

    XLA runs several collectives of a step at once, each holding a thread per device; with one thread per core
    they wait for each other until a time-out ends the process.
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


def any_of(flag: bool) -> bool:
    """Whether any process raised its flag; all processes get the same answer."""
    if jax.process_count() == 1:
        return flag
    import numpy as np
    from jax.experimental import multihost_utils

    flags = multihost_utils.process_allgather(np.array(flag, np.int32))
    return bool(np.any(flags))


def of_first(text: str) -> str:
    """What the first process says; the others may say anything."""
    if jax.process_count() == 1:
        return text
    import numpy as np
    from jax.experimental import multihost_utils

    said = np.frombuffer(text.encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(said))))
    of_that_length = np.resize(said, length)
    heard = multihost_utils.broadcast_one_to_all(of_that_length).astype(np.uint8)
    return heard.tobytes().decode()


def use_compile_cache(folder: Path | None, default: Path) -> None:
    """Keep compiled programs on disk: in `folder`, where the environment says, or in `default`."""
    of_environment = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    of_jax = getattr(jax.config, "jax_compilation_cache_dir")  # noqa: B009 (made at run time)
    if folder is None and (of_environment or of_jax):
        return
    place = Path(folder or default)
    place.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(place.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
