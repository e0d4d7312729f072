"""Running Python that nobody has read: a verdict on one program, from inside bubblewrap.

Isolation under bubblewrap: own user, process, network, IPC and host namespaces, a read-only system, no home, no host
files, an empty `/tmp` of 16 MiB in memory, limits on memory, time, processes, file size and output. A program passes when it ends by
itself after its last line: the driver then writes a secret to a private pipe. `exit(0)` before the tests does not pass.
A program that searches its own interpreter for the secret could still fake a pass; base models do not, adversaries might.

Without bubblewrap there is only a subprocess with limits, which is not a security boundary and needs `unsafe=True`.
"""

from __future__ import annotations

import contextlib
import functools
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

NOBODY = 65534
PROCESSES = 16  # memory is limited a process, so processes are limited too
OUTPUT_BYTES = 2**20  # more is taken for a flood and stops the program
KEPT_BYTES = 2**14
TMP_BYTES = 2**24

# Read by the interpreter inside. Limits are lowered here rather than between fork and exec, which would not be safe
# in a process that runs accelerator threads.
_DRIVER = """
import os, sys
def _run():
    import json, resource
    job = json.loads(sys.stdin.buffer.read())
    fd, secret = job["fd"], job["secret"].encode()
    os.set_inheritable(fd, False)
    for name, limit in job["limits"].items():
        kind = getattr(resource, name, None)
        if kind is not None:
            try:
                hard = resource.getrlimit(kind)[1]
                resource.setrlimit(kind, (limit, limit) if hard == resource.RLIM_INFINITY or limit <= hard else (hard, hard))
            except (ValueError, OSError):
                pass
    scope = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        exec(compile(job["program"], "program.py", "exec"), scope)
    except SystemExit:
        said, status = b"exited before the tests ended", 1
    except MemoryError:
        scope.clear()
        said, status = b"memory", 1
    except BaseException as error:
        said, status = (type(error).__name__ + ": " + str(error))[:300].encode(errors="replace"), 1
    else:
        said, status = secret, 0
    try:
        sys.stdout.flush()
    except Exception:
        pass
    os.write(fd, said)
    os._exit(status)
_run()
"""


@dataclass(frozen=True)
class Result:
    """What became of one program. `reason` is "passed", "timeout", "memory", "output", or what went wrong in words."""

    passed: bool
    reason: str
    isolation: str  # "bubblewrap" | "subprocess"
    stdout: str  # the first 16 KiB of standard output and error
    seconds: float = 0.0


ISOLATION = {
    "bubblewrap": "bubblewrap (no network, read-only system, no host files)",
    "subprocess": "subprocess with limits: not a security boundary",
}


def run_python(program: str, *, timeout_s: float = 10.0, memory_bytes: int = 2**29, unsafe: bool = False) -> Result:
    """The verdict on a program that carries its own tests, run by this Python's standard library alone.

    Raises CodemixError (`no-sandbox`) where bubblewrap does not work, unless `unsafe` consents to a plain subprocess.
    """
    isolation = isolation_available(unsafe=unsafe)
    with tempfile.TemporaryDirectory(prefix="codemix-run-") if isolation == "subprocess" else contextlib.nullcontext() as folder:
        return _run(program, isolation, folder, timeout_s, memory_bytes)


def run_many(
    programs: Iterable[str], *, timeout_s: float = 10.0, memory_bytes: int = 2**29, unsafe: bool = False, workers: int | None = None
) -> list[Result]:
    """Verdicts in the order of the programs, several at a time."""
    programs, results = list(programs), []
    isolation_available(unsafe=unsafe)
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        with progress("running programs", len(programs), "programs") as advance:
            for result in pool.map(lambda p: run_python(p, timeout_s=timeout_s, memory_bytes=memory_bytes, unsafe=unsafe), programs):
                results.append(result)
                advance()
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption waits for the programs that run, not for those that wait
    return results


def isolation_available(*, unsafe: bool = False) -> str:
    """ "bubblewrap" where it works, else "subprocess" with consent. Raises CodemixError (`no-sandbox`) otherwise."""
    reason = bubblewrap_problem()
    if reason is None:
        return "bubblewrap"
    if unsafe:
        return "subprocess"
    raise CodemixError(
        f"model-written code cannot be isolated here: {reason}",
        hints=["install bubblewrap (`apt-get install bubblewrap`), or leave the code tasks out",
               "`--unsafe-exec subprocess` runs the code with limits only: it can read your files and reach the network"],
        rule="no-sandbox",
    )  # fmt: skip


