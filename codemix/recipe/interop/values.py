"""What other systems' mixture files say, as values; and what their readers share: numbers read exactly,
places in
nested values, names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from codemix.errors import CodemixError, Problem, Where
from codemix.recipe.language.yaml_text import YamlFile

MAX_NAME = 60  # characters


@dataclass(frozen=True)
class Weight:
    """One source as the other system names it."""

    name: str
    location: str
    weight: Fraction  # the number as written
    max_epochs: float | None = None  # where the format has a cap


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
        weights = [w.weight for w in self.weights]
        return sum(weights, Fraction(0))

    def shares(self) -> dict[str, Fraction]:
        """What the other system really trains on: each weight over their sum."""
        shares = {}
        for weight in self.weights:
            shares[weight.name] = weight.weight / self.total
        return shares

    @property
    def largest(self) -> Weight:
        return max(self.weights, key=lambda w: w.weight)

    @property
    def is_rounded(self) -> bool:
        """Whether the weights sum to one but for the rounding of floating-point numbers."""
        error = abs(self.total - 1)
        return 0 < error < Fraction(1, 10**9)


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
        named = [f"# ----- {name}\n{content}" for name, content in self.files.items()]
        return "\n".join(named)


def _notes(problems: Iterable[Problem]) -> list[str]:
    notes = []
    for problem in problems:
        parts = (problem.what, *problem.hints)
        notes.append("; ".join(parts))
    return notes


def warning(
    what: str,
    *hints: str,
    rule: str,
    where: Where | None = None,
) -> Problem:
    """Something about the file that a person should know."""
    return Problem(what, where, hints, rule, severity="warning")


def refusal(
    what: str,
    *hints: str,
    rule: str = "import-file",
    where: Where | None = None,
) -> CodemixError:
    """Why the file cannot be imported."""
    problem = Problem(what, where, hints, rule)
    return CodemixError(problem)


def fraction(value: Any, document: YamlFile, at: tuple) -> Fraction:
    """A weight, as the decimal it is written in. Raises CodemixError when it is not one."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and value >= 0:
        return Fraction(str(value))
    where = document.where(at)
    raise refusal(f"`{value}` is not a weight", "a weight is a number from 0", where=where)


@dataclass(frozen=True)
class Kept:
    """The weights of a phase that are not zero, and a note of those that are."""

    weights: tuple[Weight, ...]
    problems: tuple[Problem, ...] = ()


def without_zeros(weights: Sequence[Weight], name: str, *, quiet: bool = False) -> Kept:
    """Raises CodemixError when every weight is zero."""
    kept = tuple(w for w in weights if w.weight)
    if not kept:
        raise refusal(f"every weight of `{name}` is zero")
    zeros = [f"`{w.name}`" for w in weights if not w.weight]
    if not zeros or quiet:
        return Kept(kept)
    shown = ", ".join(zeros[:5])
    note = warning(f"`{name}` gives {shown} a weight of zero; left out", rule="import-zero")
    return Kept(kept, (note,))


def mapping(value: Any) -> Any:
    """What should be a mapping, or an empty one for what is absent."""
    return value or {}


def find_key(value: Any, key: str, depth: int = 6) -> tuple | None:
    """The path of the first mapping entry called `key`, nearest the top."""
    level: list[tuple[tuple, Any]] = [((), value)]
    for _ in range(depth):
        below: list[tuple[tuple, Any]] = []
        for path, candidate in level:
            if not isinstance(candidate, dict):
                continue
            if key in candidate:
                return (*path, key)
            below += [((*path, name), inside) for name, inside in candidate.items()]
        level = below
    return None


def at_path(value: Any, path: tuple) -> Any:
    """What is inside a nested value."""
    for part in path:
        value = value[part]
    return value


def whole(value: Any, default: int) -> int:
    """A whole number, or the default for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return default
    return value


def whole_or_none(value: Any) -> int | None:
    """A whole number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value


def slug(name: str) -> str:
    """A name as a recipe writes it."""
    return _plain(name)[:MAX_NAME] or "stage"


def stem(file: str) -> str:
    """The name of a file without folders and suffix, as a slug."""
    name = re.split(r"[/\\]", file)[-1]
    return slug(re.sub(r"\.(ya?ml|json|txt)$", "", name))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9_.+-]+", "-", name.lower()).strip("-._+")


_SAYS_NOTHING = {
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
_DOCUMENT = re.compile(r"[_.-]?(text|content)_document$")


def names_for(locations: Iterable[str]) -> list[str]:
    """Short source names for paths: the last part that says something, made unique."""
    names: list[str] = []
    for location in locations:
        name = _short_name(location)
        names.append(_unique(name, names))
    return names


def _short_name(location: str) -> str:
    path = re.sub(r"\*.*$", "", location)
    parts = [part for part in re.split(r"[/\\]", path) if part]
    telling = parts[-1] if parts else "source"
    for part in reversed(parts):
        if _DOCUMENT.sub("", part.lower()) not in _SAYS_NOTHING:
            telling = part
            break
    name = _plain(_DOCUMENT.sub("", telling.lower()))
    return (name or "source")[:MAX_NAME]


def _unique(name: str, taken: Sequence[str]) -> str:
    unique, n = name, 1
    while unique in taken:
        n += 1
        unique = f"{name}-{n}"
    return unique
