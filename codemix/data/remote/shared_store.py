"""A local copy of a store whose bucket other machines write to as well: leases before work, and what is finished
goes there at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from codemix.data.remote import leases
from codemix.data.remote.bucket_nodes import BucketNodes
from codemix.data.remote.cache import Cache
from codemix.data.remote.places import BucketPlace
from codemix.data.remote.transfer import plan_push
from codemix.data.store import sharing
from codemix.data.store.store import BUILDING, Store


@dataclass(frozen=True)
class SharedStore:
    """What is behind a local copy."""

    place: BucketPlace
    local: Store
    cache: Cache
    given: list[str] = field(default_factory=list)  # outputs, as they were finished

    def at_work(self) -> contextlib.AbstractContextManager[None]:
        """In this block the local copy is shared."""
        return sharing.shared(self.local.root, self)

    @contextlib.contextmanager
    def hold(self, output: str, lock: Path) -> Iterator[None]:
        """Hold the lease of an output, and have it here where another machine has finished it."""
        self.cache.use([self.local.root / output])
        with leases.hold(self.place.bucket, output, lock):
            self._bring(output)
            yield

    def bring(self, output: str) -> None:
        """Have an output here, where it is not and another machine has finished it."""
        if self.place.digests(output) is None:
            return
        self.cache.use([self.local.root / output])
        with self.place.copying():
            self.cache.make_room(self.place.size(output))
            self.place.take(self.local, output, lambda n_bytes: None)

    def _bring(self, output: str) -> None:
        folder = self.local.root / output
        if folder.exists() or self.place.digests(output) is None:
            return
        self.cache.make_room(self.place.size(output))
        self.place.fetch(self.local, output, lambda n_bytes: None)

    def give(self, output: str) -> None:
        """Put a finished output into the bucket."""
        lacking = plan_push(self.local, [output], self.place).outputs
        for name in lacking:
            self.place.give(self.local, name, lambda n_bytes: None)
            self.given.append(name)
        self.discard(output)

    def discard(self, output: str) -> None:
        """Delete what nodes have made for an output."""
        self.place.clear(f"{BUILDING}/{output}")

    def nodes(self) -> BucketNodes:
        """The nodes of a cluster that builds in the bucket."""
        return BucketNodes(self.place, self.local)
