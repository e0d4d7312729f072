"""Phase 2, dedup: which documents one entry of `dedup:` removes, over frozen documents and across sources.

    dedup/<fp12>/removed/<source>/<file of documents>.jsonl.zst    {"row", "id", "kept"} a removed document
                 manifest.json                                     documents and bytes removed, by source

Signatures, matching and clustering are datatrove's exact and MinHash stages. The survivor is ours: datatrove keeps the root
of the largest union, whichever that is, where a recipe promises that the source named first keeps its copy. So the last
stage takes each cluster's first document in the order of the entry (source, file, row), and datatrove's filter, which
would read everything once more to drop by position, is not needed: the tokens phase skips the rows listed here.

Texts are equal when their 64-bit hashes are: among a billion documents, one chance in 37 of a single false match.
`minhash` includes `exact`. Documents shorter than a shingle have no signature, and documents above `MAX_TEXT` get none;
those are compared for equality only. A document equal to another always shares its cluster, so the first of the
cluster is the first of its equals, and both stages keep the same one.
"""

from __future__ import annotations

import bisect
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.build.documents import Documents
from codemix.data.build.identity import Identity
from codemix.data.build.minhash import MAX_RANKS, DocumentFile, SignatureTask, exact_config, minhash_config
from codemix.data.document import utf8_bytes
from codemix.data.execution.runner import Executor, run_tasks
from codemix.data.execution.task import WorkUnit, quiet, tick
from codemix.data.store.jsonl_zst import LineWriter, read_lines
from codemix.data.store.store import Store, write_json
from codemix.recipe.language import schema


def files_in_order(documents: list[Documents], before: list[Path]) -> list[DocumentFile]:
    """Every file of the entry's sources, in order of preference."""
    return [
        DocumentFile(
            source.source,
            source.folder / file["path"],
            file["documents"],
            file["bytes"],
            tuple(folder / "removed" / source.source / Path(file["path"]).name for folder in before),
        )
        for source in documents
        for file in source.files
    ]


