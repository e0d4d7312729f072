"""Marks: what a task leaves last, beside its output, so that it is not run again. Only programs read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codemix.data.store.store import damaged, write_bytes

Mark = dict[str, Any]  # JSON


def write_mark(path: Path, mark: Mark) -> None:
    """Write a mark, whole or not at all. Samples of documents make it large, so it is written fast."""
    import orjson

    write_bytes(path, orjson.dumps(mark))


def read_mark(path: Path) -> Mark:
    """A mark that a task left. Raises CodemixError when it is damaged or missing."""
    import orjson

    try:
        content = path.read_bytes()
        return orjson.loads(content)
    except (ValueError, OSError) as error:
        raise damaged(path, error) from error


def read_marks(work: Path) -> list[Mark]:
    """What each task of a job left, in their order."""
    parts = work / ".parts"
    paths = sorted(parts.glob("*.json"))
    return [read_mark(path) for path in paths]
