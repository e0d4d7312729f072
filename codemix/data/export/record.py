"""What an export folder says of itself: finished, begun, or something else.

A finished export has an `export.json`, written last. One that was interrupted has an `export.unfinished.json`,
which names the sets whose files are whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codemix.data.export.output_file import WrittenFile
from codemix.data.store.store import read_json, write_json
from codemix.errors import CodemixError

DONE = "export.json"
UNFINISHED = "export.unfinished.json"
Identity = Mapping[str, Any]
FilesBySet = dict[str, list[WrittenFile]]


def finished_files(root: Path, identity: Identity) -> list[WrittenFile] | None:
    """The files of an export that is there already; None where it is not, or not this one.

    Raises CodemixError (`export-damaged`) where a file of it is missing or cut short.
    """
    state = _read(root / DONE)
    if state is None or state.get("identity") != identity:
        return None
    files = _files(state["files"])
    damaged = [file.path for file in files if not _is_whole(root, file)]
    if damaged:
        raise CodemixError(
            f"{root} is a finished export, but {damaged[0]} is not as it was written",
            hints=[f"delete {root} and run the same command again"],
            rule="export-damaged",
        )
    return files


def whole_sets(root: Path, identity: Identity) -> FilesBySet:
    """The sets that an interrupted export has finished, with their files.

    Raises CodemixError (`export-target`) where the folder holds something else.
    """
    state = _read(root / UNFINISHED)
    if state is None or state.get("identity") != identity:
        _require_empty(root)
        return {}
    whole = {}
    for name, entries in state["sets"].items():
        files = _files(entries)
        if all(_is_whole(root, file) for file in files):
            whole[name] = files
    return whole


def begin(root: Path, identity: Identity) -> None:
    """Make the folder, and say what it will hold."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / UNFINISHED).exists():
        write_json(root / UNFINISHED, {"identity": identity, "sets": {}})


def note_set(root: Path, name: str, files: Sequence[WrittenFile]) -> None:
    """Note that a set's files are whole."""
    unfinished = root / UNFINISHED
    state = read_json(unfinished)
    state["sets"][name] = _as_json(files)
    write_json(unfinished, state)


def finish(root: Path, identity: Identity, files: Sequence[WrittenFile]) -> None:
    """Say that the export is whole."""
    entries = _as_json(files)
    write_json(root / DONE, {"identity": identity, "files": entries})
    unfinished = root / UNFINISHED
    unfinished.unlink(missing_ok=True)


def _as_json(files: Sequence[WrittenFile]) -> list[dict[str, Any]]:
    entries = []
    for file in files:
        entries.append(file.as_json())
    return entries


def _files(entries: list[dict[str, Any]]) -> list[WrittenFile]:
    files = []
    for entry in entries:
        files.append(WrittenFile(**entry))
    return files


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    return read_json(path)


def _is_whole(root: Path, file: WrittenFile) -> bool:
    path = root / file.path
    if not path.is_file():
        return False
    size = path.stat().st_size
    return size == file.bytes


def _require_empty(root: Path) -> None:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    holds = "something else"
    if (root / DONE).exists() or (root / UNFINISHED).exists():
        holds = "an export of other data or in a different format"
    raise CodemixError(
        f"{root} holds {holds}",
        hints=["choose an empty folder with `--output`, or delete that one"],
        rule="export-target",
    )
