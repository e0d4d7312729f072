"""Running Python that nobody has read: a verdict on one program, from inside bubblewrap.

Isolation under bubblewrap: own user, process, network, IPC and host namespaces, a read-only system, no home,
no host files, an empty `/tmp` and `/dev/shm` of 16 MiB each in memory and nothing else to write to, limits on
time, processes, file size and output, and on the memory of each process and of all together.

A program runs as a script does. It passes when it comes to its end by itself and no `unittest` or `doctest`
that it ran failed or had nothing to test: the driver then writes a secret to a private pipe. `exit(0)` before
the tests does not pass. Solution and tests share one interpreter, so a program that means to cheat can
(docs/footguns.md); base models do not.

Without bubblewrap there is only a subprocess with limits, which is not a security boundary and needs
`unsafe=True`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError
from codemix.progress import progress
from codemix.sandbox.bubblewrap import a_user, filter_pipe, interpreter, isolating_command, open_to_all
from codemix.sandbox.supervision import KEPT_BYTES, Watch, exchange

PROCESSES = 16  # memory is limited per process, so processes are limited too

# The driver keeps out of the module `__main__`, which is the program's.
_DRIVER = Path(__file__).with_name("driver.py").read_text(encoding="utf-8")
_START = f"exec(compile({_DRIVER!r}, '<sandbox>', 'exec'), {{'__name__': 'sandbox'}})"


@dataclass(frozen=True)
class Result:
    """What became of one program. `reason` is "passed", "timeout", "memory", "output",
    or what went wrong in words.
    """

    passed: bool
    reason: str
    isolation: str  # "bubblewrap" | "subprocess"
    stdout: str  # the first 16 KiB of standard output and error
    seconds: float = 0.0


ISOLATION = {
    "bubblewrap": "bubblewrap (no network, read-only system, no host files)",
    "subprocess": "subprocess with limits: not a security boundary",
}


def run_python(
    program: str, *, timeout_s: float = 10.0, memory_bytes: int = 2**29, unsafe: bool = False
) -> Result:
    """The verdict on a program that carries its own tests, run by this Python's standard library alone.

    Raises CodemixError (`no-sandbox`) where bubblewrap does not work, unless `unsafe` consents to a plain
    subprocess.
    """
    isolation = isolation_available(unsafe=unsafe)
    with (
        tempfile.TemporaryDirectory(prefix="codemix-run-")
        if isolation == "subprocess"
        else contextlib.nullcontext() as folder
    ):
        return _run(program, isolation, folder, timeout_s, memory_bytes)


def run_many(
    programs: Iterable[str],
    *,
    timeout_s: float = 10.0,
    memory_bytes: int = 2**29,
    unsafe: bool = False,
    workers: int | None = None,
) -> list[Result]:
    """Verdicts in the order of the programs, several at a time."""
    programs, results = list(programs), []
    isolation_available(unsafe=unsafe)
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        with progress("running programs", len(programs), "programs") as advance:
            for result in pool.map(
                lambda p: run_python(p, timeout_s=timeout_s, memory_bytes=memory_bytes, unsafe=unsafe),
                programs,
            ):
                results.append(result)
                advance()
    finally:
        # An interruption waits for the programs that run, not for those that wait.
        pool.shutdown(cancel_futures=True)
    return results


def isolation_available(*, unsafe: bool = False) -> str:
    """ "bubblewrap" where it works, else "subprocess" with consent.
    Raises CodemixError (`no-sandbox`) otherwise.
    """
    reason = bubblewrap_problem()
    if reason is None:
        return "bubblewrap"
    if unsafe:
        return "subprocess"
    raise CodemixError(
        f"model-written code cannot be isolated here: {reason}",
        hints=[
            "install bubblewrap (`apt-get install bubblewrap`), or leave the code tasks out",
            "`--unsafe-exec subprocess` runs the code with limits only: it can read your files and reach the network",
        ],
        rule="no-sandbox",
    )


@functools.cache
def bubblewrap_problem() -> str | None:
    """Why bubblewrap cannot be used on this machine, or None when it works. Tried once per process."""
    if shutil.which("bwrap") is None:
        return "`bwrap` is not installed"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        result = _run("pass", "bubblewrap", None, 60.0, 2**29)
        if result.passed:
            return None
        return f"bubblewrap does not work here ({result.stdout.strip() or result.reason})"
    return "bubblewrap could not be started"


def _run(program: str, isolation: str, folder: str | None, timeout_s: float, memory_bytes: int) -> Result:
    secret, started = secrets.token_hex(32), time.monotonic()
    verdict_in, verdict_out = os.pipe()
    job = {
        "fd": verdict_out,
        "secret": secret,
        "program": program,
        "limits": {
            "RLIMIT_AS": memory_bytes,
            "RLIMIT_CPU": int(timeout_s) + 1,
            "RLIMIT_FSIZE": 2**23,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_NPROC": PROCESSES,
            "RLIMIT_CORE": 0,
            "RLIMIT_SIGPENDING": 2**10,  # timers too: each takes a kilobyte of the kernel
        },
    }
    python = interpreter()
    filter_in = filter_pipe() if isolation == "bubblewrap" else None
    around = isolating_command(python) if isolation == "bubblewrap" else ()
    if filter_in is not None:
        around += ("--seccomp", str(filter_in))
    command = (*around, python, "-I", "-S", "-c", _START)
    handed = [fd for fd in (verdict_out, filter_in) if fd is not None]
    # Root is exempt from the limit on processes, so root becomes another user first.
    user = a_user() if os.geteuid() == 0 and open_to_all(python) else None
    if user is not None and folder:
        os.chown(folder, user, user)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=handed,
            cwd=folder or "/",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder or "/"},
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except BaseException:
        os.close(verdict_in)
        raise
    finally:
        for fd in handed:
            os.close(fd)
    watch = Watch(process, started + timeout_s, memory_bytes)
    try:
        stopped, said, output = exchange(process, verdict_in, json.dumps(job).encode(), watch)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        status = process.wait()
        os.close(verdict_in)
        for stream in (process.stdout, process.stdin):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
    passed = not stopped and said == secret.encode()
    reason = "passed" if passed else stopped or _words(said, secret, status)
    return Result(
        passed, reason, isolation, output[:KEPT_BYTES].decode(errors="replace"), time.monotonic() - started
    )


def _words(said: bytes, secret: str, status: int) -> str:
    if said and secret.encode() not in said:
        return said.decode(errors="replace")
    number = status - 128 if status > 128 else -status
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout"
    if number in set(signal.Signals):
        return f"crashed ({signal.Signals(number).name})"
    return f"exited with status {status} before the tests ended"
