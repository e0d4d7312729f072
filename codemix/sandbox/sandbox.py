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
import itertools
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError
from codemix.progress import progress
from codemix.sandbox.memory import TMP_BYTES, WRITABLE, seccomp_filter, too_much

NOBODY = 65534
# Users that systemd keeps for services and gives to no person: root runs each program as one of its own, since the
# limit on processes counts all that a user has, finished ones included that nobody has waited for yet.
FIRST_USER = 61_184
USERS = 4_336
_programs = itertools.count()
PROCESSES = 16  # memory is limited per process, so processes are limited too
OUTPUT_BYTES = 2**20  # more is taken for a flood and stops the program
KEPT_BYTES = 2**14
LOOK_S = 0.1  # between two looks at the memory of a program

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


@functools.cache
def _interpreter() -> str:
    """A Python that the sandboxed user may execute:
    this one, or the system's when this one lies in a closed home.
    """
    own = os.path.realpath(sys.executable)
    if (
        os.geteuid() == 0
        and not _open_to_all(own)
        and (system := shutil.which("python3", path="/usr/bin:/usr/local/bin"))
    ):
        return os.path.realpath(system)
    return own


def _a_user() -> int:
    """A user that no other program of this process has, and likely none of another process."""
    process = os.getpid() * 64
    program = process + next(_programs)
    return FIRST_USER + program % USERS


def _open_to_all(path: str) -> bool:
    file = Path(path)
    places = [file, *file.parents]
    modes = [place.stat().st_mode for place in places]
    return all(mode & 0o001 for mode in modes)


@functools.cache
def _bubblewrap(python: str) -> tuple[str, ...]:
    command: list[str] = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--uid",
        str(NOBODY),
        "--gid",
        str(NOBODY),
        "--hostname",
        "sandbox",
        "--cap-drop",
        "ALL",
        "--ro-bind",
        "/usr",
        "/usr",
    ]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        else:
            command += ["--ro-bind-try", name, name]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    prefix = str(Path(python).parent.parent)
    if not Path(prefix).is_relative_to("/usr") and prefix != "/":
        command += ["--ro-bind", prefix, prefix]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for folder in WRITABLE:
        command += ["--size", str(TMP_BYTES), "--tmpfs", folder]
    for folder in ("/dev", "/"):  # both live in memory, as large as one likes
        command += ["--remount-ro", folder]
    command += [
        "--chdir",
        "/tmp",
        "--setenv",
        "PATH",
        "/usr/bin:/bin",
        "--setenv",
        "LANG",
        "C.UTF-8",
        "--setenv",
        "HOME",
        "/tmp",
    ]
    return tuple(command)


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
        },
    }
    python = _interpreter()
    filter_in = _seccomp() if isolation == "bubblewrap" else None
    around = _bubblewrap(python) if isolation == "bubblewrap" else ()
    if filter_in is not None:
        around += ("--seccomp", str(filter_in))
    command = (*around, python, "-I", "-S", "-c", _START)
    handed = [fd for fd in (verdict_out, filter_in) if fd is not None]
    # Root is exempt from the limit on processes, so root becomes another user first.
    user = _a_user() if os.geteuid() == 0 and _open_to_all(python) else None
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
    watch = _Watch(process, started + timeout_s, memory_bytes)
    try:
        stopped, said, output = _exchange(process, verdict_in, json.dumps(job).encode(), watch)
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


def _seccomp() -> int | None:
    """A pipe that holds the filter of system calls, for bubblewrap to read; None where there is no filter."""
    program = seccomp_filter()
    if program is None:
        return None
    out, into = os.pipe()
    os.write(into, program)
    os.close(into)
    return out


class _Watch:
    """Stops a program at its deadline, and when its processes together hold more memory than it may."""

    def __init__(self, process: subprocess.Popen, deadline: float, memory_bytes: int):
        self._process, self._memory_bytes = process, memory_bytes
        self._deadline = deadline
        self._next_look = time.monotonic() + LOOK_S

    def reason(self) -> str:
        """Why it must be stopped now, or ""."""
        now = time.monotonic()
        if now >= self._deadline:
            return "timeout"
        if now < self._next_look:
            return ""
        exceeded = too_much(self._process.pid, self._memory_bytes)
        self._next_look = time.monotonic() + LOOK_S
        return "memory" if exceeded else ""

    def patience(self) -> float:
        """How long one may wait for something else before asking again [seconds]."""
        remaining = self._deadline - time.monotonic()
        return max(0.0, min(LOOK_S, remaining))


def _exchange(process: subprocess.Popen, verdict: int, job: bytes, watch: _Watch) -> tuple[str, bytes, bytes]:
    """Hands the job over and gathers verdict and output, bounded.
    First of the three: why it was stopped, or "".
    """
    assert process.stdin is not None and process.stdout is not None  # both are pipes
    said = b""
    output = b""
    size = 0
    stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
    for fd in (stdin, stdout, verdict):
        os.set_blocking(fd, False)
    with selectors.DefaultSelector() as waiting:
        waiting.register(stdin, selectors.EVENT_WRITE)
        waiting.register(stdout, selectors.EVENT_READ)
        waiting.register(verdict, selectors.EVENT_READ)
        ended = False
        while {stdout, verdict} & set(waiting.get_map()):
            if stopped := watch.reason():
                return stopped, said, output
            ready = waiting.select(0 if ended else watch.patience())
            if not ready and ended:
                break  # a child left behind holds the pipes open
            ended = process.poll() is not None
            for key, _ in ready:
                if key.fd == stdin:
                    try:
                        job = job[os.write(stdin, job[: 2**16]) :]
                    except BrokenPipeError:
                        job = b""
                    if not job:
                        waiting.unregister(stdin)
                        process.stdin.close()
                    continue
                chunk = os.read(key.fd, 2**16)
                if not chunk:
                    waiting.unregister(key.fd)
                elif key.fd == verdict:
                    said = (said + chunk)[:1024]
                else:
                    size += len(chunk)
                    output = (output + chunk)[:KEPT_BYTES]
                    if size > OUTPUT_BYTES:
                        return "output", said, output
    # Pipes may close a moment before the process does, or long before.
    while process.poll() is None:
        if stopped := watch.reason():
            return stopped, said, output
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(watch.patience())
    return "", said, output
