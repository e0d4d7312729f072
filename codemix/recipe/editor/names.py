"""Names in a recipe that stand for something elsewhere in it: sources, groups, stages, other files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.recipe.editor.open_file import OpenFile, Place

_HOLDS_SHARES = {"mixture", "of", "fim", "groups"}  # keys below them are sources and groups
_IS_NAME = {"of", "by"}  # as values, a source or a group
_FILES = {"recipe", "base"}


@dataclass(frozen=True)
class Named:
    """What a name stands for: `source`, `group`, `stage` or `file`, and the path where it is defined."""

    kind: str
    name: str
    path: tuple = ()


def named(file: OpenFile, place: Place) -> Named | None:
    """What the name at a place stands for, if it is one."""
    document = file.document
    if document is None or not place.path:
        return None
    text = place.path[-1] if place.is_key else value_at(document.value, place.path)
    if not isinstance(text, str):
        return None
    if not place.is_key and place.path[-1] in _FILES:
        return Named("file", text)
    for kind in _kinds(place):
        for known in defined(document.value, kind):
            if known.name == text:
                return known
    return None


def _kinds(place: Place) -> tuple[str, ...]:
    """What a name at a place may stand for."""
    *around, last = place.path
    if place.is_key:
        parent = around[-1] if around else None
        is_definition = tuple(around) in (("sources",), ("groups",))
        holds_shares = not _HOLDS_SHARES.isdisjoint(around) or parent == "mixture"
        return ("source", "group") if is_definition or holds_shares else ()
    if last == "stage":
        return ("stage",)
    if last in _IS_NAME or "dedup" in around:
        return ("source", "group")
    if last == "name" and "read" in around:
        return ("source",)
    if last == "name" and "stages" in around:
        return ("stage",)
    return ()


def candidates(value: Any, path: tuple, *, is_key: bool) -> list[Named]:
    """The names that could stand at a path."""
    place = Place(path, mark=None, is_key=is_key)  # type: ignore[arg-type]
    found: list[Named] = []
    for kind in _kinds(place):
        found += defined(value, kind)
    return found


def defined(value: Any, kind: str) -> Iterator[Named]:
    """The sources, groups or stages that a recipe defines; it may be malformed."""
    if not isinstance(value, dict):
        return
    inside = value.get(f"{kind}s")
    if isinstance(inside, dict):
        for name in inside:
            yield Named(kind, str(name), (f"{kind}s", name))
    elif isinstance(inside, list):
        for i, stage in enumerate(inside):
            name = stage.get("name") if isinstance(stage, dict) else None
            if isinstance(name, str):
                yield Named(kind, name, ("stages", i, "name"))


def file_named(file: OpenFile, name: str) -> Path | None:
    """The recipe that another names, if it is there."""
    path = Path(file.file).parent / name
    return path if path.is_file() else None


def value_at(value: Any, path: tuple) -> Any:
    """What a parsed file has at a path; None where it has nothing."""
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value
