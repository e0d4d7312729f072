"""From a document to the steps that read it. No search through steps: the order of rows is asked
backwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from codemix.data.loader.order import Order
from codemix.data.loader.shards import Shards
from codemix.data.loader.stage_data import manifest_of
from codemix.data.review.run_stages import stages_of
from codemix.data.store.manifest import SPLITS, Manifest
from codemix.errors import CodemixError
from codemix.progress import progress
from codemix.recipe.planning.plan import Plan, StagePlan

SHOWN = 6  # sources of which a hint shows an id


@dataclass(frozen=True)
class Seen:
    """Where a document is, and what reads it."""

    places: list[dict[str, Any]]  # source, split, shard (path), document, tokens
    reads: list[dict[str, Any]]  # stage, step, run_step, row, source, epoch, window, from, to; by run step

    @property
    def steps(self) -> list[tuple[str, int]]:
        """(stage, run step) that read the document, each once."""
        steps: dict[tuple[str, int], None] = {}
        for read in self.reads:
            step = (read["stage"], read["run_step"])
            steps[step] = None
        return list(steps)


@dataclass(frozen=True)
class Place:
    """A document in a source's shards."""

    source: str
    split: str
    shard: int
    document: int

    def as_json(self, manifests: Mapping[str, Manifest]) -> dict[str, Any]:
        held = Shards(manifests[self.source], self.split, 1)
        return {
            "source": self.source,
            "split": self.split,
            "shard": held.shards[self.shard].path,
            "document": self.document,
            "tokens": held.document_tokens(self.shard, self.document),
        }


def seen(plan: Plan, manifests: Mapping[str, Manifest], document_id: str) -> Seen:
    """Where a document is, and every step of the plan's lineages that reads any of its tokens.

    Raises CodemixError (`unknown-document`) when no source of the plan holds it.
    """
    stages = list(stages_of(plan))
    names: set[str] = set()
    for stage in stages:
        names.update(planned.source for planned in stage.sources)
    places = places_of(document_id, names, manifests)
    reads: list[dict[str, Any]] = []
    for stage in stages:
        for place in places:
            if place.split == "train":
                reads += _reads(stage, manifests[place.source], place)
    reads.sort(key=lambda read: (read["run_step"], read["stage"], read["row"]))
    shown = [place.as_json(manifests) for place in places]
    return Seen(shown, reads)


def places_of(document_id: str, names: Iterable[str], manifests: Mapping[str, Manifest]) -> list[Place]:
    """Where these sources hold a document. Raises CodemixError (`unknown-document`) when none does."""
    searched = []
    places: list[Place] = []
    for name in sorted(names):
        manifest = manifest_of(name, manifests)
        searched.append(manifest)
        places += _anywhere(manifest, document_id)
    if not places:
        what = f"no source of this recipe holds a document `{document_id}`"
        raise CodemixError(what, hints=hints_on_ids(document_id, searched), rule="unknown-document")
    return places


def _places(manifest: Manifest, split: str, document_id: str) -> Iterator[Place]:
    held = Shards(manifest, split, 1)
    holding = held.holding(document_id)
    with progress(f"looking through {manifest.source} ({split})", len(holding), "shards") as advance:
        for shard in holding:
            for document in held.find(shard, document_id):
                yield Place(manifest.source, split, shard, document)
            advance()


def hints_on_ids(document_id: str, manifests: Iterable[Manifest]) -> list[str]:
    """For an id that no source holds: that of the file's first document, and what ids look like, source by source."""
    first = f"{document_id}#0"
    hints: list[str] = []
    examples: list[str] = []
    for manifest in manifests:
        held = next((shards for split in SPLITS if (shards := Shards(manifest, split, 1)).shards), None)
        if held is None:
            continue
        if next(_anywhere(manifest, first), None) is not None:
            hints = [f"did you mean `{first}`?"]
        for example in held.metadata(0, {0}).values():
            examples.append(f"`{example['id']}` in {manifest.source}")
    if examples:
        hints.append(f"ids look like {', '.join(examples[:SHOWN])}")
    return hints


def _anywhere(manifest: Manifest, document_id: str) -> Iterator[Place]:
    for split in SPLITS:
        yield from _places(manifest, split, document_id)


def _reads(stage: StagePlan, manifest: Manifest, place: Place) -> Iterator[dict[str, Any]]:
    """Every row of a stage that reads a document."""
    names = [planned.source for planned in stage.sources]
    if place.source not in names:
        return
    index = names.index(place.source)
    pool_windows = stage.sources[index].pool_windows
    shards = Shards(manifest, place.split, stage.seq_len)
    order = Order(stage)
    for window in shards.windows_of(place.shard, place.document):
        span = next(span for span in shards.spans(window) if span.document == place.document)
        cursors = order.cursors_of(index, window)
        rows = order.row_of(index, cursors)
        for cursor, row in zip(cursors.tolist(), rows.tolist(), strict=True):
            step = stage.step_of_row(row)
            yield {
                "stage": stage.name,
                "step": step,
                "run_step": stage.run_steps + step,
                "row": row - stage.first_row(step),
                "source": place.source,
                "epoch": cursor // pool_windows,
                "window": window,
                "from": span.start,
                "to": span.stop,
            }
