"""Commands that copy what is finished between stores, and remove it: push, pull, gc."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    DataRootOption,
    JsonOption,
    StoreOption,
    print_json,
    refusal,
)

if TYPE_CHECKING:
    from codemix.data.remote.places import Place
    from codemix.data.remote.transfer import Transfer
    from codemix.data.store.store import Store
    from codemix.data.workspace import Workspace

RecipesArg = Annotated[
    list[Path], typer.Argument(help="Recipes and studies, YAML files.", show_default=False)
]
PLACE = "a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"


def push(
    recipes: RecipesArg,
    to: Annotated[str, typer.Option("--to", help=f"Where to: {PLACE}.", show_default=False)],
    store: StoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
) -> None:
    """Copy what the store has of recipes to another store.

    Whole and checked; what is there is not sent again: data, what it was made from, trained stages, scores and
    reports. An interrupted push continues where it was.
    """
    from codemix.data.remote import transfer
    from codemix.data.remote.needed import outputs_of
    from codemix.data.remote.places import place_named
    from codemix.data.store.store import Store

    here = Store(store)
    place = place_named(to)
    workspaces = _workspaces(recipes, here, data_root)
    _tell_unknown(workspaces)
    outputs = outputs_of(workspaces, here)
    if not outputs:
        raise refusal(
            f"nothing of {_names(recipes)} is finished in {store}",
            "`codemix build-data` makes it",
            rule="not-built",
        )
    planned = transfer.plan_push(here, outputs, place)
    transfer.push(planned, here, place)
    _show("pushed", planned, place, json=json)


def pull(
    recipes: RecipesArg,
    from_: Annotated[str, typer.Option("--from", help=f"Where from: {PLACE}.", show_default=False)],
    stage: Annotated[
        str | None, typer.Option("--stage", help="Only what training this stage reads.", show_default=False)
    ] = None,
    store: StoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
) -> None:
    """Copy what another store has of recipes into the store.

    Whole and checked; raw inputs need not be here.
    """
    from codemix.data.remote import transfer
    from codemix.data.remote.needed import outputs_of, read_by_training
    from codemix.data.remote.places import place_named
    from codemix.data.store.store import Store

    here = Store(store)
    place = place_named(from_)
    catalog = place.catalog()
    workspaces = _workspaces(recipes, catalog, data_root)
    _tell_unknown(workspaces)
    if stage is None:
        outputs = outputs_of(workspaces, catalog)
    else:
        outputs = [output for workspace in workspaces for output in read_by_training(workspace, stage)]
    if not outputs:
        raise refusal(
            f"{place} has nothing of {_names(recipes)}",
            f"`codemix push RECIPE --to {from_}` puts it there",
            rule="not-built",
        )
    planned = transfer.plan_pull(here, outputs, place)
    transfer.pull(planned, here, place)
    _show("pulled", planned, place, json=json)


def gc(
    recipes: RecipesArg,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it; without this it is only shown.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show, or delete, what no named recipe needs of a store.

    What is finished there and none of these recipes, studies and their locks needs; `--delete` removes it.
    """
    from codemix.data.remote.needed import outputs_of
    from codemix.data.remote.places import place_named

    place = place_named(str(store))
    catalog = place.catalog()
    workspaces = _workspaces(recipes, catalog, data_root)
    _refuse_unknown(workspaces)
    needed = set(outputs_of(workspaces, catalog))
    unneeded = _unneeded(catalog, place, needed)
    if delete:
        place.refuse_in_use()
        for output in unneeded:
            place.remove(output)
    _show_removal(unneeded, len(needed), place, deleted=delete, json=json)


def _workspaces(recipes: list[Path], store: Store, data_root: Path) -> list[Workspace]:
    from codemix.api.workspaces import workspaces

    _, found = workspaces(recipes, store, data_root)
    return found


def _names(recipes: list[Path]) -> str:
    return ", ".join(map(str, recipes))


def _refuse_unknown(workspaces: list[Workspace]) -> None:
    """Raises CodemixError where nobody knows what a recipe needs: it would look as if it needed nothing."""
    from codemix.errors import CodemixError, Problem

    hints = ("bring its inputs back, choose `--data-root`, or leave the recipe out",)
    problems = [Problem(what, hints=hints, rule="gc-unknown") for what in _unknown(workspaces)]
    if problems:
        raise CodemixError(*problems)


def _tell_unknown(workspaces: list[Workspace]) -> None:
    """What nobody knows to belong to a recipe is not copied."""
    for what in _unknown(workspaces):
        print(f"note: {what}", file=sys.stderr)


def _unknown(workspaces: list[Workspace]) -> list[str]:
    """Of which sources nobody knows what recipes need."""
    unknown = []
    for workspace in workspaces:
        file = workspace.source.document.file
        for name, state in workspace.found.items():
            if state.fingerprint is None:
                unknown.append(f"cannot tell what {file} needs of `{name}`: {state.reason}")
    return unknown


def _unneeded(catalog: Store, place: Place, needed: set[str]) -> dict[str, int]:
    """The outputs that are not needed, with their bytes."""
    from codemix.data.remote.needed import name_in
    from codemix.data.store.finished import finished

    sizes: dict[str, int] = {}
    for folder in finished(catalog.root):
        output = name_in(catalog, folder)
        if output not in needed:
            sizes[output] = place.size(output)
    for output in place.unfinished():
        sizes[output] = 0
    return sizes


def _show(done: str, planned: Transfer, place: Place, *, json: bool) -> None:
    from codemix.recipe.planning.cost_estimate import show_bytes

    if json:
        content = {"outputs": planned.outputs, "there": planned.there, "differing": planned.differing}
        return print_json(content)
    for output, size in planned.outputs.items():
        print(f"{output}  {show_bytes(size)}")
    for output in planned.differing:
        print(f"{output}  kept: another result is there under this name")
    total = show_bytes(planned.total_bytes)
    there = len(planned.there) + len(planned.differing)
    return print(f"{place}: {done} {len(planned.outputs):,} outputs, {total}; {there:,} were there")


def _show_removal(unneeded: dict[str, int], needed: int, place: Place, *, deleted: bool, json: bool) -> None:
    from codemix.recipe.planning.cost_estimate import show_bytes

    if json:
        return print_json({"unneeded": unneeded, "needed": needed, "deleted": deleted})
    for output, size in unneeded.items():
        print(f"{output}  {show_bytes(size)}")
    total = show_bytes(sum(unneeded.values()))
    verb = "deleted" if deleted else "not needed (`--delete` deletes it)"
    return print(f"{place}: {len(unneeded):,} outputs, {total}, {verb}; {needed:,} are needed")
