"""The local copies of stores in buckets: which of them are in use, and which go when there is no room for more.

<cache>/<bucket>/store/<output>      a copy; the time of its folder is that of its last use
<cache>/<bucket>/catalog/<output>    its JSON files, where the bucket has it
<cache>/in-use/<nonce>               the copies that one command uses, locked by it: a dead one's lock is free
<cache>/in-use/.lock                 held by whoever adds to these files, or removes copies
<cache>/removed/<nonce>              copies that are being deleted
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import uuid
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from codemix import environment
from codemix.data.remote.places import folder_size
from codemix.data.store.finished import finished
from codemix.data.store.store import disk_problem
from codemix.errors import CodemixError
from codemix.files import one_at_a_time
from codemix.recipe.planning.cost_estimate import show_bytes


@dataclass(frozen=True)
class Copy:
    """A finished output in a local copy."""

    name: str  # its path inside the cache
    folder: Path
    bytes: int

    @property
    def last_used(self) -> float:
        return self.folder.stat().st_mtime

    @property
    def is_in_bucket(self) -> bool:
        """Whether the bucket had it when it was last asked; what was made here may not have been pushed yet."""
        store = self.folder.parents[1]
        output = self.folder.relative_to(store)
        catalog = store.with_name("catalog")
        return (catalog / output).exists()


def _total(copies: list[Copy]) -> int:
    sizes = [copy.bytes for copy in copies]
    return sum(sizes)


@dataclass
class Cache:
    """The cache, as one command uses it."""

    root: Path = field(default_factory=environment.cache)
    limit: int | None = field(default_factory=environment.cache_bytes)
    _mine: TextIO | None = None

    def use(self, folders: Iterable[Path]) -> None:
        """Keep these copies, there or to come, until `close`. Raises CodemixError where the cache cannot be written."""
        try:
            with self._changing():
                mine = self._my_file()
                for folder in folders:
                    print(folder.relative_to(self.root).as_posix(), file=mine)
                    if folder.exists():
                        os.utime(folder)
                mine.flush()
        except OSError as error:
            raise disk_problem(error, self._in_use) from error

    def close(self) -> None:
        """Use nothing any more."""
        if self._mine is not None:
            Path(self._mine.name).unlink(missing_ok=True)
            self._mine.close()
            self._mine = None

    def make_room(self, wanted: int) -> None:
        """Remove what was used least recently, so that `wanted` bytes more keep to the limit.

        Never what a live command uses, nor what may be in no bucket. Raises CodemixError, and removes nothing, where
        that is not enough.
        """
        if self.limit is None or not wanted:
            return
        with self._changing():
            copies = self._copies()
            excess = _total(copies) + wanted - self.limit
            removable = self._removable(copies)
            if excess > _total(removable):
                raise self._too_small(self.limit, wanted)
            removable.sort(key=lambda copy: copy.last_used)
            for copy in removable:
                if excess > 0:
                    self._remove(copy)
                    excess -= copy.bytes

    @property
    def _in_use(self) -> Path:
        return self.root / "in-use"

    def _changing(self) -> AbstractContextManager[None]:
        return one_at_a_time(self._in_use / ".lock")

    def _my_file(self) -> TextIO:
        if self._mine is None:
            self._mine = open(self._in_use / uuid.uuid4().hex, "x")  # noqa: SIM115 - locked until `close`
            fcntl.flock(self._mine, fcntl.LOCK_EX)
        return self._mine

    def _copies(self) -> list[Copy]:
        copies = []
        for store in self.root.glob("*/store"):
            for folder in finished(store):
                name = folder.relative_to(self.root).as_posix()
                copies.append(Copy(name, folder, folder_size(folder)))
        return copies

    def _removable(self, copies: list[Copy]) -> list[Copy]:
        used = self._used()
        removable = []
        for copy in copies:
            if copy.is_in_bucket and copy.name not in used:
                removable.append(copy)
        return removable

    def _used(self) -> set[str]:
        """By all live commands, this one too."""
        names: set[str] = set()
        for path in self._in_use.glob("[!.]*"):
            with open(path) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                except BlockingIOError:
                    names.update(file.read().splitlines())
        return names

    def _remove(self, copy: Copy) -> None:
        removed = self.root / "removed"
        try:
            removed.mkdir(exist_ok=True)
            copy.folder.rename(removed / uuid.uuid4().hex)  # at once: what is half deleted would look damaged
            shutil.rmtree(removed)
        except OSError as error:
            raise disk_problem(error, copy.folder) from error
        limit = f"{environment.CACHE_GB} is {show_bytes(self.limit or 0)}"
        print(f"{copy.folder}: removed, {show_bytes(copy.bytes)}; {limit}", file=sys.stderr)

    def _too_small(self, limit: int, wanted: int) -> CodemixError:
        may = f"{self.root} may hold {show_bytes(limit)}"
        return CodemixError(
            f"{may}, and {show_bytes(wanted)} are to be copied there beside what is in use or not pushed yet",
            hints=[
                f"raise {environment.CACHE_GB}, or unset it",
                "`codemix train --shards stream` copies no tokens",
            ],
            rule="cache-limit",
        )
