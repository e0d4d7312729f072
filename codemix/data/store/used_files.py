"""The files of a store that this process has read: what a failure can come of. Standard library only, and light:
every command imports it."""

from __future__ import annotations

from pathlib import Path

_used: dict[Path, None] = {}  # in the order of reading


def note_use(path: Path) -> None:
    """Remember a file that is read. Whoever fails over its content can then ask whether it was damaged."""
    _used[path] = None


def used_files() -> list[Path]:
    return list(_used)


def forget_uses() -> None:
    """What is read from now on is what the next failure can come of."""
    _used.clear()
