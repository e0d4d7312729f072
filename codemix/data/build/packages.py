"""The packages that a build lacks on this machine."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from codemix.data.store.store import Store
from codemix.errors import Problem
from codemix.recipe.language.finding import Finding, located
from codemix.recipe.language.recipe_file import RecipeFile
from codemix.recipe.language.requirements import lacking
from codemix.recipe.language.source_graph import SourceGraph


def build_lacks(
    recipe_file: RecipeFile,
    store: Store,
    data_root: Path,
    *,
    executor: str = "local",
    only: Collection[str] = (),
) -> list[Problem]:
    """The packages and programs that this machine lacks to build what the store lacks, each at its place.

    The store is only looked at when something is lacking: what is built already needs no package to be read.
    """
    recipe = recipe_file.recipe
    absent = [finding for finding in lacking(recipe) if finding.path[0] in ("tokenizer", "sources")]
    if absent:
        built = _built(recipe_file, store, data_root)
        wanted = SourceGraph(recipe).built_with(only or recipe.sources) - built
        absent = [finding for finding in absent if _is_needed(finding, wanted, built)]
    problems = located(absent, recipe_file.document)
    return problems + _problems_of(executor)


def _problems_of(executor: str) -> list[Problem]:
    """What an executor lacks: its programs, packages and variables, and somebody who answers."""
    from codemix.data.execution import on_ray, on_slurm

    if executor == "ray":
        return on_ray.problems()
    if executor == "slurm":
        return on_slurm.problems()
    return []


def _is_needed(finding: Finding, wanted: set[str], built: set[str]) -> bool:
    """Whether a package is needed to build what the store lacks: a source's for itself, a tokenizer's for the
    first."""
    if finding.path[0] == "sources":
        return finding.path[1] in wanted
    return not built


def _built(recipe_file: RecipeFile, store: Store, data_root: Path) -> set[str]:
    """The sources of which the store holds what the recipe asks for."""
    if not any(store.root.glob("data/*")):
        return set()
    from codemix.data.build.inventory import take_inventory

    states = take_inventory(recipe_file.recipe, store, data_root)
    return {name for name, state in states.items() if state.built}
