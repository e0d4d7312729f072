"""Stores that several machines share: a local copy, and behind it the place where the others find what is
finished. Standard library only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol


class Sharing(Protocol):
    """The place behind a store. An output is named by its folder's path inside the store."""

    def hold(self, output: str, lock: Path) -> contextlib.AbstractContextManager[None]:
        """Keep all other machines from working on an output, and have it here where one of them has finished it.
        `lock`: the file whose lock this process holds for it. Raises CodemixError (`store-busy`) where another
        machine works on it."""
        ...

    def bring(self, output: str) -> None:
        """Have an output here, where it is not and another machine has finished it."""
        ...

    def give(self, output: str) -> None:
        """Put a finished output where the others find it."""
        ...

    def discard(self, output: str) -> None:
        """Delete what other machines have made for an output whose work is given up."""
        ...

    def nodes(self) -> Any:
        """What sends tasks to machines that share nothing else with this one: execution.nodes.Nodes."""
        ...


_shared: dict[Path, Sharing] = {}


@contextlib.contextmanager
def shared(root: Path, place: Sharing) -> Iterator[None]:
    """In this block, and in this process, what is done in the store at `root` is shared."""
    key = root.absolute()
    _shared[key] = place
    try:
        yield
    finally:
        del _shared[key]


def place_behind(root: Path) -> Sharing | None:
    """What a store is a copy of, if other machines share it."""
    return _shared.get(root.absolute())
