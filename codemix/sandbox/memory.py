"""Memory of a sandboxed program that no rlimit bounds:
what its processes hold together, and what the kernel keeps for it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import struct
from collections.abc import Iterator
from pathlib import Path

TMP_BYTES = 2**24
WRITABLE = (
    "/tmp",
    "/dev/shm",
)  # folders in memory of that size; the latter for the semaphores of multiprocessing
MAX_FILES = 2**15  # an empty file takes no block of its file system, and a kilobyte of the kernel
ENOSYS = 38

# System calls whose memory belongs to no process and no mount: nobody would count it. In the order of
# `_KEEPS_MEMORY`.
_KEEPS_MEMORY = (
    "memfd_create",
    "memfd_secret",
    "shmget",
    "semget",
    "msgget",
    "io_setup",
    "io_uring_setup",
)
_NUMBERS = {"x86_64": (319, 447, 29, 64, 68, 206, 425), "aarch64": (279, 447, 194, 190, 186, 0, 425)}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000  # the other numbering that x86_64 offers to 64-bit programs

_LOAD_WORD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT = 0, 4  # in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | ENOSYS


def seccomp_filter() -> bytes | None:
    """A program for `bwrap --seccomp` under which those calls do not exist;
    None on a machine whose numbers are not listed.
    """
    machine = platform.machine()
    if machine not in _NUMBERS:
        return None
    refused = [(_JUMP_EQUAL, n) for n in _NUMBERS[machine]] + [(_JUMP_AT_LEAST, _X32)]
    lines = [
        (_LOAD_WORD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 0, len(refused) + 2, _AUDIT_ARCH[machine]),
        (_LOAD_WORD, 0, 0, _NUMBER_AT),
    ]
    lines += [
        (code, len(refused) - i, 0, number) for i, (code, number) in enumerate(refused)
    ]  # jumps to the last line
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def too_much(pid: int, memory_bytes: int) -> bool:
    """Whether a process and its descendants now hold more than `memory_bytes`, or too many files."""
    held = 0
    for process in _descendants(pid):
        held += _share(process)
        if any(_files(f"/proc/{process}/root{folder}") > MAX_FILES for folder in WRITABLE):
            return True
    return held > memory_bytes


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from _descendants(int(child))


def _share(pid: int) -> int:
    """Bytes of a process, pages that it shares counted in parts; 0 where that cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().split("\n"):
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _files(folder: str) -> int:
    """Files in a folder of the sandbox; 0 in the host's, which a process sees until it is inside."""
    with contextlib.suppress(OSError):
        space = os.statvfs(folder)
        if space.f_blocks * space.f_frsize == TMP_BYTES:
            return space.f_files - space.f_ffree
    return 0
