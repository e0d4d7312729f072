"""The recipes that a study's points start from, read beside the study, each once."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.recipe.language import yaml_text
from codemix.recipe.language.recipe_file import is_study
from codemix.recipe.studies.study_spec import Study


class BaseRecipes:
    """The documents of a study's base recipes; their `init_from` paths are made relative to the study."""

    def __init__(self, study: Study):
        self.study = study
        self._documents: dict[str, yaml_text.YamlFile] = {}

    def document(self, name: str, at: tuple) -> yaml_text.YamlFile:
        """The recipe called `name` at place `at` of the study. Raises CodemixError when it is not one."""
        if name not in self._documents:
            self._documents[name] = self._read(name, at)
        return self._documents[name]

    def _read(self, name: str, at: tuple) -> yaml_text.YamlFile:
        inside = PurePosixPath(name)
        if inside.is_absolute() or inside.suffix not in (".yaml", ".yml"):
            what = f"`{name}` is not a recipe beside this study"
            raise self._refusal(what, at, "give a relative path to a .yaml file")
        document = self._parse(name, at)
        if is_study(document):
            raise self._refusal("the base of a study is a recipe, and this is a study", at)
        if not isinstance(document.value, dict):
            raise self._refusal("the base of a study is a recipe", at)
        for start in recipe_starts(document.value):
            beside_base = posixpath.join(inside.parent.as_posix(), start["recipe"])
            start["recipe"] = posixpath.normpath(beside_base)
        return document

    def _parse(self, name: str, at: tuple) -> yaml_text.YamlFile:
        path = self.study.folder / name
        try:
            return yaml_text.parse(yaml_text.read_text(path), str(path))
        except CodemixError as error:
            if error.problems[0].where is not None:
                raise
            here = self.study.document.where(at)
            placed = [replace(problem, where=here) for problem in error.problems]
        raise CodemixError(*placed)

    def _refusal(self, what: str, at: tuple, *hints: str) -> CodemixError:
        where = self.study.document.where(at)
        problem = Problem(what, where, hints, "study-base")
        return CodemixError(problem)


def recipe_starts(recipe: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The `init_from` of each stage that starts from another recipe; a recipe may still be malformed here."""
    stages = recipe.get("stages")
    if not isinstance(stages, list):
        return
    for stage in stages:
        start = stage.get("init_from") if isinstance(stage, dict) else None
        if isinstance(start, dict) and isinstance(start.get("recipe"), str):
            yield start


def named_files(content: Any) -> Iterator[str]:
    """The other recipes that a recipe or a study names; it may still be malformed."""
    if not isinstance(content, dict):
        return
    for start in recipe_starts(content):
        yield start["recipe"]
    variations = content.get("variations")
    holders = [content]
    if isinstance(variations, list):
        holders += variations
    for holder in holders:
        base = holder.get("base") if isinstance(holder, dict) else None
        if isinstance(base, str):
            yield base
