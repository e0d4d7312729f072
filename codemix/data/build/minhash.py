"""Signatures of documents, the first stage of dedup: datatrove's, to the same bytes, in bounded memory and less time.

Of code, a licence at the head of a file is left out before anything is compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.document import utf8_bytes
from codemix.data.execution.task import quiet, tick
from codemix.data.store.jsonl_zst import read_lines, removed_rows
from codemix.data.store.store import write_json
from codemix.recipe.language import schema

MAX_RANKS = 512  # files of signatures that the matching stages hold open at once
MAX_TEXT = 2**24  # characters; a larger document's words would not fit a worker's memory
BLOCK_SHINGLES = (
    256  # hashed at once: a matrix of this many rows and one column a hash, which stays in the cache
)


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
        gone = removed_rows(self.removed)
        for number, row in enumerate(read_lines(self.path)):
            if number not in gone:
                yield number, row


def minhash_config(entry: schema.Dedup) -> Any:
    """datatrove's configuration of an entry. Code keeps case, digits and punctuation: without them, unlike programs look alike."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.text import TextNormConfig

    code = entry.normalize == "code"
    norm = TextNormConfig(lowercase=not code, norm_numbers=not code, remove_punctuation=not code)
    return MinhashConfig(
        n_grams=entry.n_grams,
        num_buckets=entry.buckets,
        hashes_per_bucket=entry.hashes_per_bucket,
        norm_config=norm,
    )


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
                left = file.bytes
                for row_number, row in file.rows():
                    doc = Document(
                        row["text"],
                        f"{position + row_number}",
                        metadata={"priority": MAX_RANKS + 1 - self.rank},
                    )
                    signatures.extend(exact.get_hashes(doc, position + row_number))
                    size = utf8_bytes(row["text"])
                    tick(size)
                    left -= size
                    yield doc
                tick(left)  # of what earlier entries removed
                position += file.documents

        if self.entry.kind == "minhash":
            minhash_signatures(self.entry, self.work / "minhash", documents(), self.rank)
        else:
            for _ in documents():
                pass
        exact.save_hashes(self.rank, signatures)
        write_json(self.done, {"documents": len(signatures)})


# A first comment, after an include guard or not: /* ... */, or lines that begin as comments do
_FIRST_COMMENT = re.compile(
    r"\s*+(?:#ifndef[^\n]*\n\s*#define[^\n]*\n\s*+)?(?:/\*.*?\*/|(?:[ \t]*(?://|#|--|;|%)[^\n]*\n)+)",
    re.DOTALL,
)
_OF_LICENCE = re.compile(r"(?i)licen[cs]e|copyright")


def without_licence(code: str) -> str:
    """A program without the first comment, where that states a licence: it would make all short files of a project alike."""
    comment = _FIRST_COMMENT.match(code)
    return code[comment.end() :] if comment and _OF_LICENCE.search(comment[0]) else code


def minhash_signatures(entry: schema.Dedup, folder: Path, documents: Iterator[Any], rank: int) -> None:
    import numpy as np
    from datatrove.pipeline.dedup.minhash import MinhashDedupSignature

    from codemix.data.text.words import datatrove_words, simplified, words

    prime = np.uint64(2**61 - 1)

    class Signature(MinhashDedupSignature):
        """datatrove's stage 1, to the same bytes: in bounded memory, and without its per-character and division loops."""

        def get_shingles(self, text: str) -> np.ndarray:
            body = without_licence(text) if entry.normalize == "code" else text
            found = words(simplified(body, self.config.norm_config)) if len(text) <= MAX_TEXT else []
            n, hashed = self.config.n_grams, self._hash_func
            return np.fromiter(
                (hashed(" ".join(found[i : i + n])) for i in range(len(found) - n + 1)), np.uint64
            ).reshape(-1, 1)

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
