"""The command that pins what a recipe was built from: lock."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from codemix.cli.context import DATA_ROOT, STORE, AnyStoreOption, DataRootOption, JsonOption, print_json
from codemix.cli.over_buckets import over_buckets
from codemix.errors import EXIT_PROBLEM, Problem


@over_buckets("catalog", whole_with="check")
def lock(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes, YAML files.", show_default=False)],
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the store with an existing lock instead of writing one.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Pin inputs, token counts and versions as <recipe>.lock."""
    if not check:
        paths = [_write_lock(recipe, store, data_root) for recipe in recipes]
        print_json({"locks": paths}) if json else print(*paths, sep="\n")
        return 0
    differing = {}
    for recipe in recipes:
        path = recipe.with_suffix(".lock")
        differing[path] = _differences(recipe, path, store, data_root)
    _show_differing(differing, json=json)
    return EXIT_PROBLEM if any(differing.values()) else 0


def _write_lock(recipe: Path, store: Path, data_root: Path) -> Path:
    from codemix.cli.context import load
    from codemix.recipe import lock as locks

    workspace = load(recipe, store, data_root)
    path = recipe.with_suffix(".lock")
    current = locks.make(workspace.source.recipe, workspace.found)
    workspace.manifests  # noqa: B018 - refuses an unbuilt source
    locks.write(path, current)
    return path


def _differences(recipe: Path, path: Path, store: Path, data_root: Path) -> list[Problem]:
    """Where the store is not what the lock at `path` says."""
    from codemix.cli.context import load
    from codemix.data.review import lock_check
    from codemix.recipe import lock as locks

    workspace = load(recipe, store, data_root)
    current = locks.make(workspace.source.recipe, workspace.found)
    return lock_check.verify(locks.read(path), current, workspace.store, data_root)


def _show_differing(differing: Mapping[Path, Sequence[Problem]], *, json: bool) -> None:
    from codemix.recipe.language.quantities import show_count

    if json:
        checked = {}
        for path, differences in differing.items():
            checked[str(path)] = [problem.as_json() for problem in differences]
        return print_json({"locks": checked})
    for path, differences in differing.items():
        for problem in differences:
            print(problem.render() + "\n", file=sys.stderr)
        count = show_count(len(differences), "difference")
        print(f"{path}: {count if differences else 'the store agrees'}")
    return None
