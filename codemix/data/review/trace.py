"""From a step to the documents it reads, and from a document to the steps that read it. No accelerator, no search through steps.

Both are read off the plan: the order is a function that can be asked forwards and backwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codemix.data.loader.batches import StepSource
from codemix.data.loader.fill_in_the_middle import sentinels_of
from codemix.data.loader.order import Order
from codemix.data.loader.shards import Shards
from codemix.data.store.manifest import SPLITS, Manifest
from codemix.errors import CodemixError
from codemix.progress import progress


@dataclass(frozen=True)
class Seen:
    """Where a document lies, and what reads it."""

    places: list[dict[str, Any]]  # source, split, shard (path), document, tokens
    reads: list[dict[str, Any]]  # stage, step, run_step, row, source, epoch, window, from, to; by run step

    @property
    def steps(self) -> list[tuple[str, int]]:
        """(stage, run step) that read the document, each once."""
        return list(dict.fromkeys((r["stage"], r["run_step"]) for r in self.reads))


def show(
    plan, run_step: int, manifests: Mapping[str, Manifest], *, stage: str | None = None
) -> list[dict[str, Any]]:
    """What each row of a step reads: `row`, `source`, `epoch`, `window`, `shard` (path), `offset` [tokens] and its `documents`.

    `run_step` counts from the lineage's first stage, as the metrics do; `stage` says which one where several stages have that step.
    A document has `id`, `language`, `licence`, the row's tokens `from` to `to` - 1 that are its, and where in it they begin (`at`).
    Tokens count from 0 to `seq_len`: the last one is a target only. With fill-in-the-middle, `fim_pieces` were rearranged in the row.
    """
    planned, step = _stage_of(plan, run_step, stage)
    shards = _shards(planned, manifests)
    sentinels = sentinels_of(next(iter(manifests.values())).tokenizer) if any(planned.fim.values()) else None
    source = StepSource(planned, shards, sentinels=sentinels)
    read, found, wanted = source.rows(step), [], {}
    for row in range(len(read)):
        name = planned.sources[read.source[row]].source
        mine, window = shards[name], int(read.window[row])
        shard, offset = mine.place(window)
        spans = mine.spans(window)
        wanted.setdefault((name, shard), set()).update(s.document for s in spans)
        entry = {
            "row": row,
            "source": name,
            "epoch": int(read.epoch[row]),
            "window": window,
            "shard": mine.shards[shard].path,
            "offset": offset,
            "documents": [(shard, s) for s in spans],
        }
        if planned.fim.get(name):
            ends = np.array([s.stop for s in spans if s.from_token + s.stop - s.start == s.tokens], np.int64)
            entry["fim_pieces"] = source.fill_in_the_middle(
                mine.gather(read.window[row : row + 1])[0], ends, read, row
            )
        found.append(entry)
    known = {}
    with progress("reading what is known about the documents", len(wanted), "shards") as advance:
        for (name, shard), documents in wanted.items():
            known[name, shard] = shards[name].metadata(shard, documents)
            advance()
    for entry in found:
        entry["documents"] = [
            {k: known[entry["source"], shard][s.document].get(k) for k in ("id", "language", "licence")}
            | {"from": s.start, "to": s.stop, "at": s.from_token}
            for shard, s in entry["documents"]
        ]
    return found


def seen(plan, manifests: Mapping[str, Manifest], document_id: str) -> Seen:
    """Where a document lies and every step of the plan's lineages that reads any of its tokens.

    Raises CodemixError (`unknown-document`) when no source of the plan holds it.
    """
    stages = list(_lineages(plan))
    names = sorted({s.source for planned, _ in stages for s in planned.sources})
    places, example = [], None
    for name in names:
        if name not in manifests:
            raise _no_manifest(name)
        for split in SPLITS:
            held = Shards(manifests[name], split, 1)
            if example is None and held.shards:
                example = held.metadata(0, {0}).get(0)
            holding = held.holding(document_id)
            with progress(f"looking through {name} ({split})", len(holding), "shards") as advance:
                for shard in holding:
                    for document in held.find(shard, document_id):
                        places.append((name, split, shard, document))
                    advance()
    if not places:
        raise CodemixError(
            f"no source of this recipe holds a document `{document_id}`",
            hints=[f"an id looks like `{example['id']}`"] if example else [],
            rule="unknown-document",
        )
    reads = [
        read
        for planned, before in stages
        for place in places
        if place[1] == "train"
        for read in _reads(planned, before, manifests, place)
    ]
    said = []
    for name, split, shard, document in places:
        held = Shards(manifests[name], split, 1)
        said.append(
            {
                "source": name,
                "split": split,
                "shard": held.shards[shard].path,
                "document": document,
                "tokens": held.document_tokens(shard, document),
            }
        )
    return Seen(said, sorted(reads, key=lambda r: (r["run_step"], r["stage"], r["row"])))


def _reads(
    planned, before: int, manifests: Mapping[str, Manifest], place: tuple[str, str, int, int]
) -> Iterator[dict[str, Any]]:
    name, split, shard, document = place
    index = next((i for i, s in enumerate(planned.sources) if s.source == name), None)
    if index is None:
        return
    mine, order = Shards(manifests[name], split, planned.seq_len), Order(planned)
    for window in mine.windows_of(shard, document):
        span = next(s for s in mine.spans(window) if s.document == document)
        cursors = order.cursors_of(index, window)
        for cursor, row in zip(cursors.tolist(), order.row_of(index, cursors).tolist(), strict=True):
            step = planned.step_of_row(row)
            yield {
                "stage": planned.name,
                "step": step,
                "run_step": before + step,
                "row": row - planned.first_row(step),
                "source": name,
                "epoch": cursor // planned.sources[index].pool_windows,
                "window": window,
                "from": span.start,
                "to": span.stop,
            }


def _lineages(plan) -> Iterator[tuple[Any, int]]:
    """Each stage that the plan trains or starts from, once, with the steps of its lineage before it."""
    done: dict[int, None] = {}
    for stage in plan.stages:
        chain = []
        while stage is not None and id(stage) not in done:
            chain.append(stage)
            done[id(stage)] = None
            stage = stage.parent
        for planned in reversed(chain):
            yield planned, planned.run_steps


def _stage_of(plan, run_step: int, name: str | None) -> tuple[Any, int]:
    stages = [(planned, before) for planned, before in _lineages(plan) if name in (None, planned.name)]
    found = [
        (planned, run_step - before)
        for planned, before in stages
        if before <= run_step < before + planned.steps
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise CodemixError(
            f"step {run_step:,} is in {len(found)} stages that start from the same one: {', '.join(f'`{s.name}`' for s, _ in found)}",
            hints=["say which with `--stage NAME`"],
            rule="step-ambiguous",
        )
    ranges = [
        f"`{planned.name}` has steps {before:,} to {before + planned.steps - 1:,}"
        for planned, before in stages
        if planned.steps
    ]
    raise CodemixError(
        f"no stage of this recipe has step {run_step:,}" + (f" and is called `{name}`" if name else ""),
        hints=ranges,
        rule="no-such-step",
    )


def _shards(planned, manifests: Mapping[str, Manifest]) -> dict[str, Shards]:
    if missing := [s.source for s in planned.sources if s.source not in manifests]:
        raise _no_manifest(missing[0])
    return {s.source: Shards(manifests[s.source], "train", planned.seq_len) for s in planned.sources}


def _no_manifest(name: str) -> CodemixError:
    return CodemixError(
        f"the tokens of `{name}` are not in the store", hints=["run `codemix build-data`"], rule="not-built"
    )
