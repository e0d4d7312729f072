"""What other systems' mixture files say, as values; and what their readers share: numbers read exactly, places in nested values, names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.recipe.language import yaml_text


@dataclass(frozen=True)
class Weight:
    """One source as the other system names it. `weight` is the number as written; `max_epochs` where the format has a cap."""

    name: str
    location: str
    weight: Fraction
    max_epochs: float | None = None


@dataclass(frozen=True)
class Phase:
    """A stretch of training with constant weights; `steps` or `tokens` where the file says how long it is."""

    name: str
    weights: tuple[Weight, ...]
    steps: int | None = None
    tokens: int | None = None
    learning_rate: dict[str, Any] | None = None
    no_rate: str = "not in the file"  # why there is no learning rate

    @property
    def total(self) -> Fraction:
        return sum((w.weight for w in self.weights), Fraction(0))

    def shares(self) -> dict[str, Fraction]:
        """What the other system really trains on: each weight over their sum."""
        return {w.name: w.weight / self.total for w in self.weights}


@dataclass(frozen=True)
class Imported:
    """What a file of another system says, and what about it a person should know."""

    kind: str
    name: str
    phases: tuple[Phase, ...]
    seq_len: int | None = None
    batch_size: int | None = None  # [sequences]
    model: dict[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What a person should know, a line each."""
        return _notes(self.problems)


@dataclass(frozen=True)
class Exported:
    """Files by name, in the other system's format, and what that format cannot say."""

    files: dict[str, str]
    problems: tuple[Problem, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What was lost on the way, a line each."""
        return _notes(self.problems)

    @property
    def text(self) -> str:
        """The file, or several with their names between."""
        if len(self.files) == 1:
            return next(iter(self.files.values()))
        return "\n".join(f"# ----- {name}\n{content}" for name, content in self.files.items())


def _notes(problems: tuple[Problem, ...]) -> list[str]:
    return ["; ".join((p.what, *p.hints)) for p in problems]


def fraction(value: Any, document: yaml_text.YamlFile, at: tuple) -> Fraction:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return Fraction(str(value))
    raise CodemixError(
        Problem(
            f"`{value}` is not a weight", document.where(at), ("a weight is a number from 0",), "import-file"
        )
    )


def without_zeros(
    weights: tuple[Weight, ...], name: str, *, quiet: bool = False
) -> tuple[tuple[Weight, ...], list[Problem]]:
    kept = tuple(w for w in weights if w.weight)
    if not kept:
        raise CodemixError(Problem(f"every weight of `{name}` is zero", rule="import-file"))
    gone = [w.name for w in weights if not w.weight]
    if not gone or quiet:
        return kept, []
    return kept, [
        Problem(
            f"`{name}` gives {', '.join(f'`{n}`' for n in gone[:5])} a weight of zero; left out",
            rule="import-zero",
            severity="warning",
        )
    ]


def find_key(value: Any, key: str, depth: int = 6) -> tuple | None:
    """The path of the first mapping entry called `key`, nearest the top."""
    level = [((), value)]
    for _ in range(depth):
        for path, v in level:
            if isinstance(v, dict) and key in v:
                return (*path, key)
        level = [
            ((*p, k), inner)
            for p, v in level
            if isinstance(v, dict)
            for k, inner in v.items()
            if isinstance(inner, dict)
        ]
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


_DULL = {
    "standard",
    "tokenized",
    "train",
    "data",
    "merged",
    "text_document",
    "content_document",
    "default",
    "shards",
    "dataset",
    "",
}


def names_for(locations: list[str]) -> list[str]:
    """Short source names for paths: the last part that says something, made unique."""
    out: list[str] = []
    for location in locations:
        parts = [p for p in re.split(r"[/\\]", re.sub(r"\*.*$", "", location)) if p]
        said = next(
            (
                p
                for p in reversed(parts)
                if re.sub(r"[_.-]?(text|content)_document$", "", p.lower()) not in _DULL
            ),
            parts[-1] if parts else "source",
        )
        name = (
            re.sub(r"[^a-z0-9_.+-]+", "-", re.sub(r"[_.-]?(text|content)_document$", "", said.lower())).strip(
                "-._+"
            )
            or "source"
        )
        name = name[:60]
        out.append(
            name
            if name not in out
            else next(f"{name}-{i}" for i in range(2, 10**6) if f"{name}-{i}" not in out)
        )
    return out
