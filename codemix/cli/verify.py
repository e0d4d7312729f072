"""The command that finds what is damaged in a store: verify."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    DataRootOption,
    JsonOption,
    load,
    print_json,
)
from codemix.cli.over_buckets import over_buckets
from codemix.errors import EXIT_PROBLEM

if TYPE_CHECKING:
    from codemix.data.workspace import Workspace
    from codemix.errors import Problem
    from codemix.recipe.lock import Lock


@over_buckets("everything")
def verify(
    recipe: Annotated[
        Path | None,
        typer.Argument(help="A recipe; without one, all that is finished in the store.", show_default=False),
    ] = None,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
) -> int:
    """Check every finished file against its recorded digest.

    With a recipe: its data, what that was made from, and the stages, scores and reports that were made of it;
    shards also against <recipe>.lock, where there is one. With a lock the inputs need not be there any more: it
    knows which shards to expect.
    """
    from codemix.data.remote.needed import fingerprints_of
    from codemix.data.review import lock_check
    from codemix.data.review.verify import verify as verify_folders
    from codemix.data.store.finished import finished, related

    notes: list[str] = []
    if recipe is None:
        done = verify_folders(finished(store))
        problems = list(done.problems)
    else:
        workspace = load(recipe, store, data_root)
        lock = _lock_beside(recipe)
        if lock is None:
            workspace.manifests  # noqa: B018 - refuses an unbuilt source
        done = verify_folders(related(store, fingerprints_of(workspace)))
        problems = list(done.problems)
        if lock is not None:
            problems += lock_check.check(lock, workspace.store, digests=done.measured)
            notes += _not_looked_up(workspace)
    if done.unlisted:
        which = _first_few(done.unlisted, 5)
        notes.append(
            f"finished before codemix kept digests, so only what their manifests say was checked: {which}"
        )
    if json:
        shown = [problem.as_json() for problem in problems]
        print_json({"checked": dict(done.checked), "problems": shown, "notes": notes})
    else:
        _show_checked(recipe or store, done.checked, problems, notes)
    return EXIT_PROBLEM if problems else 0


def _show_checked(
    what: Path, checked: Mapping[str, int], problems: Sequence[Problem], notes: Sequence[str]
) -> None:
    for problem in problems:
        print(problem.render() + "\n", file=sys.stderr)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    counts = [f"{kind} {count:,}" for kind, count in checked.items()]
    by_kind = ", ".join(counts) or "none is finished"
    outputs = sum(checked.values())
    print(f"{what}: {outputs:,} outputs checked ({by_kind}), {len(problems):,} problems")


def _lock_beside(recipe: Path) -> Lock | None:
    from codemix.recipe import lock

    path = recipe.with_suffix(".lock")
    return lock.read(path) if path.exists() else None


def _not_looked_up(workspace: Workspace) -> list[str]:
    from codemix.data.build.inventory import NOT_HERE

    notes = []
    for name, state in workspace.found.items():
        if state.fingerprint is None:
            notes.append(f"`{name}` was not looked up by its inputs: {state.reason}")
        elif state.reason == NOT_HERE:
            notes.append(f"`{name}` was looked up by what the store says of its inputs: they are not here")
    return notes


def _first_few(names: Sequence[str], most: int) -> str:
    shown = ", ".join(names[:most])
    if len(names) > most:
        shown += f" and {len(names) - most:,} more"
    return shown
