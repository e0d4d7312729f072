"""SHA256SUMS: the digest of every file of a finished folder, written when it is finished. `sha256sum -c`
reads it too.

Standard library only. What was finished before codemix kept digests has no such file, and is reported as
unlisted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from codemix.data.store.used_files import used_files
from codemix.files import file_digest

NAME = "SHA256SUMS"
DIFFERS = "its digest is not that of when it was finished"
_ABOVE = 3  # folders above a file in which its digest may be listed


def files(folder: Path) -> list[str]:
    """Every file of a folder but its SHA256SUMS, by its path inside, sorted."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix() for path in paths}
    names.discard(NAME)
    return sorted(names)


def measure(folder: Path, names: list[str], advance: Callable[[int], None] | None = None) -> dict[str, str]:
    """The digest of each file, several at a time. `advance` is called with the bytes of each."""
    paths = [folder / name for name in names]
    measured = {}
    threads = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        digests = pool.map(file_digest, paths)
        for path, name, digest in zip(paths, names, digests, strict=True):
            measured[name] = digest
            if advance:
                advance(path.stat().st_size)
    return measured


def listing(folder: Path, known: Mapping[str, str]) -> str:
    """The text of a folder's SHA256SUMS. `known` holds digests that were made while files were written."""
    names = files(folder)
    unknown = [name for name in names if name not in known]
    measured = measure(folder, unknown)
    digests = {**known, **measured}
    lines = [f"{digests[name]}  {name}\n" for name in names]
    return "".join(lines)


def read(folder: Path) -> dict[str, str] | None:
    """Digest of each file as it was finished; None where nobody wrote them down.

    Raises ValueError when the list is damaged.
    """
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


def listed(path: Path) -> str | None:
    """The digest of a file of a finished folder as it was finished; None where nobody wrote it down.

    Looked up by name: the list of a large folder is not taken apart for each of its files.
    """
    for folder in path.parents[:_ABOVE]:
        try:
            lines = "\n" + (folder / NAME).read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            continue
        name = path.relative_to(folder).as_posix()
        before, found, _ = lines.partition(f"  {name}\n")
        if found:
            return before.rpartition("\n")[2]
    return None


def check(path: Path, content: bytes) -> None:
    """Raises ValueError where a file of a finished folder is not what it was when finished."""
    digest = listed(path)
    if digest is not None and digest != hashlib.sha256(content).hexdigest():
        raise ValueError(DIFFERS)


def is_as_finished(path: Path) -> bool:
    """Whether a file is listed, and is what it was when its folder was finished."""
    digest = listed(path)
    return digest is not None and digest == file_digest(path)


def damaged_in_use() -> list[Path]:
    """The files of finished folders that were read and are not what they were when finished."""
    return list(filter(_is_damaged, used_files()))


def _is_damaged(path: Path) -> bool:
    try:
        digest = listed(path)
        return digest is not None and file_digest(path) != digest
    except OSError:
        return True


def lacking(folder: Path) -> list[str]:
    """What a finished folder has lost: files that its SHA256SUMS lists and that are not there."""
    try:
        listed = read(folder)
    except (OSError, ValueError):
        return []
    return [name for name in listed or () if not (folder / name).is_file()]