def ranks(files: list[DocumentFile]) -> list[tuple[DocumentFile, ...]]:
    """Consecutive files, at most MAX_RANKS groups. A document's place is (rank, its position among the rank's rows)."""
    a_rank = max(1, -(-len(files) // MAX_RANKS))
    return [tuple(files[i : i + a_rank]) for i in range(0, len(files), a_rank)]


@dataclass(frozen=True)
class MatchTask:
    """Stage 2: equal signatures, found by merging sorted files. One task for `exact`, one a bucket for `minhash`."""

    entry: schema.Dedup
    bucket: int | None  # None: exact
    work: Path
    size: int  # of the signatures [bytes], roughly

    @property
    def name(self) -> str:
        return "dedup, exact matches" if self.bucket is None else f"dedup, matches in bucket {self.bucket}"

    @property
    def done(self) -> Path:
        return self.work / ".parts" / f"matches-{'exact' if self.bucket is None else self.bucket}.json"

    def run(self) -> None:
        quiet()
        if self.bucket is None:
            from datatrove.pipeline.dedup import exact_dedup
            from datatrove.pipeline.dedup.exact_dedup import ExactFindDedups

            exact_dedup.tqdm = _no_bar
            shutil.rmtree(self.work / "exact-found", ignore_errors=True)
            ExactFindDedups(
                str(self.work / "exact"), str(self.work / "exact-found"), exact_config(), lines_to_buffer=1024
            ).run(None, 0, 1)
        else:
            from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets

            step = MinhashDedupBuckets(
                str(self.work / "minhash"),
                str(self.work / "matches"),
                config=minhash_config(self.entry),
                lines_to_buffer=256,
            )
            step.run(None, self.bucket, self.entry.buckets)
        tick(self.size)
        write_json(self.done, {})


def _no_bar(items: Any, **_: Any) -> Any:
    """In place of the bars that datatrove draws over ours."""
    return items


def deduplicate(
    entry: schema.Dedup,
    documents: list[Documents],
    before: list[Path],
    store: Store,
    final: Path,
    identity: Identity,
    *,
    workers: int,
    executor: Executor,
) -> None:
    """Build the lists of what `entry` removes, after the entries whose folders are `before`."""
    files = files_in_order(documents, before)
    groups = ranks(files)
    with store.building(final) as work:
        how = {"workers": workers, "executor": executor, "work": store.root / ".building" / "jobs"}
        (work / ".parts").mkdir(exist_ok=True)
        signatures: list[WorkUnit] = [
            SignatureTask(entry, rank, group, work) for rank, group in enumerate(groups)
        ]
        run_tasks(signatures, label="dedup signatures", **how)
        buckets: list[int | None] = [None, *range(entry.buckets if entry.kind == "minhash" else 0)]
        run_tasks(
            [
                MatchTask(entry, bucket, work, 100 * sum(file.documents for file in files))
                for bucket in buckets
            ],
            label="dedup matches",
            **how,
        )
        counts = write_lists(entry, documents, files, groups, work)
        write_json(
            work / "manifest.json",
            {
                "format": 1,
                "fingerprint": identity.fingerprint,
                "identity": identity.content,
                "removed": counts,
                "documents": {
                    source.source: sum(f["documents"] for f in source.files) for source in documents
                },
            },
        )
        for left in (".parts", "exact", "exact-found", "minhash", "matches", "clusters"):
            shutil.rmtree(work / left, ignore_errors=True)


def write_lists(
    entry: schema.Dedup,
    documents: list[Documents],
    files: list[DocumentFile],
    groups: list[tuple[DocumentFile, ...]],
    work: Path,
) -> dict[str, dict[str, int]]:
    """Stage 3 and the lists: for each file, the rows to remove and the document that stands for each. Returns documents and bytes removed by source."""
    removed: dict[tuple[int, int], tuple[int, int] | None] = dict.fromkeys(_exact_removed(work))
    if entry.kind == "minhash":
        removed |= _clustered(entry, work)
    starts = [list(itertools.accumulate((file.documents for file in group), initial=0)) for group in groups]

    def place(rank: int, position: int) -> tuple[DocumentFile, int]:
        i = bisect.bisect_right(starts[rank], position) - 1
        return groups[rank][i], position - starts[rank][i]

    by_file: dict[DocumentFile, dict[int, Any]] = {}
    for (rank, position), survivor in sorted(removed.items(), key=lambda item: item[0]):
        file, row = place(rank, position)
        kept = None
        if survivor is not None:
            kept_file, kept_row = place(*survivor)
            kept = {"source": kept_file.source, "file": kept_file.path.name, "row": kept_row}
        by_file.setdefault(file, {})[row] = kept
    shutil.rmtree(work / "removed", ignore_errors=True)
    counts = {source.source: {"documents": 0, "bytes": 0} for source in documents}
    for file, rows in by_file.items():
        writer, count = LineWriter(work / "removed" / file.source / file.path.name), counts[file.source]
        for number, row in enumerate(read_lines(file.path)):
            if number in rows:
                writer.write({"row": number, "id": row["id"], "kept": rows[number]})
                count["documents"] += 1
                count["bytes"] += utf8_bytes(row["text"])
        writer.close()
    return counts


def _exact_removed(work: Path) -> Iterator[tuple[int, int]]:
    """(rank, position) of documents equal to an earlier one. Priority falls with the rank, so the earliest is kept."""
    import numpy as np

    for path in sorted((work / "exact-found").glob("*/*.c4_dup")):
        for position in np.fromfile(path, "<u4").tolist():
            yield int(path.name.split(".")[0]), position


def _clustered(entry: schema.Dedup, work: Path) -> dict[tuple[int, int], tuple[int, int]]:
    """Removed document -> survivor, from datatrove's clusters: connected components of matching pairs."""
    quiet()
    import numpy as np
    from datatrove.pipeline.dedup import minhash
    from datatrove.pipeline.dedup.minhash import MinhashDedupCluster

    minhash.tqdm = _no_bar
    shutil.rmtree(work / "clusters", ignore_errors=True)
    os.makedirs(work / "clusters")
    MinhashDedupCluster(
        str(work / "matches"),
        str(work / "clusters"),
        config=minhash_config(entry),
        save_cluster_id=True,
        lines_to_buffer=1024,
    ).run(None, 0, 1)
    first: dict[int, tuple[int, int]] = {}
    removed: dict[tuple[int, int], tuple[int, int]] = {}
    for path in sorted(
        (work / "clusters").glob("*.clusters")
    ):  # by rank; documents of a rank are written in order
        rank = int(path.name.split(".")[0])
        for position, cluster in np.fromfile(path, "<u4").reshape(-1, 2).tolist():
            place = (rank, position)
            if cluster in first:
                removed[place] = first[cluster]
            else:
                first[cluster] = place
    return removed
