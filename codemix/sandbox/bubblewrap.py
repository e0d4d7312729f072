"""How a program is shut in: the bubblewrap command around its interpreter, its filter of system calls, and the
user that it runs as.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import sys
from pathlib import Path

from codemix.sandbox.memory import TMP_BYTES, WRITABLE, seccomp_filter

NOBODY = 65534
# Users that systemd keeps for services and gives to no person: root runs each program as one of its own, since the
# limit on processes counts all that a user has, finished ones included that nobody has waited for yet.
FIRST_USER = 61_184
USERS = 4_336
_programs = itertools.count()


@functools.cache
def interpreter() -> str:
    """A Python that the sandboxed user may execute:
    this one, or the system's when this one lies in a closed home.
    """
    own = os.path.realpath(sys.executable)
    if (
        os.geteuid() == 0
        and not open_to_all(own)
        and (system := shutil.which("python3", path="/usr/bin:/usr/local/bin"))
    ):
        return os.path.realpath(system)
    return own


def a_user() -> int:
    """A user that no other program of this process has, and likely none of another process."""
    process = os.getpid() * 64
    program = process + next(_programs)
    return FIRST_USER + program % USERS


def open_to_all(path: str) -> bool:
    file = Path(path)
    places = [file, *file.parents]
    modes = [place.stat().st_mode for place in places]
    return all(mode & 0o001 for mode in modes)


@functools.cache
def isolating_command(python: str) -> tuple[str, ...]:
    """The words that come before an interpreter to shut it in: no network, a read-only system, no host files."""
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


def filter_pipe() -> int | None:
    """A pipe that holds the filter of system calls, for bubblewrap to read; None where there is no filter."""
    program = seccomp_filter()
    if program is None:
        return None
    out, into = os.pipe()
    os.write(into, program)
    os.close(into)
    return out
