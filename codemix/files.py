"""Files that are written whole or not at all, and digests. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """SHA-256 of a text as UTF-8; half of a surrogate pair counts as it is."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value: sorted keys, no spaces, text as UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text_digest(text)


def temporary_path(path: Path) -> Path:
    """Where a file is written before it is moved to `path`: hidden, in the same folder, of this process
    alone."""
    name = f".{path.name}.{os.getpid()}.tmp"
    return path.with_name(name)


def move_into_place(temporary: Path, path: Path) -> None:
    """Move a file that is written to the end to `path`, so that a reader sees all of it or nothing, also
    after a crash."""
    _sync(temporary)
    os.replace(temporary, path)


def move_folder_into_place(temporary: Path, path: Path) -> None:
    """The same for a folder of files that are written to the end; nothing is at `path`."""
    for file in temporary.iterdir():
        _sync(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary, path)


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to. On leaving without an error it is moved to `path`, else deleted. The
    folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        move_into_place(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def one_at_a_time(lock: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """In this block no other process is in a block of the same lock, a file whose folder is made. `on_wait` is
    called where there is one to wait for."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
