"""Copying a finished folder from one store to another: whole or not at all, each file checked by its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from codemix.data.store import digests
from codemix.data.store.store import Store, disk_problem, in_the_way
from codemix.errors import CodemixError
from codemix.files import file_digest

CHUNK = 2**20  # bytes
_THREADS = 4


def finished_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a finished folder, by its path inside: as listed when it was finished, else
    as it is. Raises CodemixError where files are gone or the list is damaged."""
    try:
        listed = digests.read(folder)
    except ValueError as error:
        raise CodemixError(
            str(error), hints=["`codemix verify` finds what else is damaged"], rule="store-damaged"
        ) from None
    if listed is None:
        return digests.measure(folder, digests.files(folder))
    if missing := digests.lacking(folder):
        raise in_the_way(folder, missing)
    return listed


def copy(source: Path, store: Store, final: Path, advance: Callable[[int], None]) -> None:
    """Copy the finished folder `source` into a store, as its folder `final`.

    What an interrupted copy left is used where its digest is right. Raises CodemixError where a file of
    `source` is not what it was finished as, and where the disk is full.
    """
    known = finished_digests(source)
    with store.begin_here(final) as work:
        if work is not None:
            _copy_files(source, work, known, advance)
            _remove_others(work, known)
            store.publish_here(final, known)


def _copy_files(source: Path, work: Path, known: Mapping[str, str], advance: Callable[[int], None]) -> None:
    def copy_file(name: str) -> None:
        given = source / name
        target = work / name
        _copy_file(given, target, known[name], advance)

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(copy_file, known):
                pass
    except OSError as error:
        raise disk_problem(error, work) from error


def _copy_file(source: Path, target: Path, sha256: str, advance: Callable[[int], None]) -> None:
    size = source.stat().st_size
    if target.is_file() and target.stat().st_size == size and file_digest(target) == sha256:
        advance(size)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(source, "rb") as read, open(target, "wb") as written:
        while chunk := read.read(CHUNK):
            digest.update(chunk)
            written.write(chunk)
            advance(len(chunk))
    if digest.hexdigest() != sha256:
        raise changed(source)


def changed(path: Path) -> CodemixError:
    """The problem of a finished file that is not what it was."""
    return CodemixError(
        f"{path} has changed since it was finished: its SHA-256 is another",
        hints=["nothing of its folder was copied; `codemix verify` finds what else is damaged"],
        rule="store-damaged",
    )


def _remove_others(work: Path, known: Mapping[str, str]) -> None:
    """Remove what an earlier copy of other content left."""
    for name in digests.files(work):
        if name not in known:
            (work / name).unlink()
