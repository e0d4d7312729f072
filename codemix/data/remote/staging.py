"""A store in a bucket, worked in by a local copy of what is needed of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codemix.data.remote.needed import outputs_of, read_by_training
from codemix.data.remote.places import BucketPlace
from codemix.data.remote.transfer import Transfer, plan_pull, plan_push, pull, push
from codemix.data.store.store import Store
from codemix.data.workspace import Workspace
from codemix.recipe.planning.cost_estimate import show_bytes

LINE_RATE = 125e6  # bytes a second, of 1 Gbit/s
Open = Callable[[Store], list[Workspace]]  # recipes in a store


@dataclass(frozen=True)
class StagedStore:
    """A store in a bucket; `open` gives the recipes that are worked on, in any store."""

    place: BucketPlace
    open: Open

    @property
    def local(self) -> Store:
        """The copy, a store as any other."""
        return Store(self.place.cache / "store")

    def catalog(self) -> Store:
        """All that is finished in the bucket, without the data: enough to plan."""
        return self.place.catalog()

    def missing_for_training(self) -> Transfer:
        """What training reads and the copy lacks. Raises CodemixError where its data is not built."""
        outputs: list[str] = []
        for workspace in self.open(self.catalog()):
            outputs += read_by_training(workspace)
        return plan_pull(self.local, dict.fromkeys(outputs), self.place)

    def missing(self) -> Transfer:
        """What belongs to the recipes and the copy lacks."""
        catalog = self.catalog()
        outputs = outputs_of(self.open(catalog), catalog)
        return plan_pull(self.local, outputs, self.place)

    def bring(self, transfer: Transfer) -> None:
        """Copy it, checked by its digests."""
        pull(transfer, self.local, self.place)

    def send_back(self) -> Transfer:
        """Put what is finished of the recipes in the copy into the bucket; what was missing there."""
        outputs = outputs_of(self.open(self.local), self.local)
        transfer = plan_push(self.local, outputs, self.place)
        push(transfer, self.local, self.place)
        return transfer

    def cost(self, transfer: Transfer) -> str:
        """What a copy costs: `3 outputs, 1.2 GB in 21 requests, about 10 s at 1 Gbit/s`."""
        requests = 0
        for output in transfer.outputs:
            requests += self.place.requests(output)
        n_bytes = transfer.total_bytes
        seconds = n_bytes / LINE_RATE
        size = show_bytes(n_bytes)
        outputs = f"{len(transfer.outputs):,} outputs"
        return f"{outputs}, {size} in {requests:,} requests, about {seconds:,.0f} s at 1 Gbit/s"
