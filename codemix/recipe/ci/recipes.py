"""The recipes and studies of one state of a repository, and which of them start from which."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codemix.errors import CodemixError, Problem
from codemix.recipe.checks import validation
from codemix.recipe.diffs.repository import Repository
from codemix.recipe.language import recipe_file, yaml_text
from codemix.recipe.language.yaml_text import YamlFile
from codemix.recipe.planning.plan import Plan
from codemix.recipe.studies import study
from codemix.recipe.studies.base_recipe import named_files

SUFFIXES = (".yaml", ".yml")
_KEY = re.compile(r"^[\"']?codemix[\"']?\s*:", re.M)


@dataclass(frozen=True)
class Planned:
    """The plans in a file, by the name of the recipe (a study has several), and every problem in it."""

    plans: Mapping[str, Plan]
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        return validation.of_severity("error", self.problems)


@dataclass(frozen=True)
class Recipes:
    """The files below `folder` that hold a recipe or a study, or should; paths are relative to it."""

    folder: Path
    documents: dict[str, YamlFile | CodemixError] = field(default_factory=dict)

    def take(self, path: str) -> None:
        """Read a file that holds a recipe, whatever is in it now."""
        if path not in self.documents:
            self.documents[path] = _read(self.folder / path)

    def starts_of(self, path: str) -> set[str]:
        """The files that a recipe or a study starts from."""
        document = self.documents.get(path)
        starts: set[str] = set()
        if not isinstance(document, YamlFile):
            return starts
        folder = posixpath.dirname(path)
        for name in named_files(document.value):
            beside = posixpath.join(folder, name)
            starts.add(posixpath.normpath(beside))
        return starts

    def starting_from(self, paths: Iterable[str]) -> dict[str, str]:
        """The files that start from some of `paths`, however far off, with the file that they start from."""
        followers: dict[str, list[str]] = {}
        for path in self.documents:
            for start in self.starts_of(path):
                followers.setdefault(start, []).append(path)
        found: dict[str, str] = {}
        waiting = sorted(paths)
        while waiting:
            start = waiting.pop(0)
            for path in sorted(followers.get(start, ())):
                if path not in found:
                    found[path] = start
                    waiting.append(path)
        return found

    def planned(self, path: str) -> Planned:
        """What a file comes to; of one that cannot be planned, its problems."""
        document = self.documents[path]
        try:
            if isinstance(document, CodemixError):
                raise document
            if recipe_file.is_study(document):
                checked = study.check(study.of_document(document))
                plans = {name: point.plan for name, point in checked.points.items()}
                return Planned(plans, checked.problems)
            alone = validation.check_document(document)
            return Planned({alone.plan.recipe.name: alone.plan}, alone.problems)
        except CodemixError as error:
            return Planned({}, error.problems)


def checked_out(repository: Repository) -> Recipes:
    """The recipes among the files that are checked out."""
    recipes = Recipes(repository.top)
    for path in repository.files():
        file = repository.top / path
        if path.lower().endswith(SUFFIXES) and file.is_file() and b"codemix" in _bytes(file):
            _take_if_recipe(recipes, path)
    return recipes


def committed(repository: Repository, commit: str, folder: Path) -> Recipes:
    """The recipes of a commit, written below `folder`."""
    recipes = Recipes(folder)
    for path, content in repository.blobs(commit, SUFFIXES):
        if b"codemix" in content:
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            _take_if_recipe(recipes, path)
    return recipes


def _take_if_recipe(recipes: Recipes, path: str) -> None:
    """Keep a document that has the key `codemix`, or what should be one and is not YAML."""
    recipes.take(path)
    document = recipes.documents[path]
    if isinstance(document, YamlFile):
        is_recipe = isinstance(document.value, dict) and "codemix" in document.value
    else:
        content = _bytes(recipes.folder / path).decode(errors="replace")
        is_recipe = bool(_KEY.search(content))
    if not is_recipe:
        del recipes.documents[path]


def _read(file: Path) -> YamlFile | CodemixError:
    try:
        return yaml_text.parse(yaml_text.read_text(file), os.path.relpath(file))
    except CodemixError as error:
        return error


def _bytes(file: Path) -> bytes:
    """The start of a file, as far as a recipe may be long."""
    try:
        with open(file, "rb") as opened:
            return opened.read(yaml_text.MAX_BYTES)
    except OSError:
        return b""
