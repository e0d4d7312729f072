"""What of another system's file nothing here reads, at any depth, named so that it is not lost without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from codemix.errors import Problem
from codemix.recipe.interop.recipe_text import one_line
from codemix.recipe.interop.values import warning

ANY = "*"  # in a pattern: every key of a mapping, every entry of a list
NUMBER = (int, float)
Patterns = dict[tuple, Any]  # the path of what is read -> the type, or types, that it is read as


def left_out(value: Any, read: Patterns) -> Iterator[Problem]:
    """One note that names every largest branch of `value` in which nothing is read, entries of lists together."""
    names: dict[str, None] = {}
    for path in _unread(value, read, ()):
        names[_shown(path)] = None
    if names:
        what = f"not imported: {', '.join(sorted(names))}; a recipe says such things elsewhere, or not at all"
        yield warning(what, rule="import-left-out")


def _unread(value: Any, read: Patterns, at: tuple) -> Iterator[tuple]:
    if _is_read(value, read):
        return
    inside = list(_inside(value))
    if not any(read) or not inside:
        if value is not None:
            yield at
        return
    for key, child in inside:
        below = {path[1:]: kind for path, kind in read.items() if path and path[0] in (ANY, key)}
        yield from _unread(child, below, (*at, key))


def _is_read(value: Any, read: Patterns) -> bool:
    kind = read.get(())
    if kind is None:
        return False
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _inside(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _shown(path: tuple) -> str:
    """`a.b[].c`; the number of a list's entry is not shown."""
    parts = []
    for part in path:
        parts.append("[]" if isinstance(part, int) else f".{one_line(part)}")
    whole = "".join(parts).removeprefix(".")
    return f"`{whole}`" if whole else "everything"
