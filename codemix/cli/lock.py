"""The command that pins what a recipe was built from: lock."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    DataRootOption,
)
from codemix.cli.over_buckets import over_buckets
from codemix.errors import EXIT_PROBLEM


@over_buckets("catalog", whole_with="check")
def lock(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes, YAML files.", show_default=False)],
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the store with an existing lock instead of writing one.")
    ] = False,
) -> int:
    """Pin inputs, token counts and versions as <recipe>.lock."""
    lock_file = _check_lock if check else _write_lock
    codes = [lock_file(recipe, store, data_root) for recipe in recipes]
    return max(codes)


def _write_lock(recipe: Path, store: Path, data_root: Path) -> int:
    from codemix.cli.context import load
    from codemix.recipe import lock as locks

    workspace = load(recipe, store, data_root)
    path = recipe.with_suffix(".lock")
    current = locks.make(workspace.source.recipe, workspace.found)
    workspace.manifests  # noqa: B018 - refuses an unbuilt source
    locks.write(path, current)
    print(path)
    return 0


def _check_lock(recipe: Path, store: Path, data_root: Path) -> int:
    from codemix.cli.context import load
    from codemix.data.review import lock_check
    from codemix.recipe import lock as locks
    from codemix.recipe.language.quantities import show_count

    workspace = load(recipe, store, data_root)
    path = recipe.with_suffix(".lock")
    current = locks.make(workspace.source.recipe, workspace.found)
    differences = lock_check.verify(locks.read(path), current, workspace.store, data_root)
    for problem in differences:
        print(problem.render() + "\n", file=sys.stderr)
    count = show_count(len(differences), "difference")
    print(f"{path}: {count if differences else 'the store agrees'}")
    return EXIT_PROBLEM if differences else 0
