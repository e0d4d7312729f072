"""Copying finished outputs between a store and another place, and removing those that nobody needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codemix.data.remote.places import Place, folder_size
from codemix.data.store.copying import finished_digests
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.progress import progress
from codemix.recipe.planning.cost_estimate import show_bytes


@dataclass(frozen=True)
class Transfer:
    """What a copy of outputs comes to, before it is made."""

    outputs: dict[str, int]  # to be copied: their bytes
    there: tuple[str, ...]  # already
    differing: tuple[str, ...]  # there with other content under the same name, which is kept

    @property
    def total_bytes(self) -> int:
        return sum(self.outputs.values())


def plan_push(store: Store, outputs: Iterable[str], place: Place) -> Transfer:
    """What of a store's outputs a place lacks. Raises CodemixError where one is not whole."""
    lacking: dict[str, int] = {}
    there: list[str] = []
    differing: list[str] = []
    for output in outputs:
        folder = store.root / output
        ours = finished_digests(folder)
        theirs = place.digests(output)
        if theirs is None:
            lacking[output] = folder_size(folder)
        elif theirs == ours:
            there.append(output)
        else:
            differing.append(output)
    return Transfer(lacking, tuple(there), tuple(differing))


def plan_pull(store: Store, outputs: Iterable[str], place: Place) -> Transfer:
    """What of a place's outputs a store lacks. Raises CodemixError where one of the store is not whole."""
    lacking: dict[str, int] = {}
    there: list[str] = []
    for output in outputs:
        folder = store.root / output
        if folder.is_dir():
            finished_digests(folder)
            there.append(output)
        else:
            lacking[output] = place.size(output)
    return Transfer(lacking, tuple(there), ())


def push(transfer: Transfer, store: Store, place: Place) -> None:
    """Copy into a place, one output after the other, each whole before the next."""
    with progress("pushing", transfer.total_bytes, "bytes") as advance:
        for output in transfer.outputs:
            place.give(store, output, advance)


def pull(transfer: Transfer, store: Store, place: Place) -> None:
    """Copy from a place, one output after the other, each whole before the next.

    Raises CodemixError before the first where the disk has less room than they take.
    """
    refuse_full(store.root, transfer.total_bytes)
    with progress("pulling", transfer.total_bytes, "bytes") as advance:
        for output in transfer.outputs:
            place.take(store, output, advance)


def refuse_full(root: Path, wanted: int) -> None:
    """Raises CodemixError where the disk of a folder has less room."""
    there = root.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < wanted:
        raise CodemixError(
            f"{root} has {show_bytes(free)} of free space, and {show_bytes(wanted)} are to be copied there",
            hints=[
                "free some space, or choose another folder: `--store`, or CODEMIX_CACHE for copies of buckets"
            ],
            rule="disk-full",
        )
