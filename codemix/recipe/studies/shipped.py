"""The recipes and studies that come with codemix, to start from."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.language import yaml_text
from codemix.recipe.language.yaml_text import name_text
from codemix.recipe.studies.base_recipe import named_files

_HEAD = re.compile(r"^(name|study): .*$", re.M)
_ELSEWHERE = re.compile(r"((?:\bbase|\brecipe): )(?:\.\./|[\w-]+/)+(?=[\w.-]+\.yaml)")
_SCHEMA = re.compile(r"\A# yaml-language-server: \$schema=\S*?([a-z]+\.schema\.json)")


@dataclass(frozen=True)
class Shipped:
    """One of them: its name, and where it lies below the folder of all."""

    name: str
    path: Path
    place: str

    def text(self) -> str:
        return yaml_text.read_text(self.path)

    def starts_from(self) -> list[Path]:
        """The other files that it needs beside it, however far off."""
        found: list[Path] = []
        waiting = [self.path]
        while waiting:
            path = waiting.pop()
            document = yaml_text.load(path)
            for name in named_files(document.value):
                other = path.parent / name
                if other not in found:
                    found.append(other)
                    waiting.append(other)
        return found


def folder() -> Path:
    """Where they lie: beside the package in a checkout, below the prefix where a wheel is installed."""
    checkout = Path(__file__).resolve().parents[3] / "recipes"
    if (checkout / "quickstart.yaml").is_file():
        return checkout
    return Path(sys.prefix) / "share" / "codemix" / "recipes"


def shipped() -> dict[str, Shipped]:
    """All of them by name, in the order of their folders."""
    top = folder()
    found = {}
    for path in sorted(top.rglob("*.yaml")):
        place = path.relative_to(top).as_posix()
        found[path.stem] = Shipped(path.stem, path, place)
    return found


def copy_shipped(name: str, path: Path) -> list[Path]:
    """Write a shipped recipe or study to `path`, named after that file, and what it starts from beside it.

    Raises CodemixError for an unknown name, and when a file is there already; then nothing is written."""
    known = shipped()
    if name not in known:
        hints = (*did_you_mean(name, known), "docs/recipes.md shows them all")
        raise CodemixError(f"there is no shipped recipe `{name}`", hints=hints, rule="unknown-recipe")
    chosen = known[name]
    texts = {path: _beside(_renamed(chosen.text(), _stem(path)))}
    for other in chosen.starts_from():
        text = _with_schema(yaml_text.read_text(other))
        texts[path.parent / other.name] = _beside(text)
    for target in texts:
        if target.exists():
            hint = "give another path; nothing was written"
            raise CodemixError(f"{target} exists already", hints=[hint], rule="exists")
    for target, text in texts.items():
        yaml_text.write(target, text)
    return list(texts)


def _renamed(text: str, name: str) -> str:
    """A recipe, or a study, under another name."""
    value = name_text(name)
    named = _HEAD.sub(lambda match: f"{match[1]}: {value}", text, count=1)
    return _with_schema(named)


def _with_schema(text: str) -> str:
    """The first line names a schema beside the file, as `codemix schema > recipe.schema.json` writes it."""
    return _SCHEMA.sub(r"# yaml-language-server: $schema=\1", text)


def _beside(text: str) -> str:
    """The files that it starts from are written beside it, wherever they were."""
    return _ELSEWHERE.sub(r"\1", text)


def _stem(path: Path) -> str:
    return path.stem.removesuffix(".codemix")
