"""In what two tokenizer.json files would make different ids of a text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codemix.data.encoding.tokenizer_faults import panics
from codemix.errors import CodemixError

_UNUSED = {"version", "post_processor", "truncation", "padding"}  # codemix encodes without them


def differing_parts(one: Path, other: Path) -> list[str]:
    """The parts that differ, by name; a vocabulary with the number of its entries that do. How a file is laid
    out, and which release of `tokenizers` wrote it, makes no difference.

    Raises CodemixError (`bad-tokenizer`) for a file that is none.
    """
    ours = _content(one)
    theirs = _content(other)
    parts: list[str] = []
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in _UNUSED and ours.get(name) != theirs.get(name):
            parts += _named(name, ours.get(name), theirs.get(name))
    return parts


def _named(name: str, ours: Any, theirs: Any) -> Iterator[str]:
    if not isinstance(ours, dict) or not isinstance(theirs, dict) or ours.get("type") != theirs.get("type"):
        yield f"`{name}`"
        return
    for field in sorted(ours.keys() | theirs.keys()):
        mine = ours.get(field)
        other = theirs.get(field)
        if mine != other:
            yield f"`{name}.{field}`{_count(mine, other)}"


def _count(ours: Any, theirs: Any) -> str:
    """How many entries of a vocabulary differ, and the first."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return ""
    differ = []
    for entry in sorted(ours.keys() | theirs.keys()):
        if ours.get(entry) != theirs.get(entry):
            differ.append(entry)
    count = f"{len(differ):,} entries"
    return f" ({count}, the first {differ[0]!r})"


def _content(path: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer

    try:
        with panics():
            made = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exception
        hints = ["it is the file of that name in a model's repository"]
        raise CodemixError(
            f"{path} is not a tokenizer.json: {error}", hints=hints, rule="bad-tokenizer"
        ) from None
    return json.loads(made.to_str())
