"""From a step to its documents and back, for a run that Megatron trained on an export of the recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from codemix.data.export.megatron_order import MegatronOrder, Piece
from codemix.data.export.token_sets import DocumentSet
from codemix.data.loader.shards import Shards
from codemix.data.loader.stage_data import training_shards
from codemix.data.review.document_trace import Place, Seen, places_of
from codemix.data.review.step_trace import SHOWN_METADATA
from codemix.data.store.manifest import Manifest
from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.interop.writer import decimals
from codemix.recipe.planning.plan import Plan, StagePlan

Read = dict[str, Any]


def show(plan: Plan, step: int, manifests: Mapping[str, Manifest], *, stage: str | None = None) -> list[Read]:
    """What each sample of a step reads: `row`, `source`, `sample` (of the source), `documents`, as
    codemix/data/review/step_trace.py gives them.

    `step` counts from 0 in the stage, which is a run of its own in Megatron. Raises CodemixError
    (`no-such-step`, `unknown-stage`, `megatron-order`).
    """
    chosen = _stage(plan, stage)
    if step >= chosen.steps:
        last = chosen.steps - 1
        raise CodemixError(
            f"stage `{chosen.name}` has no step {step:,}",
            hints=[f"a stage is a run of its own in Megatron: its steps are 0 to {last:,}"],
            rule="no-such-step",
        )
    run = _Run(chosen, manifests)
    first = step * run.order.batch_size
    drawn = run.order.blend(step + 1)
    rows = []
    for row in range(run.order.batch_size):
        name = run.order.sources[drawn.source[first + row]]
        sample = int(drawn.sample[first + row])
        documents = list(run.documents(name, sample))
        rows.append({"row": row, "source": name, "sample": sample, "documents": documents})
    return rows


def seen(
    plan: Plan, manifests: Mapping[str, Manifest], document_id: str, *, stage: str | None = None
) -> Seen:
    """Where a document is, and every step of the stage that reads any of its tokens."""
    chosen = _stage(plan, stage)
    names = [planned.source for planned in chosen.sources]
    places = places_of(document_id, names, manifests)
    run = _Run(chosen, manifests)
    drawn = run.order.blend(chosen.steps)
    reads: list[Read] = []
    for place in places:
        if place.split == "train" and place.source in run.order.source_samples:
            reads += run.reads(place, drawn.source, drawn.sample)
    reads.sort(key=lambda read: (read["step"], read["row"]))
    shown = [place.as_json(manifests) for place in places]
    return Seen(shown, reads)


def _stage(plan: Plan, name: str | None) -> StagePlan:
    by_name = {stage.name: stage for stage in plan.stages}
    if name is None and len(by_name) == 1:
        (only,) = by_name.values()
        return only
    if name is None:
        raise CodemixError(
            f"this recipe has {len(by_name)} stages, each a run of its own in Megatron",
            hints=["say which with `--stage NAME`"],
            rule="step-ambiguous",
        )
    if name not in by_name:
        raise CodemixError(
            f"there is no stage `{name}`", hints=did_you_mean(name, by_name), rule="unknown-stage"
        )
    return by_name[name]


class _Run:
    """A stage's order in Megatron, and the documents that its numbers stand for."""

    def __init__(self, stage: StagePlan, manifests: Mapping[str, Manifest]):
        self._stage = stage
        self._sources: dict[str, _Documents] = {}
        lengths: dict[str, ndarray] = {}
        shares = decimals(stage)
        for name, shards in training_shards(stage, manifests).items():
            if name in shares:
                self._sources[name] = _Documents(shards)
                lengths[name] = DocumentSet(name, shards).lengths()
        self.order = MegatronOrder(stage, shares, lengths)

    def documents(self, source: str, sample: int) -> Iterator[Read]:
        of_source = self.order.source_samples[source]
        documents = self._sources[source]
        for piece in of_source.pieces(sample):
            yield documents.described(piece)

    def reads(self, place: Place, sources: ndarray, samples: ndarray) -> Iterator[Read]:
        """The rows of the run that read a document."""
        name = place.source
        of_source = self.order.source_samples[name]
        number = self._sources[name].number(place.shard, place.document)
        is_read = (sources == self.order.sources.index(name)) & np.isin(samples, of_source.samples_of(number))
        for row in np.flatnonzero(is_read).tolist():
            step, row_of_step = divmod(row, self.order.batch_size)
            sample = int(samples[row])
            for piece in of_source.pieces(sample):
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


@dataclass
class _Documents:
    """The documents of a source in the order of its export: shard after shard."""

    shards: Shards

    def __post_init__(self) -> None:
        counts = [shard.documents for shard in self.shards.shards]
        ends = np.cumsum(counts)
        self._first = np.concatenate([[0], ends])

    def number(self, shard: int, document: int) -> int:
        return self._first.item(shard) + document

    def described(self, piece: Piece) -> Read:
        after = self._first.searchsorted(piece.document, "right")
        shard = int(after) - 1
        document = piece.document - self._first.item(shard)
        metadata = self.shards.metadata(shard, {document})
        known = metadata[document]
        described = {key: known.get(key) for key in SHOWN_METADATA}
        described["from"] = piece.start
        described["to"] = piece.stop
        described["at"] = piece.at
        return described
