"""Commands whose store may be in a bucket: they run on a local copy of what they need."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codemix.cli.context import refusal
from codemix.errors import CodemixError

if TYPE_CHECKING:
    from codemix.data.remote.staging import StagedStore
    from codemix.data.store.store import Store
    from codemix.data.workspace import Workspace

Command = Callable[..., Any]
Needs = Literal["catalog", "training", "everything"]
_NAMED_BY = ("recipe", "recipes", "runs", "study", "space")  # arguments that say which outputs are meant
_SHARED = {  # options of work on several machines, and their values that are fine
    "executor": ("local",),
    "coordinator": (None,),
    "hosts": (None,),
    "host": (None,),
}


def over_buckets(
    needs: Needs, *, writes: bool = False, tells_cost: bool = False, whole_with: str = ""
) -> Callable[[Command], Command]:
    """Lets a command's `store` be an address. `needs`: which of what belongs to its recipes is copied first, the
    JSON files of the whole store alone for `catalog`. `writes`: what it finishes is pushed when it ends.
    `tells_cost`: it ends with what training would copy. `whole_with`: an option with which it reads everything.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)

        @functools.wraps(command)
        def run(*words: Any, **options: Any) -> Any:
            bound = signature.bind(*words, **options)
            bound.apply_defaults()
            given = bound.arguments
            address = given["store"]
            if not isinstance(address, str):
                return command(**given)
            staged = _staged(address, given)
            reads = "everything" if given.get(whole_with) else needs
            if reads == "catalog":
                result = command(**given | {"store": staged.catalog().root})
                if tells_cost:
                    _say_what_training_copies(staged)
                return result
            _refuse_other_machines(given)
            _bring(staged, reads)
            result = command(**given | {"store": staged.local.root})
            if writes:
                _send_back(staged)
            return result

        return run

    return decorate


def _staged(address: str, given: dict[str, Any]) -> StagedStore:
    from codemix.data.remote.bucket import Bucket
    from codemix.data.remote.places import BucketPlace
    from codemix.data.remote.staging import StagedStore

    def workspaces(store: Store) -> list[Workspace]:
        from codemix.cli.context import contexts

        named = [given[argument] for argument in _NAMED_BY if given.get(argument)]
        if not named:
            raise refusal(
                f"{address} is a bucket: name the recipe whose outputs are meant", rule="store-not-local"
            )
        [recipes] = named
        paths = [recipes] if isinstance(recipes, Path) else recipes
        _, opened = contexts(paths, store.root, given["data_root"])
        return opened

    return StagedStore(BucketPlace(Bucket(address)), workspaces)


def _refuse_other_machines(given: dict[str, Any]) -> None:
    for option, fine in _SHARED.items():
        if option in given and given[option] not in fine:
            raise refusal(
                f"`--{option} {given[option]}` works on other machines too, and {given['store']} is copied to this one",
                "give `--store` a folder that all of them share, `codemix pull` what is there, `push` afterwards",
                rule="store-not-local",
            )


def _bring(staged: StagedStore, needs: Needs) -> None:
    transfer = staged.missing_for_training() if needs == "training" else staged.missing()
    if transfer.outputs:
        cost = staged.cost(transfer)
        print(f"{staged.place}: copying {cost}, to {staged.local.root}", file=sys.stderr)
    staged.bring(transfer)


def _send_back(staged: StagedStore) -> None:
    sent = staged.send_back()
    if sent.outputs:
        print(f"{staged.place}: pushed {', '.join(sent.outputs)}", file=sys.stderr)
    for output in sent.differing:
        print(f"{staged.place}: another {output} was there first, and is kept", file=sys.stderr)


def _say_what_training_copies(staged: StagedStore) -> None:
    try:
        cost = staged.cost(staged.missing_for_training())
    except CodemixError:
        return  # not all of it is built, which the plan has said
    print(f"note: `codemix train` copies {cost}, from {staged.place}", file=sys.stderr)
