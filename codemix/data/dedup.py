"""Phase 2, dedup: which documents one entry of `dedup:` removes, over frozen documents and across sources.

    dedup/<fp12>/removed/<source>/<file of documents>.jsonl.zst    {"row", "id", "kept"} a removed document
                 manifest.json                                     counts by source

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
import dataclasses
import itertools
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from codemix.data.documents import Documents, LineWriter, read_lines
from codemix.data.identity import Identity
from codemix.data.runner import Executor, Task, quiet, run_tasks, tick
from codemix.data.store import Store, write_json
from codemix.recipe import schema

MAX_RANKS = 512  # files of signatures that the matching stages hold open at once
MAX_TEXT = 2**24  # characters; a larger document's words would not fit a worker's memory
BLOCK_SHINGLES = 256  # hashed at once: a matrix of this many rows and one column a hash, which stays in the cache


@dataclass(frozen=True)
class DocumentFile:
    """One file of frozen documents, and the lists of rows that earlier entries removed from it."""

    source: str
    path: Path
    documents: int
    bytes: int
    removed: tuple[Path, ...]

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows that earlier entries left, with their numbers."""
        gone = {row["row"] for path in self.removed if path.exists() for row in read_lines(path)}
        for number, row in enumerate(read_lines(self.path)):
            if number not in gone:
                yield number, row


def files_in_order(documents: list[Documents], before: list[Path]) -> list[DocumentFile]:
    """Every file of the entry's sources, in order of preference."""
    return [
        DocumentFile(source.source, source.folder / file["path"], file["documents"], file["bytes"],
                     tuple(folder / "removed" / source.source / Path(file["path"]).name for folder in before))
        for source in documents for file in source.files
    ]  # fmt: skip