@functools.cache
def bubblewrap_problem() -> str | None:
    """Why bubblewrap cannot be used on this machine, or None when it works. Tried once a process."""
    if shutil.which("bwrap") is None:
        return "`bwrap` is not installed"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        result = _run("pass", "bubblewrap", None, 60.0, 2**29)
        return None if result.passed else f"bubblewrap does not work here ({result.stdout.strip() or result.reason})"
    return "bubblewrap could not be started"


@functools.cache
def _interpreter() -> str:
    """A Python that the sandboxed user may execute: this one, or the system's when this one lies in a closed home."""
    own = os.path.realpath(sys.executable)
    if os.geteuid() == 0 and not _open_to_all(own) and (system := shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        return os.path.realpath(system)
    return own


def _open_to_all(path: str) -> bool:
    return all(os.stat(p).st_mode & 0o001 for p in (path, *map(str, Path(path).parents)))


@functools.cache
def _bubblewrap(python: str) -> tuple[str, ...]:
    command = [shutil.which("bwrap"), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--clearenv",
               "--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"]  # fmt: skip
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        else:
            command += ["--ro-bind-try", name, name]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    prefix = str(Path(python).parent.parent)
    if not Path(prefix).is_relative_to("/usr") and prefix != "/":
        command += ["--ro-bind", prefix, prefix]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(TMP_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp",
                "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8", "--setenv", "HOME", "/tmp"]  # fmt: skip
    return tuple(command)


def _run(program: str, isolation: str, folder: str | None, timeout_s: float, memory_bytes: int) -> Result:
    secret, started = secrets.token_hex(32), time.monotonic()
    verdict_in, verdict_out = os.pipe()
    job = {
        "fd": verdict_out, "secret": secret, "program": program,
        "limits": {"RLIMIT_AS": memory_bytes, "RLIMIT_CPU": int(timeout_s) + 1, "RLIMIT_FSIZE": 2**23, "RLIMIT_NOFILE": 64,
                   "RLIMIT_NPROC": PROCESSES, "RLIMIT_CORE": 0},
    }  # fmt: skip
    python = _interpreter()
    command = (*(_bubblewrap(python) if isolation == "bubblewrap" else ()), python, "-I", "-S", "-c", _DRIVER)
    # Root is exempt from the limit on processes, so root becomes nobody first.
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 and _open_to_all(python) else {}
    if other and folder:
        os.chown(folder, NOBODY, NOBODY)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(verdict_out,),
            cwd=folder or "/", env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder or "/"}, start_new_session=True, **other,
        )  # fmt: skip
    except BaseException:
        os.close(verdict_in)
        raise
    finally:
        os.close(verdict_out)
    try:
        stopped, said, output = _exchange(process, verdict_in, json.dumps(job).encode(), started + timeout_s)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        status = process.wait()
        os.close(verdict_in)
        process.stdout.close()
        with contextlib.suppress(OSError):
            process.stdin.close()
    passed = not stopped and said == secret.encode()
    reason = "passed" if passed else stopped or _words(said, secret, status)
    return Result(passed, reason, isolation, output[:KEPT_BYTES].decode(errors="replace"), time.monotonic() - started)


def _words(said: bytes, secret: str, status: int) -> str:
    if said and secret.encode() not in said:
        return said.decode(errors="replace")
    number = status - 128 if status > 128 else -status
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout"
    return f"crashed ({signal.Signals(number).name})" if number in set(signal.Signals) else f"exited with status {status} before the tests ended"


def _exchange(process: subprocess.Popen, verdict: int, job: bytes, deadline: float) -> tuple[str, bytes, bytes]:
    """Hands the job over and gathers verdict and output, bounded. First of the three: why it was stopped, or ""."""
    said, output, size = b"", b"", 0
    stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
    for fd in (stdin, stdout, verdict):
        os.set_blocking(fd, False)
    with selectors.DefaultSelector() as waiting:
        waiting.register(stdin, selectors.EVENT_WRITE)
        waiting.register(stdout, selectors.EVENT_READ)
        waiting.register(verdict, selectors.EVENT_READ)
        ended = False
        while {stdout, verdict} & set(waiting.get_map()):
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout", said, output
            ready = waiting.select(0 if ended else min(left, 0.25))
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
    # Pipes may close a moment before the process does: wait, within the deadline.
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "timeout", said, output
    return "", said, output
