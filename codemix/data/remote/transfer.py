"""Copying finished outputs between a store and another place, and removing those that nobody needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from codemix.data.remote.places import Place, folder_size
from codemix.data.store.copying import finished_digests
from codemix.data.store.store import Store
from codemix.progress import progress


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
    """Copy from a place, one output after the other, each whole before the next."""
    with progress("pulling", transfer.total_bytes, "bytes") as advance:
        for output in transfer.outputs:
            place.take(store, output, advance)