def ranks(files: list[DocumentFile]) -> list[tuple[DocumentFile, ...]]:
    """Consecutive files, at most MAX_RANKS groups. A document's place is (rank, its position among the rank's rows)."""
    a_rank = max(1, -(-len(files) // MAX_RANKS))
    return [tuple(files[i : i + a_rank]) for i in range(0, len(files), a_rank)]


def minhash_config(entry: schema.Dedup) -> Any:
    """datatrove's configuration of an entry. Code keeps case, digits and punctuation: without them, unlike programs look alike."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.text import TextNormConfig

    code = entry.normalize == "code"
    norm = TextNormConfig(lowercase=not code, norm_numbers=not code, remove_punctuation=not code)
    return MinhashConfig(n_grams=entry.n_grams, num_buckets=entry.buckets, hashes_per_bucket=entry.hashes_per_bucket, norm_config=norm)


def exact_config() -> Any:
    from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig

    return ExactDedupConfig(content_getter=_content, document_priority=_priority)


def _content(doc: Any) -> str:
    return doc.text


def _priority(doc: Any) -> int:
    return doc.metadata["priority"]


@dataclass(frozen=True)
class SignatureTask:
    """Stage 1 for one rank: an exact signature of every document and, for `minhash`, a MinHash signature where one exists."""

    entry: schema.Dedup
    rank: int
    files: tuple[DocumentFile, ...]
    work: Path

    @property
    def name(self) -> str:
        return f"dedup signatures of {self.files[0].source}, part {self.rank}"

    @property
    def size(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def done(self) -> Path:
        return self.work / ".parts" / f"signatures-{self.rank:05d}.json"

    def run(self) -> None:
        quiet()
        from datatrove.data import Document
        from datatrove.pipeline.dedup.exact_dedup import ExactDedupSignature

        exact = ExactDedupSignature(str(self.work / "exact"), exact_config())
        signatures: list[Any] = []

        def documents() -> Iterator[Document]:
            # all of a rank's rows count, also those removed before, so that positions need no translation later
            position = 0
            for file in self.files:
                for row_number, row in file.rows():
                    doc = Document(row["text"], f"{position + row_number}", metadata={"priority": MAX_RANKS + 1 - self.rank})
                    signatures.extend(exact.get_hashes(doc, position + row_number))
                    tick(len(row["text"]))
                    yield doc
                position += file.documents

        if self.entry.kind == "minhash":
            _minhash_signatures(self.entry, self.work / "minhash", documents(), self.rank)
        else:
            for _ in documents():
                pass
        exact.save_hashes(self.rank, signatures)
        write_json(self.done, {"documents": len(signatures)})


_BEYOND = re.compile("[\U00010000-\U0010ffff]")


@lru_cache(2)
def _marks(start: int, stop: int) -> re.Pattern[str]:
    """Every combining mark in a range of code points. Within 16 bits such a class is a table; beyond, a slow list."""
    return re.compile(f"[{''.join(c for c in map(chr, range(start, stop)) if unicodedata.category(c) == 'Mn')}]+")


def simplified(text: str, norm: Any) -> str:
    """datatrove's `simplify_text`, faster: ASCII is spared the search for diacritics, other text a loop over its characters."""
    from datatrove.utils.text import simplify_text

    text = simplify_text(text, dataclasses.replace(norm, norm_unicode_diacritics=False))
    if norm.norm_unicode_diacritics and not text.isascii():
        text = _marks(0, 0x10000).sub("", unicodedata.normalize("NFD", text))
        text = (_marks(0x10000, sys.maxunicode + 1).sub("", text) if _BEYOND.search(text) else text).strip()
    return text


def _minhash_signatures(entry: schema.Dedup, folder: Path, documents: Iterator[Any], rank: int) -> None:
    import numpy as np
    from datatrove.pipeline.dedup.minhash import MinhashDedupSignature

    from codemix.data.words import WORD, datatrove_words

    prime = np.uint64(2**61 - 1)

    class Signature(MinhashDedupSignature):
        """datatrove's stage 1, to the same bytes: in bounded memory, and without its per-character and division loops."""

        def get_shingles(self, text: str) -> np.ndarray:
            words = WORD.findall(simplified(text, self.config.norm_config)) if len(text) <= MAX_TEXT else []
            n, hashed = self.config.n_grams, self._hash_func
            return np.fromiter((hashed(" ".join(words[i : i + n])) for i in range(len(words) - n + 1)), np.uint64).reshape(-1, 1)

        def get_signature(self, shingles: np.ndarray) -> list[list[int]]:
            a, b = self.parameters
            least = np.full(a.shape[1], prime, np.uint64)
            for i in range(0, len(shingles), BLOCK_SHINGLES):
                hashes = shingles[i : i + BLOCK_SHINGLES] * a
                hashes += b
                above = hashes >> np.uint64(61)
                hashes &= prime
                hashes += above  # congruent modulo 2**61 - 1, and less than twice it: a division for each would cost more than all this
                if (hashes >= prime).any():
                    hashes = np.where(hashes >= prime, hashes - prime, hashes)
                np.minimum(least, hashes.min(axis=0), out=least)
            return [bucket.tolist() for bucket in np.split(least, self.config.num_buckets)]

    def padded() -> Iterator[Any]:
        """The documents at their positions; a gap stands where an earlier entry removed one."""
        from datatrove.data import Document

        at = 0
        for doc in documents:
            for _ in range(at, int(doc.id)):
                yield Document("", "gap")
            at = int(doc.id) + 1
            yield doc

    Signature(str(folder), minhash_config(entry), language=datatrove_words()).run(padded(), rank)


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
            ExactFindDedups(str(self.work / "exact"), str(self.work / "exact-found"), exact_config(), lines_to_buffer=1024).run(None, 0, 1)
        else:
            from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets

            step = MinhashDedupBuckets(str(self.work / "minhash"), str(self.work / "matches"), config=minhash_config(self.entry), lines_to_buffer=256)
            step.run(None, self.bucket, self.entry.buckets)
        write_json(self.done, {})


def _no_bar(items: Any, **_: Any) -> Any:
    """In place of the bars that datatrove draws over ours."""
    return items


def deduplicate(
    entry: schema.Dedup, documents: list[Documents], before: list[Path], store: Store, final: Path, identity: Identity, *,
    workers: int, executor: Executor,
) -> None:  # fmt: skip
    """Build the lists of what `entry` removes, after the entries whose folders are `before`."""
    files = files_in_order(documents, before)
    groups = ranks(files)
    with store.building(final) as work:
        how = {"workers": workers, "executor": executor, "work": store.root / ".building" / "jobs"}
        (work / ".parts").mkdir(exist_ok=True)
        signatures: list[Task] = [SignatureTask(entry, rank, group, work) for rank, group in enumerate(groups)]
        run_tasks(signatures, label="dedup signatures", **how)
        buckets: list[int | None] = [None, *range(entry.buckets if entry.kind == "minhash" else 0)]
        run_tasks([MatchTask(entry, bucket, work, 100 * sum(file.documents for file in files)) for bucket in buckets], label="dedup matches", **how)
        counts = write_lists(entry, documents, files, groups, work)
        write_json(work / "manifest.json", {
            "format": 1, "fingerprint": identity.fingerprint, "identity": identity.content, "removed": counts,
            "documents": {source.source: sum(f["documents"] for f in source.files) for source in documents},
        })  # fmt: skip
        for left in (".parts", "exact", "exact-found", "minhash", "matches", "clusters"):
            shutil.rmtree(work / left, ignore_errors=True)


def write_lists(
    entry: schema.Dedup, documents: list[Documents], files: list[DocumentFile], groups: list[tuple[DocumentFile, ...]], work: Path
) -> dict[str, int]:
    """Stage 3 and the lists: for each file, the rows to remove and the document that stands for each. Returns counts by source."""
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
    counts = dict.fromkeys((source.source for source in documents), 0)
    for file, rows in by_file.items():
        writer = LineWriter(work / "removed" / file.source / file.path.name)
        for number, row in enumerate(read_lines(file.path)):
            if number in rows:
                writer.write({"row": number, "id": row["id"], "kept": rows[number]})
        writer.close()
        counts[file.source] += len(rows)
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
    MinhashDedupCluster(str(work / "matches"), str(work / "clusters"), config=minhash_config(entry), save_cluster_id=True, lines_to_buffer=1024).run(
        None, 0, 1
    )
    first: dict[int, tuple[int, int]] = {}
    removed: dict[tuple[int, int], tuple[int, int]] = {}
    for path in sorted((work / "clusters").glob("*.clusters")):  # by rank; documents of a rank are written in order
        rank = int(path.name.split(".")[0])
        for position, cluster in np.fromfile(path, "<u4").reshape(-1, 2).tolist():
            place = (rank, position)
            if cluster in first:
                removed[place] = first[cluster]
            else:
                first[cluster] = place
    return removed
