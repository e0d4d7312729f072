"""A study: one base recipe and its variations, each of which becomes a complete recipe.

    codemix: 1
    study: code-proportion
    question: How much code helps?
    base: base.yaml
    sweep: {stage: pretrain, of: code, shares: [0%, 25%, 50%], kind: competitive}
    seeds: [0, 1]

Points are the product of `variations`, `grid`, `sweep` and `seeds`. The tree of their stages is in recipe/studies/stage_tree.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file, schema, yaml_text
from codemix.recipe.studies.points import points
from codemix.recipe.studies.stage_tree import tree
from codemix.recipe.studies.study_spec import Study, StudySpec

__all__ = [
    "Study",
    "StudySpec",
    "check",
    "expand",
    "load_study",
    "of_document",
    "recipes",
    "tree",
    "write_recipes",
]


def load_study(path: str | Path) -> Study:
    """The study in a file. Raises CodemixError with every syntax and schema problem."""
    return of_document(yaml_text.load(path))


def of_document(document: yaml_text.YamlFile) -> Study:
    """The study in a document."""
    if isinstance(document.value, dict) and "stages" in document.value and not recipe_file.is_study(document):
        hint = "a study has `study:`, `base:` and variations"
        raise CodemixError(
            Problem(
                "this is a recipe, not a study",
                document.where(("stages",), key=True),
                (hint,),
                "recipe-not-study",
            )
        )
    return Study(recipe_file.validate(StudySpec, document), document)


def expand(study: Study) -> dict[str, schema.Recipe]:
    """Every point of the study as a complete recipe, by recipe name, in the order of the file."""
    return {name: source.recipe for name, source in recipes(study).items()}


def recipes(study: Study) -> dict[str, recipe_file.RecipeFile]:
    """Every point as a recipe with the places its values came from, so that later problems point into the right file.

    Raises CodemixError with the problems of all points; one that several points share is told once, and says which.
    """
    found: dict[Problem, list[str]] = {}
    out: dict[str, recipe_file.RecipeFile] = {}
    for point in points(study):
        try:
            recipe = recipe_file.validate(schema.Recipe, point.document)
            if recipe.name in out:
                raise CodemixError(
                    Problem(
                        f"two points become `{recipe.name}`",
                        study.document.where(("study",)),
                        ("give axes and variations names that differ",),
                        "study-name",
                    )
                )
            out[recipe.name] = recipe_file.RecipeFile(recipe, point.document)
        except CodemixError as error:
            for problem in error.problems:
                found.setdefault(problem, []).append(point.name)
    if found:
        raise CodemixError(*(replace(p, hints=(*p.hints, _in_points(names))) for p, names in found.items()))
    return out


def check(study: Study, pools: Any = None) -> tuple[dict[str, validation.Checked], tuple[Problem, ...]]:
    """Every point planned and judged, and the problems of all, each told once with the points that have it."""
    found: dict[Problem, list[str]] = {}
    checked = {}
    for name, source in recipes(study).items():
        checked[name] = validation.check(source, pools)
        for problem in checked[name].problems:
            found.setdefault(problem, []).append(name.removeprefix(f"{study.name}-"))
    return checked, tuple(replace(p, hints=(*p.hints, _in_points(names))) for p, names in found.items())


def write_recipes(study: Study, folder: Path) -> list[Path]:
    """Write every point as a recipe of its own. `init_from` paths stay as seen from the study. Returns the files."""
    written = []
    header = f"# A point of the study `{study.name}`, complete; made by `codemix study expand`.\n"
    for name, source in recipes(study).items():
        path = folder / f"{name}.yaml"
        value = dict(source.document.value)
        alone = recipe_file.RecipeFile(
            source.recipe,
            replace(
                yaml_text.parse(yaml_text.dump(value), str(study.folder / path.name)),
                file=str(study.folder / path.name),
            ),
        )
        unused = {
            p.where.path.split(".", 1)[1]
            for p in validation.check(alone).problems
            if p.rule == "silence-unused"
        }
        if unused:  # the study's points share their silences; a recipe of its own keeps those that it needs
            value["silence"] = {k: v for k, v in value["silence"].items() if k not in unused}
        yaml_text.write(path, header + yaml_text.dump({k: v for k, v in value.items() if v != {}}))
        written.append(path)
    return written


def _in_points(names: list[str]) -> str:
    shown = ", ".join(f"`{n}`" for n in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"in {'the point' if len(names) == 1 else 'the points'} {shown}"
