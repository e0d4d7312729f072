"""A study: one base recipe and its variations, each of which becomes a complete recipe.

    codemix: 1
    study: code-proportion
    question: How much code helps?
    base: base.yaml
    sweep: {stage: pretrain, of: code, shares: [0%, 25%, 50%], kind: competitive}
    seeds: [0, 1]

Points are the product of `variations`, `grid`, `sweep` or `anneal`, and `seeds`, or the swarm of `mix`
(recipe/studies/swarm.py). The tree of their stages is in
recipe/studies/stage_tree.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.recipe.checks import validation
from codemix.recipe.language import requirements, schema, yaml_text
from codemix.recipe.language.layered_file import copied
from codemix.recipe.language.recipe_file import RecipeFile, is_study, validate
from codemix.recipe.language.yaml_edit import edited
from codemix.recipe.planning.plan import Plan
from codemix.recipe.studies.points import points
from codemix.recipe.studies.stage_tree import tree
from codemix.recipe.studies.study_spec import Study, StudySpec
from codemix.recipe.studies.swarm import swarm_points

__all__ = [
    "Study",
    "StudySpec",
    "check",
    "expand",
    "load_study",
    "of_document",
    "recipes",
    "tree",
    "write_recipe",
    "write_recipes",
]


def load_study(path: str | Path) -> Study:
    """The study in a file. Raises CodemixError with every syntax and schema problem."""
    return of_document(yaml_text.load(path))


def of_document(document: yaml_text.YamlFile) -> Study:
    """The study in a document."""
    is_mapping = isinstance(document.value, dict)
    if is_mapping and "stages" in document.value and not is_study(document):
        where = document.where(("stages",), key=True)
        hint = "a study has `study:`, `base:` and variations"
        problem = Problem("this is a recipe, not a study", where, (hint,), "recipe-not-study")
        raise CodemixError(problem)
    spec = validate(StudySpec, document)
    return Study(spec, document)


def expand(study: Study) -> dict[str, schema.Recipe]:
    """Every point of the study as a complete recipe, by recipe name, in the order of the file."""
    expanded = {}
    for name, recipe_file in recipes(study).items():
        expanded[name] = recipe_file.recipe
    return expanded


class _SharedProblems:
    """Problems that several points share, each once, with the points that have it."""

    def __init__(self) -> None:
        self._points: dict[Problem, list[str]] = {}

    def add(self, problems: Iterable[Problem], point: str) -> None:
        for problem in problems:
            self._points.setdefault(problem, []).append(point)

    def listed(self) -> tuple[Problem, ...]:
        listed = []
        for problem, names in self._points.items():
            hints = (*problem.hints, _in_points(names))
            listed.append(replace(problem, hints=hints))
        return tuple(listed)


def _in_points(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:4])
    if len(names) == 1:
        return f"in the point {shown}"
    if len(names) > 4:
        shown += f" and {len(names) - 4} more"
    return f"in the points {shown}"


def recipes(study: Study) -> dict[str, RecipeFile]:
    """Every point as a recipe with the places its values came from, so that later problems point into the
    right file.

    Raises CodemixError with the problems of all points; one that several points share is reported once, and
    says which.
    """
    problems = _SharedProblems()
    expanded: dict[str, RecipeFile] = {}
    of_study = points(study) if study.spec.mix is None else swarm_points(study)
    for point in of_study:
        try:
            recipe = validate(schema.Recipe, point.document)
        except CodemixError as error:
            problems.add(error.problems, point.name)
            continue
        if recipe.name in expanded:
            problems.add([_same_name(study, recipe.name)], point.name)
            continue
        expanded[recipe.name] = RecipeFile(recipe, point.document)
    found = problems.listed()
    if found:
        raise CodemixError(*found)
    return expanded


def _same_name(study: Study, name: str) -> Problem:
    where = study.document.where(("study",))
    hint = "give axes and variations names that differ"
    return Problem(f"two points become `{name}`", where, (hint,), "study-name")


@dataclass(frozen=True)
class CheckedStudy:
    """Every point planned and judged, by recipe name, and the problems of all, each once with the points that
    have it.
    """

    points: dict[str, validation.Checked]
    problems: tuple[Problem, ...]
    missing_here: tuple[Problem, ...] = ()  # the packages that this machine lacks, as warnings

    def require(self) -> dict[str, Plan]:
        """The plans. Raises CodemixError when a point has an error."""
        plans = {}
        for name, checked in self.points.items():
            plans[name] = checked.require()
        return plans


def check(study: Study) -> CheckedStudy:
    """Plan and judge every point, with sizes as declared."""
    problems = _SharedProblems()
    missing_here = _SharedProblems()
    checked = {}
    for name, recipe_file in recipes(study).items():
        checked[name] = validation.check(recipe_file)
        point = name.removeprefix(f"{study.name}-")
        problems.add(checked[name].problems, point)
        absent = requirements.warnings(recipe_file.recipe, recipe_file.document)
        missing_here.add(absent, point)
    return CheckedStudy(checked, problems.listed(), missing_here.listed())


def write_recipes(study: Study, folder: Path) -> list[Path]:
    """Write every point as a recipe of its own; the files."""
    written = []
    header = f"# A point of the study `{study.name}`, complete; made by `codemix study expand`.\n"
    for name, recipe_file in recipes(study).items():
        path = folder / f"{name}.yaml"
        write_recipe(study, recipe_file, path, header)
        written.append(path)
    return written


def write_recipe(
    study: Study,
    recipe_file: RecipeFile,
    path: Path,
    header: str,
) -> None:
    """Write a recipe that comes from a study as a file of its own: the text of the study's base, comments and
    all, with its own values. Paths of recipes that it starts from are as seen from there."""
    value = copied(_without_unused_silences(study, recipe_file, path.name))
    for stage in value["stages"]:
        start = stage.get("init_from")
        if isinstance(start, dict) and "recipe" in start:
            other = study.folder / start["recipe"]
            relative = os.path.relpath(other, path.parent)
            start["recipe"] = Path(relative).as_posix()
    kept = {key: inside for key, inside in value.items() if inside != {}}
    text = _in_the_words_of(recipe_file.document, kept)
    base_folder = (study.folder / study.spec.base).parent
    placed = yaml_text.moved(text, base_folder, path.parent)
    yaml_text.write(path, yaml_text.with_header(placed, header))


def _in_the_words_of(base: yaml_text.YamlFile, value: dict[str, Any]) -> str:
    """The text of a base recipe, changed to say `value`; a text of its own where aliases in the base stand for
    values that now differ."""
    written = yaml_text.parse(base.text, base.file)
    try:
        return edited(written, value)
    except CodemixError:
        return yaml_text.dump(value)


def _without_unused_silences(study: Study, point: RecipeFile, file: str) -> dict[str, Any]:
    """The points share the study's silences; a recipe of its own keeps those that it needs."""
    value = dict(point.document.value)
    beside = str(study.folder / file)
    document = yaml_text.parse(yaml_text.dump(value), beside)
    alone = RecipeFile(point.recipe, document)
    silence = dict(value.get("silence", {}))
    for problem in validation.check(alone).problems:
        if problem.rule == "silence-unused" and problem.where is not None:
            rule = problem.where.path.split(".", 1)[1]
            silence.pop(rule, None)
    if "silence" in value:
        value["silence"] = silence
    return value
