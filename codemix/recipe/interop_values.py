"""What the readers of other systems' files share: numbers read exactly, places in nested values, names."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.recipe import text
from codemix.recipe.interop import Weight


def fraction(value: Any, document: text.Document, at: tuple) -> Fraction:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return Fraction(str(value))
    raise CodemixError(Problem(f"`{value}` is not a weight", document.where(at), ("a weight is a number from 0",), "import-file"))


def without_zeros(weights: tuple[Weight, ...], name: str, *, quiet: bool = False) -> tuple[tuple[Weight, ...], list[Problem]]:
    kept = tuple(w for w in weights if w.weight)
    if not kept:
        raise CodemixError(Problem(f"every weight of `{name}` is zero", rule="import-file"))
    gone = [w.name for w in weights if not w.weight]
    if not gone or quiet:
        return kept, []
    return kept, [
        Problem(f"`{name}` gives {', '.join(f'`{n}`' for n in gone[:5])} a weight of zero; left out", rule="import-zero", severity="warning")
    ]


def find_key(value: Any, key: str, depth: int = 6) -> tuple | None:
    """The path of the first mapping entry called `key`, nearest the top."""
    level = [((), value)]
    for _ in range(depth):
        for path, v in level:
            if isinstance(v, dict) and key in v:
                return (*path, key)
        level = [((*p, k), inner) for p, v in level if isinstance(v, dict) for k, inner in v.items() if isinstance(inner, dict)]
    return None


def at_path(value: Any, path: tuple) -> Any:
    for part in path:
        value = value[part]
    return value


def whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_.+-]+", "-", name.lower()).strip("-._+")[:60] or "stage"


def stem(file: str) -> str:
    return slug(re.sub(r"\.(ya?ml|json|txt)$", "", re.split(r"[/\\]", file)[-1]))
