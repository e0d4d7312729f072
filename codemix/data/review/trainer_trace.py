"""From a step to its documents and back, for a run that another trainer made on an export of the recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from codemix.data.export.token_sets import DocumentSet
from codemix.data.export.trainer_order import Draws, Piece, TrainerOrder, order_of
from codemix.data.loader.shards import Shards
from codemix.data.loader.stage_data import training_shards
from codemix.data.review.document_trace import Place, Seen, places_of
from codemix.data.review.step_trace import SHOWN_METADATA, Metadata, read_metadata
from codemix.data.store.manifest import Manifest
from codemix.errors import CodemixError
from codemix.recipe.interop.writer import decimals
from codemix.recipe.planning.plan import Plan, StagePlan

Read = dict[str, Any]


def show(
    plan: Plan, step: int, manifests: Mapping[str, Manifest], *, trained_by: str, stage: str | None = None
) -> list[Read]:
    """What each sample of a step reads: `row`, `source`, `sample` (of the source), `documents`, as
    codemix/data/review/step_trace.py gives them.

    `step` counts from 0 in the stage, which is a run of its own there. Raises CodemixError (`no-such-step`,
    `unknown-stage`, `step-ambiguous`, `order-unknown`).
    """
    order = order_of(trained_by)
    chosen = _stage(plan, stage, order.trainer)
    if step >= chosen.steps:
        last = chosen.steps - 1
        raise CodemixError(
            f"stage `{chosen.name}` has no step {step:,}",
            hints=[f"a stage is a run of its own in {order.trainer}: its steps are 0 to {last:,}"],
            rule="no-such-step",
        )
    return _Run(chosen, manifests, order).rows(step)


def seen(
    plan: Plan,
    manifests: Mapping[str, Manifest],
    document_id: str,
    *,
    trained_by: str,
    stage: str | None = None,
) -> Seen:
    """Where a document is, and every step of the stage that reads any of its tokens."""
    order = order_of(trained_by)
    chosen = _stage(plan, stage, order.trainer)
    names = [planned.source for planned in chosen.sources]
    places = places_of(document_id, names, manifests)
    run = _Run(chosen, manifests, order)
    draws = run.order.draws(chosen.steps)
    reads: list[Read] = []
    for place in places:
        if place.split == "train" and place.source in run.order.sources:
            reads += run.reads(place, draws)
    reads.sort(key=lambda read: (read["step"], read["row"]))
    shown = [place.as_json(manifests) for place in places]
    return Seen(shown, reads)


def _stage(plan: Plan, name: str | None, trainer: str) -> StagePlan:
    if name is not None:
        return plan.stage(name)
    n_stages = len(plan.stages)
    if n_stages > 1:
        raise CodemixError(
            f"this recipe has {n_stages} stages, each a run of its own in {trainer}",
            hints=["say which with `--stage NAME`"],
            rule="step-ambiguous",
        )
    return plan.stages[0]


class _Run:
    """A stage's order in its trainer, and the documents that its numbers stand for."""

    def __init__(self, stage: StagePlan, manifests: Mapping[str, Manifest], order: type[TrainerOrder]):
        self._stage = stage
        self._shards: dict[str, Shards] = {}
        self._documents: dict[str, _Documents] = {}
        lengths: dict[str, ndarray] = {}
        shares = decimals(stage)
        for name, shards in training_shards(stage, manifests).items():
            if name in shares:
                self._shards[name] = shards
                self._documents[name] = _Documents.of(shards)
                lengths[name] = DocumentSet(name, shards).lengths()
        self.order = order(stage, shares, lengths)

    def rows(self, step: int) -> list[Read]:
        """The samples of a step, with what is known about their documents."""
        first = step * self.order.batch_size
        draws = self.order.draws(step + 1)
        read: list[_ReadSample] = []
        places: list[tuple[str, int, int]] = []
        for row in range(self.order.batch_size):
            at = first + row
            number = draws.source.item(at)
            name = self.order.sources[number]
            sample = draws.sample.item(at)
            pieces = self._placed(name, sample)
            read.append(_ReadSample(row, name, sample, pieces))
            places += [piece.place for piece in pieces]
        metadata = read_metadata(self._shards, places)
        return [sample.as_json(metadata) for sample in read]

    def _placed(self, source: str, sample: int) -> list[_PlacedPiece]:
        documents = self._documents[source]
        placed = []
        for piece in self.order.source_samples[source].pieces(sample):
            shard, document = documents.place(piece.document)
            place = (source, shard, document)
            placed.append(_PlacedPiece(piece, place))
        return placed

    def reads(self, place: Place, draws: Draws) -> Iterator[Read]:
        """The rows of the run that read a document."""
        name = place.source
        number = self._documents[name].number(place.shard, place.document)
        samples = self.order.source_samples[name]
        holding = samples.samples_of(number)
        is_read = (draws.source == self.order.sources.index(name)) & np.isin(draws.sample, holding)
        for row in np.flatnonzero(is_read).tolist():
            step, row_of_step = divmod(row, self.order.batch_size)
            sample = draws.sample.item(row)
            for piece in samples.pieces(sample):
                if piece.document == number:
                    yield {
                        "stage": self._stage.name,
                        "step": step,
                        "row": row_of_step,
                        "source": name,
                        "sample": sample,
                        "from": piece.start,
                        "to": piece.stop,
                    }


@dataclass(frozen=True)
class _PlacedPiece:
    """Tokens of a sample, and the document that they are of: source, shard, number in it."""

    piece: Piece
    place: tuple[str, int, int]

    def described(self, metadata: Metadata) -> Read:
        known = metadata[self.place]
        described = {key: known.get(key) for key in SHOWN_METADATA}
        described["from"] = self.piece.start
        described["to"] = self.piece.stop
        described["at"] = self.piece.at
        return described


@dataclass(frozen=True)
class _ReadSample:
    """A sample of a step, before the metadata of its documents is read."""

    row: int
    source: str
    sample: int
    pieces: list[_PlacedPiece]

    def as_json(self, metadata: Metadata) -> Read:
        documents = [piece.described(metadata) for piece in self.pieces]
        return {
            "row": self.row,
            "source": self.source,
            "sample": self.sample,
            "documents": documents,
        }


@dataclass(frozen=True)
class _Documents:
    """The documents of a source in the order of its export: shard after shard."""

    first: ndarray  # number of the first document of each shard, and of all

    @classmethod
    def of(cls, shards: Shards) -> _Documents:
        counts = [shard.documents for shard in shards.shards]
        ends = np.cumsum(counts)
        return cls(np.concatenate([[0], ends]))

    def number(self, shard: int, document: int) -> int:
        return self.first.item(shard) + document

    def place(self, number: int) -> tuple[int, int]:
        """The shard that holds a document, and its number there."""
        after = self.first.searchsorted(number, "right")
        shard = int(after) - 1
        document = number - self.first.item(shard)
        return shard, document
