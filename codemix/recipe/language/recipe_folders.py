"""The recipes and studies that words of a command line name: files, and folders to look through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from codemix.errors import CodemixError
from codemix.recipe.language import yaml_text

SUFFIXES = (".yaml", ".yml")
CONVENTION = (".codemix.yaml", ".codemix.yml")  # by which editors know a recipe from other YAML


def recipe_paths(given: Iterable[Path]) -> list[Path]:
    """The files that are given, and the recipes below the folders that are, each once.

    Raises CodemixError for a folder that holds none."""
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            found.update(dict.fromkeys(_in_folder(path)))
        else:
            found[path] = None
    return list(found)


def _in_folder(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in SUFFIXES and path.is_file() and not is_hidden and is_named_recipe(path):
            found.append(path)
    if not found:
        hint = "a recipe is a .yaml file with a key `codemix`"
        raise CodemixError(f"there is no recipe below {folder}", hints=[hint], rule="file")
    return found


def is_named_recipe(path: Path) -> bool:
    """Whether a file says that it is a recipe or a study: by its name, or by a key `codemix` at the start of
    a line."""
    if path.name.endswith(CONVENTION):
        return True
    return any(line.startswith("codemix:") for line in _lines(path))


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        yield from file.read(yaml_text.MAX_BYTES).split("\n")


def recipe_name(path: Path) -> str:
    """What a file's name says without its ending: `mine` of `mine.codemix.yaml`."""
    return path.stem.removesuffix(".codemix")
