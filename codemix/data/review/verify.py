"""Checks what is finished in a store: every file's digest; of shards every document's end, every id, every
count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from codemix.data.review.verify_source import check_source, damaged
from codemix.data.store import digests
from codemix.data.store.manifest import SPLITS, Manifest, ids_file
from codemix.errors import CodemixError, Problem
from codemix.progress import progress


@dataclass(frozen=True)
class Verified:
    """What was checked of a store, and what is wrong with it."""

    problems: tuple[Problem, ...]
    checked: dict[str, int]  # finished folders, by kind
    unlisted: tuple[str, ...]  # folders that were finished before digests were kept
    measured: dict[Path, str]  # the digest of every file that was read


def verify(folders: Iterable[Path]) -> Verified:
    """Checks finished folders of a store (see data/store/finished.py): files against digests, shards by what
    they hold."""
    folders = list(folders)
    names = {folder: digests.files(folder) for folder in folders}
    paths = [folder / name for folder in folders for name in names[folder]]
    problems: list[Problem] = []
    unlisted: list[str] = []
    measured: dict[Path, str] = {}
    with progress("checking", sum(path.stat().st_size for path in paths), "bytes") as advance:
        for folder in folders:
            listed: Mapping[str, str] | None = {}
            try:
                files = digests.measure(folder, names[folder], advance)
                listed = digests.read(folder)
            except OSError as error:
                what = f"{error.filename or folder} cannot be read: {error.strerror}"
                problems.append(damaged(what, folder))
                continue
            except ValueError as error:
                problems.append(damaged(str(error), folder))
            if listed is None:
                unlisted.append(f"{folder.parent.name}/{folder.name}")
            problems += _check_folder(folder, files, listed)
            measured |= {folder / name: digest for name, digest in files.items()}
    checked = Counter(folder.parent.name for folder in folders)
    return Verified(tuple(problems), dict(checked), tuple(unlisted), measured)


def _check_folder(
    folder: Path, files: Mapping[str, str], listed: Mapping[str, str] | None
) -> Iterator[Problem]:
    """What is wrong with one finished folder: `files` are their digests, `listed` those in its SHA256SUMS."""
    if folder.parent.name == "data":
        yield from _check_data(folder, files, listed)
        return
    known = listed or {}
    yield from _compare(folder, files, known)
    if known:
        yield from _stray_files(folder, files.keys() - known.keys())


def _check_data(
    folder: Path, files: Mapping[str, str], listed: Mapping[str, str] | None
) -> Iterator[Problem]:
    try:
        manifest = Manifest.load(folder)
    except CodemixError as error:
        yield from error.problems
        return
    yield from check_source(folder, manifest, files)
    of_shards: set[str] = set()
    for split in SPLITS:
        for shard in manifest.shards(split):
            of_shards.update(shard.digests())
    others = {name: digest for name, digest in (listed or {}).items() if name not in of_shards}
    yield from _compare(folder, files, others)
    expected = set(others)
    if listed is None:
        expected = {"manifest.json", "funnel.json", *map(ids_file, SPLITS)}
    yield from _stray_files(folder, files.keys() - of_shards - expected)


def _compare(folder: Path, files: Mapping[str, str], known: Mapping[str, str]) -> Iterator[Problem]:
    """The files that are missing or have a different digest than the known one."""
    for name, digest in known.items():
        path = folder / name
        if name not in files:
            yield damaged(f"{path} is missing", folder)
        elif files[name] != digest:
            what = f"{path} was changed: its SHA-256 differs from the one in {digests.NAME}"
            yield damaged(what, folder)


def _stray_files(folder: Path, names: Iterable[str]) -> Iterator[Problem]:
    hint = "nothing reads it; delete it if you did not put it there"
    for name in sorted(names):
        what = f"{folder / name} was not there when its folder was finished"
        yield Problem(what, hints=(hint,), rule="stray-file", severity="warning")
