"""From a step to the documents it reads. No accelerator, no search: the order of rows can be asked for any
step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codemix.data.loader.order import Rows
from codemix.data.loader.shards import Shards, Span
from codemix.data.loader.stage_data import stage_sentinels, training_shards
from codemix.data.loader.step_source import StepSource
from codemix.data.review.run_stages import find_step
from codemix.data.store.manifest import Manifest
from codemix.progress import progress
from codemix.recipe.planning.plan import Plan, StagePlan

SHOWN_METADATA = ("id", "language", "licence")
Metadata = dict[tuple[str, int, int], dict[str, Any]]  # by source, shard and document


def show(
    plan: Plan, run_step: int, manifests: Mapping[str, Manifest], *, stage: str | None = None
) -> list[dict[str, Any]]:
    """What each row of a step reads: `row`, `source`, `epoch`, `window`, `shard` (path), `offset` [tokens],
    `documents`.

    `run_step` counts from the lineage's first stage, as the metrics do; `stage` says which one where several
    stages have that step. A document has `id`, `language`, `licence`, the row's tokens `from` to `to` - 1
    that are its, and where in it they begin (`at`). Tokens count from 0 to `seq_len`: the last one is a
    target only. With fill-in-the-middle, `fim_pieces` were rearranged in the row.
    """
    found = find_step(plan, run_step, stage)
    shards = training_shards(found.stage, manifests)
    reader = _StepReader(found.stage, shards, manifests)
    rows = reader.source.rows(found.step)
    numbers = range(len(rows))
    read = [reader.row(rows, number) for number in numbers]
    metadata = reader.metadata(read)
    return [row.as_json(metadata) for row in read]


@dataclass(frozen=True)
class _ReadRow:
    """One row of a step, before the metadata of its documents is read."""

    content: dict[str, Any]
    source: str
    shard: int
    spans: list[Span]
    fim_pieces: int | None

    def as_json(self, metadata: Metadata) -> dict[str, Any]:
        documents = [self._document(span, metadata) for span in self.spans]
        row = self.content | {"documents": documents}
        if self.fim_pieces is not None:
            row["fim_pieces"] = self.fim_pieces
        return row

    def _document(self, span: Span, metadata: Metadata) -> dict[str, Any]:
        known = metadata[self.source, self.shard, span.document]
        document = {key: known.get(key) for key in SHOWN_METADATA}
        document["from"] = span.start
        document["to"] = span.stop
        document["at"] = span.from_token
        return document


class _StepReader:
    """Reads rows of one stage, as its training does."""

    def __init__(self, stage: StagePlan, shards: Mapping[str, Shards], manifests: Mapping[str, Manifest]):
        self._stage = stage
        self._shards = shards
        manifest = next(iter(manifests.values()))
        sentinels = stage_sentinels(stage, manifest.tokenizer)
        self.source = StepSource(stage, shards, sentinels=sentinels)

    def row(self, rows: Rows, number: int) -> _ReadRow:
        planned = self._stage.sources[rows.source[number]]
        shards = self._shards[planned.source]
        window = int(rows.window[number])
        shard, offset = shards.place(window)
        spans = shards.spans(window)
        content = {
            "row": number,
            "source": planned.source,
            "epoch": int(rows.epoch[number]),
            "window": window,
            "shard": shards.shards[shard].path,
            "offset": offset,
        }
        fim_pieces = None
        if self._stage.fim.get(planned.source):
            fim_pieces = self._fim_pieces(shards, spans, rows, number)
        return _ReadRow(content, planned.source, shard, spans, fim_pieces)

    def _fim_pieces(self, shards: Shards, spans: list[Span], rows: Rows, number: int) -> int:
        """How many pieces of a row fill-in-the-middle rearranges."""
        ends: list[int] = []
        for span in spans:
            read = span.stop - span.start
            if span.from_token + read == span.tokens:
                ends.append(span.stop)
        row = rows.window[number : number + 1]
        window = shards.gather(row)[0]
        places = np.array(ends, np.int64)
        return self.source.fill_in_the_middle(window, places, rows, number)

    def metadata(self, read: list[_ReadRow]) -> Metadata:
        """What is known about the documents of these rows."""
        documents = []
        for row in read:
            documents += [(row.source, row.shard, span.document) for span in row.spans]
        return read_metadata(self._shards, documents)


def read_metadata(shards: Mapping[str, Shards], documents: Iterable[tuple[str, int, int]]) -> Metadata:
    """What is known about documents, by source, shard and number; each shard is read once."""
    wanted: dict[tuple[str, int], set[int]] = {}
    for source, shard, document in documents:
        numbers = wanted.setdefault((source, shard), set())
        numbers.add(document)
    metadata: Metadata = {}
    with progress("reading what is known about the documents", len(wanted), "shards") as advance:
        for (source, shard), numbers in wanted.items():
            known = shards[source].metadata(shard, numbers)
            for document, content in known.items():
                metadata[source, shard, document] = content
            advance()
    return metadata
