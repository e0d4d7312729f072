"""The packages that a build lacks on this machine."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from codemix.data.store.store import Store
from codemix.errors import Problem
from codemix.recipe.language import recipe_file
from codemix.recipe.language.requirements import lacking, located, package
from codemix.recipe.language.source_graph import SourceGraph

_EXECUTORS = {"ray": package("`--executor ray`", "ray", '"codemix[ray]"')}


def build_lacks(
    source: recipe_file.RecipeFile,
    store: Store,
    data_root: Path,
    *,
    executor: str = "local",
    only: Collection[str] = (),
) -> list[Problem]:
    """The packages and programs that this machine lacks to build what the store lacks, each at its place.

    The store is only looked at when something is lacking: what is built already needs no package to be read.
    """
    recipe = source.recipe
    absent = [f for f in lacking(recipe) if f.path[0] in ("tokenizer", "sources")]
    if absent:
        built = _built(source, store, data_root)
        wanted = SourceGraph(recipe).built_with(only or recipe.sources) - built
        absent = [f for f in absent if (f.path[1] in wanted if f.path[0] == "sources" else not built)]
    problems = located(absent, source.document)
    if executor in _EXECUTORS and _EXECUTORS[executor].absent:
        problems.append(_EXECUTORS[executor].problem())
    return problems


def _built(source: recipe_file.RecipeFile, store: Store, data_root: Path) -> set[str]:
    """The sources of which the store holds what the recipe asks for."""
    if not any(store.root.glob("data/*")):
        return set()
    from codemix.data.build.inventory import take_inventory

    return {name for name, found in take_inventory(source.recipe, store, data_root).items() if found.built}
