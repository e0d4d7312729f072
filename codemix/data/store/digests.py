"""SHA256SUMS: the digest of every file of a finished folder, written when it is finished. `sha256sum -c SHA256SUMS` reads it as well.

Standard library only. What was finished before codemix kept digests has no such file, and is said to have none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NAME = "SHA256SUMS"


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def files(folder: Path) -> list[str]:
    """Every file of a folder but its SHA256SUMS, by its path inside, sorted."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != NAME)


def measure(folder: Path, names: list[str], advance: Callable[[int], None] | None = None) -> dict[str, str]:
    """The digest of each file, several at a time. `advance` is told the bytes of each."""

    def one(name: str) -> tuple[str, str]:
        return name, file_digest(folder / name)

    measured = {}
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for name, found in pool.map(one, names):
            measured[name] = found
            if advance:
                advance((folder / name).stat().st_size)
    return measured


def listing(folder: Path, known: Mapping[str, str]) -> str:
    """The text of a folder's SHA256SUMS. `known` holds digests that were made while files were written."""
    names = files(folder)
    measured = measure(folder, [name for name in names if name not in known]) | known
    return "".join(f"{measured[name]}  {name}\n" for name in names)


def read(folder: Path) -> dict[str, str] | None:
    """Digest of each file as it was finished; None where nobody wrote them down. Raises ValueError when the list is damaged."""
    try:
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ValueError(f"{folder / NAME} is damaged: {error}") from None
    listed = {}
    for number, line in enumerate(lines, 1):
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64:
            raise ValueError(f"{folder / NAME} is damaged in line {number}")
        listed[name] = digest
    return listed


def lacking(folder: Path) -> list[str]:
    """What a finished folder has lost: files that its SHA256SUMS lists and that are not there."""
    try:
        listed = read(folder)
    except (OSError, ValueError):
        return []
    return [name for name in listed or () if not (folder / name).is_file()]
