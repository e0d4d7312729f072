"""Names that a pattern matches under a folder. Each folder is looked into once per step of the pattern,
whatever the pattern.

The standard library's `glob` takes exponential time for `**/**/**`, follows circles of links, passes over
folders that it may not read, and takes the brackets of a folder's own name for a pattern. Standard library
only.
"""

from __future__ import annotations

import fnmatch
import heapq
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError

MAGIC = frozenset("*?[")


@dataclass(frozen=True, order=True)
class _Folder:
    """A folder by one of its names. The least of several names is its own, else the shortest."""

    linked: bool  # whether the name leads through a symbolic link
    depth: int
    name: str  # relative to the base; empty for the base itself


def matching(base: Path, pattern: str) -> list[str]:
    """Names relative to `base` that `pattern` matches and that are not folders, unsorted.

    A step that begins a path which exists literally is not a pattern. Raises CodemixError for a folder that
    leads outside `base` or may not be read, and for `..` behind a wildcard.
    """
    if pattern.endswith("/"):
        return []
    steps = [step for step in pattern.split("/") if step not in ("", ".")]
    literal = 0
    while literal < len(steps) - 1 and os.path.lexists(base / "/".join(steps[: literal + 1])):
        literal += 1
    if ".." in steps[literal:]:
        hint = "say what is wanted by several patterns"
        raise CodemixError(f"`..` may not follow a wildcard, as in {pattern}", hints=[hint], rule="bad-path")
    start = "/".join(steps[:literal])
    real = os.path.realpath(base / start)
    if not os.path.isdir(real):
        return []
    folders = [_Folder(real != os.path.join(base, start).rstrip("/"), literal, start)]
    *between, last = steps[literal:]
    for step in between:
        folders = list(_each_once(base, folders)) if step != "**" else list(_below(base, folders))
        if step != "**":
            folders = [
                _inside(folder, entry)
                for folder in folders
                for entry in _entries(base, folder)
                if _is(step, entry) and _is_folder(entry)
            ]
    folders = list(_below(base, folders) if last == "**" else _each_once(base, folders))
    wanted = "*" if last == "**" else last
    return [
        _inside(folder, entry).name
        for folder in folders
        for entry in _entries(base, folder)
        if _is(wanted, entry) and not _is_folder(entry)
    ]


def outside_data_root(what: str) -> CodemixError:
    """The refusal of a place that is not under the data root; `what` says which, and never what is there."""
    hints = [
        "move or copy the data under the data root",
        "or choose a data root that holds both, with `--data-root`",
    ]
    return CodemixError(what, hints=hints, rule="outside-data-root")


def _each_once(base: Path, folders: Iterable[_Folder]) -> Iterator[_Folder]:
    seen: set[str] = set()
    for folder in sorted(folders):
        real = _real(base, folder)
        if real not in seen:
            seen.add(real)
            yield folder


def _below(base: Path, folders: Iterable[_Folder]) -> Iterator[_Folder]:
    """The folders and all that lie in them, each once and by its least name; hidden ones are left out."""
    heap, seen = sorted(folders), set()
    while heap:
        folder = heapq.heappop(heap)
        real = _real(base, folder)
        if real in seen:
            continue
        seen.add(real)
        yield folder
        for entry in _entries(base, folder):
            if not entry.name.startswith(".") and _is_folder(entry):
                heapq.heappush(heap, _inside(folder, entry))


def _real(base: Path, folder: _Folder) -> str:
    """Where a folder really lies. Raises CodemixError when that is outside the base, before anyone looks into
    it."""
    path = os.path.join(base, folder.name)
    if not folder.linked:
        return path.rstrip("/")
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(base):
        raise outside_data_root(f"{folder.name} is a symbolic link that leads outside the data root")
    return real


def _entries(base: Path, folder: _Folder) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(os.path.join(base, folder.name)) as entries:
            return list(entries)
    except OSError as error:
        what = f"cannot look into {folder.name or base}: {error.strerror}"
        raise CodemixError(what, hints=["check its permissions"], rule="input-unreadable") from error


def _inside(folder: _Folder, entry: os.DirEntry) -> _Folder:
    name = f"{folder.name}/{entry.name}" if folder.name else entry.name
    linked = folder.linked or entry.is_symlink()
    depth = folder.depth + 1
    return _Folder(linked, depth, name)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links; opening it will report that
        return False


def _is(step: str, entry: os.DirEntry) -> bool:
    """Whether a name matches one step of a pattern; a hidden one only if the step names its dot."""
    if not MAGIC & set(step):
        return step == entry.name
    if entry.name.startswith(".") and not step.startswith("."):
        return False
    pattern = fnmatch.translate(step)
    return re.match(pattern, entry.name) is not None
