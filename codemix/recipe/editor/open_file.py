"""A recipe or a study as it is in an editor: perhaps unsaved, perhaps broken."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from codemix.errors import CodemixError, Problem
from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file, yaml_text
from codemix.recipe.language.yaml_text import Mark, YamlFile
from codemix.recipe.planning.plan import Plan
from codemix.recipe.studies import study

Path = tuple  # of a value in the YAML: keys and indices


@dataclass(frozen=True)
class Place:
    """What is at a position: a key, or a value."""

    path: Path
    mark: Mark
    is_key: bool

    def holds(self, line: int, column: int) -> bool:
        """Whether a position is in it, or right behind it."""
        mark = self.mark
        if line != mark.line:
            return False
        end = mark.column + mark.length
        return mark.column <= column <= end

    def depth(self) -> tuple[int, bool]:
        """By which the innermost is found; a key goes before what it holds."""
        n_parts = len(self.path)
        return n_parts, self.is_key


@dataclass(frozen=True)
class Checked:
    """What the validator says of a text: problems, and plans by recipe where there is no error."""

    problems: tuple[Problem, ...]
    plans: Mapping[str, Plan]


@dataclass(frozen=True)
class OpenFile:
    """A text in an editor, and the file that it will be."""

    file: str
    text: str

    @functools.cached_property
    def document(self) -> YamlFile | None:
        """Its values and their places; None where it is not YAML."""
        return yaml_text.parse_leniently(self.text, self.file)

    @functools.cached_property
    def checked(self) -> Checked:
        try:
            return _check(yaml_text.parse(self.text, self.file))
        except CodemixError as error:
            return Checked(error.problems, {})

    @property
    def is_recipe(self) -> bool:
        """Whether this is, or was meant to be, a recipe or a study."""
        value = self.document.value if self.document else None
        if isinstance(value, dict):
            return "codemix" in value
        return "codemix:" in self.text

    def place(self, line: int, column: int) -> Place | None:
        """The key or value at a position, the innermost; line and column count from 1."""
        if self.document is None:
            return None
        places = []
        for path, mark in self.document.marks.items():
            places.append(Place(path, mark, False))
        for path, mark in self.document.keys.items():
            places.append(Place(path, mark, True))
        here = [place for place in places if place.holds(line, column)]
        return max(here, key=Place.depth, default=None)


def _check(document: YamlFile) -> Checked:
    if recipe_file.is_study(document):
        points = study.check(study.of_document(document))
        plans = {name: point.plan for name, point in points.points.items()}
        return Checked(points.problems, plans)
    alone = validation.check_document(document)
    return Checked(alone.problems, {alone.plan.recipe.name: alone.plan})
