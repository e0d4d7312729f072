"""Phase 2, dedup: which documents one entry of `dedup:` removes, over frozen documents and across sources.

    dedup/<fp12>/removed/<source>/<file of documents>.jsonl.zst    {"row", "id", "kept"} per removed document
                 manifest.json                                     documents and bytes removed, by source

As in datatrove's stages: a key per document and bucket, sorted on disk; documents that share a key match, and
what is connected by matches is a cluster. Of each, the first in the order of the entry (source, file, row)
survives, since a recipe promises that the source named first keeps its copy. The tokens phase skips the rows
listed here.

Texts, and least hashes in a bucket, are equal when their 64-bit keys are: among a billion documents, one chance
in 37 of a single false match a bucket. `minhash` includes `exact`. Documents shorter than a shingle have no signature, and documents above
`MAX_TEXT` get none; those are compared for equality only. A document equal to another always shares its
cluster, so the first of the cluster is the first of its equals, and both stages keep the same one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.build.documents import Documents, DocumentsFile
from codemix.data.build.identity import Identity
from codemix.data.build.marks import write_mark
from codemix.data.build.removal_lists import Rank, write_removal_lists
from codemix.data.build.signatures import KEYS, MAX_RANKS, ComparedFile, SignatureTask
from codemix.data.execution.nodes import Nodes
from codemix.data.execution.runner import Resources, run_tasks
from codemix.data.execution.task import tick
from codemix.data.store.store import write_json
from codemix.recipe.language import schema

if TYPE_CHECKING:
    from codemix.data.dedup.clusters import Place

MATCHES = ".matches"  # a folder of the work, as its dot says: gone when the work is published
RECORD_BYTES = 12  # a key and a position


def files_in_order(documents: Sequence[Documents], before: Sequence[Path]) -> list[ComparedFile]:
    """Every file of the entry's sources, in order of preference."""
    files: list[ComparedFile] = []
    for source in documents:
        lists = [folder / "removed" / source.source for folder in before]
        files += [_compared(source, file, lists) for file in source.files]
    return files


def _compared(source: Documents, file: DocumentsFile, lists: Sequence[Path]) -> ComparedFile:
    return ComparedFile(
        source=source.source,
        path=source.folder / file.path,
        documents=file.documents,
        bytes=file.bytes,
        removed=tuple(folder / file.name for folder in lists),
    )


def ranks_of(files: list[ComparedFile]) -> list[Rank]:
    """Consecutive files, in at most MAX_RANKS groups."""
    files_per_rank = max(1, math.ceil(len(files) / MAX_RANKS))
    ranks: list[Rank] = []
    for start in range(0, len(files), files_per_rank):
        rank = files[start : start + files_per_rank]
        ranks.append(tuple(rank))
    return ranks


@dataclass(frozen=True)
class MatchTask:
    """Stage 2 for one bucket: the documents with equal keys."""

    bucket: int | None  # None: that of equal texts
    work: Path
    size: int  # of the keys [bytes], roughly

    @property
    def name(self) -> str:
        return "dedup, exact matches" if self.bucket is None else f"dedup, matches in bucket {self.bucket}"

    @property
    def done(self) -> Path:
        from codemix.data.dedup.signature_writer import bucket_name

        name = f"matched-{bucket_name(self.bucket)}.json"
        return self.work / ".parts" / name

    def reads(self) -> list[Path]:
        from codemix.data.dedup.signature_writer import bucket_name

        return [self.work / KEYS / bucket_name(self.bucket)]

    def run(self) -> None:
        from codemix.data.dedup.key_files import write_matches
        from codemix.data.dedup.signature_writer import bucket_name

        name = bucket_name(self.bucket)
        write_matches(self.work / KEYS / name, self.work / MATCHES / name)
        tick(self.size)
        write_mark(self.done, {})


def deduplicate(
    entry: schema.Dedup,
    documents: list[Documents],
    before: list[Path],
    identity: Identity,
    resources: Resources,
    nodes: Nodes,
    work: Path,
) -> None:
    """Write into `work` the lists of what `entry` removes, after the entries whose folders are `before`.
    `nodes`: those of a cluster."""
    files = files_in_order(documents, before)
    ranks = ranks_of(files)
    (work / ".parts").mkdir(exist_ok=True)
    signatures = [SignatureTask(entry, number, rank, work) for number, rank in enumerate(ranks)]
    run_tasks(signatures, label="dedup signatures", resources=resources, nodes=nodes)
    size = RECORD_BYTES * sum(file.documents for file in files)
    matches = [MatchTask(bucket, work, size) for bucket in _buckets(entry)]
    run_tasks(matches, label="dedup matches", resources=resources, nodes=nodes)
    removed = _removed(entry, work)
    counts = write_removal_lists(removed, ranks, work)
    nothing = {"documents": 0, "bytes": 0}
    write_json(
        work / "manifest.json",
        {
            "format": 1,
            "fingerprint": identity.fingerprint,
            "identity": identity.content,
            "removed": {source.source: counts.get(source.source, nothing) for source in documents},
            "documents": {source.source: source.documents for source in documents},
        },
    )


def _removed(entry: schema.Dedup, work: Path) -> dict[Place, Place]:
    """Stage 3: the documents to remove, and the one that is kept for each."""
    from codemix.data.dedup.clusters import survivors
    from codemix.data.dedup.key_files import read_matches
    from codemix.data.dedup.signature_writer import bucket_name

    files = [work / MATCHES / bucket_name(bucket) for bucket in _buckets(entry)]
    pairs = map(read_matches, files)
    return survivors(pairs)


def _buckets(entry: schema.Dedup) -> list[int | None]:
    """The matching tasks of an entry: None for equal texts, which `minhash` includes."""
    if entry.kind == "exact":
        return [None]
    return [None, *range(entry.buckets)]
