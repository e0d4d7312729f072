"""A store in a bucket, worked in by a local copy of what is needed of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from codemix.data.remote.cache import Cache
from codemix.data.remote.costs import Cost
from codemix.data.remote.needed import outputs_of, read_by_training
from codemix.data.remote.places import BucketPlace
from codemix.data.remote.shared_store import SharedStore
from codemix.data.remote.streaming import BucketReader, Streamed, StreamedStore, streamed
from codemix.data.remote.transfer import Transfer, plan_pull, plan_push, pull, push, refuse_full
from codemix.data.store.manifest import TOKEN_BYTES
from codemix.data.store.store import Store
from codemix.data.workspace import Workspace
from codemix.recipe.planning.plan import StagePlan

TOKENS = "data/"  # how the names of outputs begin that training may leave in the bucket
Open = Callable[[Store], list[Workspace]]  # recipes in a store


@dataclass(frozen=True)
class StagedStore:
    """A store in a bucket; `open` gives the recipes that are worked on, in any store."""

    place: BucketPlace
    open: Open
    cache: Cache = field(default_factory=Cache)

    def close(self) -> None:
        """Use no copy any more."""
        self.cache.close()

    @property
    def local(self) -> Store:
        """The copy, a store as any other."""
        return Store(self.place.cache / "store")

    def shared(self, copy: Store) -> SharedStore:
        """A local copy, as one of several machines'."""
        return SharedStore(self.place, copy, self.cache)

    def catalog(self) -> Store:
        """All that is finished in the bucket, without the data: enough to plan."""
        return self.place.catalog()

    def read_by_training(self, catalog: Store) -> list[str]:
        """What training reads. Raises CodemixError where its data is not built."""
        outputs: list[str] = []
        for workspace in self.open(catalog):
            outputs += read_by_training(workspace)
        return list(dict.fromkeys(outputs))

    def missing_for_training(self) -> Transfer:
        """What training reads and the copy lacks. Raises CodemixError where its data is not built."""
        catalog = self.catalog()
        outputs = self.read_by_training(catalog)
        return self._lacking(outputs)

    def missing(self) -> Transfer:
        """What belongs to the recipes and the copy lacks."""
        catalog = self.catalog()
        outputs = outputs_of(self.open(catalog), catalog)
        return self._lacking(outputs)

    def _lacking(self, outputs: list[str]) -> Transfer:
        """What the copy lacks of outputs, which nobody removes from it until `close`."""
        copy = self.local
        folders = [copy.root / output for output in outputs]
        self.cache.use(folders)
        return plan_pull(copy, outputs, self.place)

    def bring(self, transfer: Transfer) -> None:
        """Copy it, checked by its digests."""
        self.cache.make_room(transfer.total_bytes)
        pull(transfer, self.local, self.place)

    def send_back(self, store: Store) -> Transfer:
        """Put what is finished of the recipes in the copy into the bucket; what was missing there. `store` is the copy,
        as it was worked in."""
        outputs = outputs_of(self.open(store), store)
        transfer = plan_push(self.local, outputs, self.place)
        push(transfer, self.local, self.place)
        return transfer

    def streaming(self) -> Streaming:
        """What training takes that leaves its tokens in the bucket. Raises CodemixError where its data is not built."""
        catalog = self.catalog()
        outputs = self.read_by_training(catalog)
        tokens = [output for output in outputs if output.startswith(TOKENS)]
        others = [output for output in outputs if output not in tokens]
        transfer = self._lacking(others)
        return Streaming(self, catalog, streamed(self.place, catalog, tokens), transfer)

    def cost(self, transfer: Transfer) -> Cost:
        """Of a copy."""
        requests = map(self.place.requests, transfer.outputs)
        return Cost(sum(requests), transfer.total_bytes)


@dataclass(frozen=True)
class Streaming:
    """Training that reads its tokens from the bucket."""

    staged: StagedStore
    catalog: Store
    sources: list[Streamed]
    transfer: Transfer  # of all else that it reads

    @property
    def copied(self) -> Cost:
        """Before training: all but the tokens, and what is small of those."""
        cost = self.staged.cost(self.transfer)
        for source in self.sources:
            files = source.lacking
            n_bytes = sum(file.bytes for file in files)
            cost += Cost(len(files), n_bytes)
        return cost

    @property
    def read(self) -> Cost:
        """In the course of training, by all hosts together: one request for each row of the stages that are left."""
        cost = Cost()
        for workspace in self.staged.open(self.catalog):
            for stage in workspace.plan.stages:
                if not workspace.is_trained(stage):
                    cost += _read_by(workspace, stage)
        return cost

    @contextlib.contextmanager
    def store(self) -> Iterator[StreamedStore]:
        """The local copy, its tokens in the bucket."""
        refuse_full(self.catalog.root, self.copied.bytes)
        self.staged.bring(self.transfer)
        with contextlib.closing(BucketReader(self.staged.place.bucket)) as reader:
            for source in self.sources:
                reader.add(source)
            yield StreamedStore(self.staged.local.root, self.catalog, reader)


def _read_by(workspace: Workspace, stage: StagePlan) -> Cost:
    cost = Cost()
    for planned in stage.sources:
        manifest = workspace.manifests[planned.source]
        window = (stage.seq_len + 1) * TOKEN_BYTES[manifest.dtype]
        cost += Cost(planned.windows, planned.windows * window)
    return cost
