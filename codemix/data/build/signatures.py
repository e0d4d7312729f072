"""Signatures of documents, the first stage of dedup. Of code, a licence at the head of a file is not
compared."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from codemix.data.document import utf8_bytes
from codemix.data.execution.task import tick
from codemix.data.store.jsonl_zst import read_lines, removed_rows
from codemix.data.store.store import write_json
from codemix.recipe.language import schema

MAX_RANKS = 512  # files of signatures that the matching stages hold open at once


class NumberedRow(NamedTuple):
    number: int  # in its file, from 0
    row: dict[str, Any]


@dataclass(frozen=True)
class ComparedFile:
    """One file of frozen documents, and the lists of rows that earlier entries removed from it."""

    source: str
    path: Path
    documents: int
    bytes: int
    removed: tuple[Path, ...]

    def rows(self) -> Iterator[NumberedRow]:
        """The rows that earlier entries left."""
        removed = removed_rows(self.removed)
        for number, row in enumerate(read_lines(self.path)):
            if number not in removed:
                yield NumberedRow(number, row)


@dataclass(frozen=True)
class SignatureTask:
    """Stage 1 for one rank: an exact signature of every document and, for `minhash`, a MinHash signature
    where one exists."""

    entry: schema.Dedup
    rank: int
    files: tuple[ComparedFile, ...]
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
        from codemix.data.datatrove_adapter.exact_dedup import ExactSignatures
        from codemix.data.datatrove_adapter.minhash_dedup import write_signatures

        exact = ExactSignatures(self.work / "exact", self.rank, priority=MAX_RANKS + 1 - self.rank)

        def texts() -> Iterator[tuple[int, str]]:
            for position, text in self._texts():
                exact.add(text, position)
                yield position, text

        if self.entry.kind == "minhash":
            compared = without_licence if self.entry.normalize == "code" else str
            write_signatures(self.entry, self.work / "minhash", self.rank, texts(), compared)
        else:
            deque(texts(), maxlen=0)  # one after the other, for the exact signatures alone
        exact.save()
        write_json(self.done, {"documents": len(exact)})

    def _texts(self) -> Iterator[tuple[int, str]]:
        """Each document's position among the rank's rows, and its text.

        Rows removed before count as well, so that positions need no translation later.
        """
        first = 0  # position of the file's first row
        for file in self.files:
            unread = file.bytes
            for number, row in file.rows():
                size = utf8_bytes(row["text"])
                tick(size)
                unread -= size
                yield first + number, row["text"]
            tick(unread)  # of what earlier entries removed
            first += file.documents


# A first comment, after an include guard or not: /* ... */, or lines that begin as comments do
_FIRST_COMMENT = re.compile(
    r"\s*+(?:#ifndef[^\n]*\n\s*#define[^\n]*\n\s*+)?(?:/\*.*?\*/|(?:[ \t]*(?://|#|--|;|%)[^\n]*\n)+)",
    re.DOTALL,
)
_OF_LICENCE = re.compile(r"(?i)licen[cs]e|copyright")


def without_licence(code: str) -> str:
    """A program without its first comment if that states a licence: all short files of a project would be
    alike."""
    comment = _FIRST_COMMENT.match(code)
    if comment is None or _OF_LICENCE.search(comment[0]) is None:
        return code
    return code[comment.end() :]
