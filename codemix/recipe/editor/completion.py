"""What may be written at a position: keys, kinds of components, values, names of sources, groups and
stages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from codemix.recipe.editor.names import candidates, value_at
from codemix.recipe.editor.schema_at import Schema, shapes_at
from codemix.recipe.language import yaml_text
from codemix.recipe.language.finding import WARNINGS

_HERE = "codemix-cursor"  # stands where the cursor is; no recipe says it
_HERE_AS_KEY = f"{_HERE}: ~"
_WORD_BEFORE = re.compile(r"[\w.+-]*\Z")
_WORD_AFTER = re.compile(r"\A[\w.+-]*")
_CLOSING = {"{": "}", "[": "]"}


@dataclass(frozen=True)
class Completion:
    """A word that fits, what to insert for it, and what it means."""

    label: str
    insert: str
    detail: str = ""


@dataclass(frozen=True)
class _Cursor:
    """Where the cursor is in the values: at a key of `path`, or at the value of `path`."""

    value: Any
    path: tuple
    is_key: bool


def completions(text: str, line: int, column: int) -> list[Completion]:
    """Everything that fits at a position; line and column count from 1. Nothing where YAML cannot be guessed."""
    found: dict[str, Completion] = {}
    for cursor in _cursors(text, line, column):
        for completion in _at(cursor):
            found.setdefault(completion.label, completion)
        if found:
            break
    return list(found.values())


def _at(cursor: _Cursor) -> Iterator[Completion]:
    shapes = shapes_at(cursor.value, cursor.path)
    if cursor.is_key:
        yield from _keys(shapes)
        name_path = (*cursor.path, _HERE)
        end = ": "
    else:
        yield from _values(shapes)
        name_path = cursor.path
        end = ""
    for found in candidates(cursor.value, name_path, is_key=cursor.is_key):
        yield Completion(found.name, found.name + end, found.kind)
    if cursor.path == ("silence",):
        for rule, cite in WARNINGS.items():
            yield Completion(rule, f"{rule}: ", cite)


def _keys(shapes: list[Schema]) -> Iterator[Completion]:
    for shape in shapes:
        properties = shape.get("properties", {})
        for key, inner in properties.items():
            description = inner.get("description", "")
            yield Completion(key, f"{key}: ", description)


def _values(shapes: list[Schema]) -> Iterator[Completion]:
    for shape in shapes:
        description = shape.get("description", "")
        for value in _literals(shape):
            word = str(value)
            yield Completion(word, word, description)
        properties = shape.get("properties", {})
        kind = properties.get("kind", {})
        name = kind.get("const")
        if name is not None:
            yield Completion(name, f"{{kind: {name}}}", description)


def _literals(shape: Schema) -> Iterator[Any]:
    """The values that a schema names one by one."""
    yield from shape.get("enum", ())
    if "const" in shape:
        yield shape["const"]
    if shape.get("type") == "boolean":
        yield "true"
        yield "false"


def _cursors(text: str, line: int, column: int) -> Iterator[_Cursor]:
    """The readings of a text that is being written, the likeliest first."""
    lines = text.split("\n")
    n_before = line - 1
    if n_before >= len(lines):
        return
    earlier = lines[:n_before]
    current = lines[n_before]
    later = lines[line:]
    left = current[: column - 1]
    right = current[column - 1 :]
    before = _WORD_BEFORE.sub("", left)
    after = _WORD_AFTER.sub("", right)
    brackets = _closed(before)
    for mark in (_HERE, _HERE_AS_KEY):
        written = before + mark
        as_it_is = [written + after]
        closed = [written + brackets]
        yield from _reading(earlier + as_it_is + later)
        yield from _reading(earlier + closed + later)
        yield from _reading(earlier + closed)


def _closed(before: str) -> str:
    """The brackets that a line leaves open, closed."""
    open_ones: list[str] = []
    for character in before:
        if character in _CLOSING:
            open_ones.append(_CLOSING[character])
        elif open_ones and character == open_ones[-1]:
            open_ones.pop()
    return "".join(reversed(open_ones))


def _reading(lines: list[str]) -> Iterator[_Cursor]:
    document = yaml_text.parse_leniently("\n".join(lines), "")
    if document is None:
        return
    for path in document.keys:
        if path[-1] == _HERE:
            yield _Cursor(document.value, path[:-1], is_key=True)
    for path in document.marks:
        if value_at(document.value, path) == _HERE:
            yield _Cursor(document.value, path, is_key=False)
