"""Signatures of documents, the first stage of dedup. Of code, a licence at the head of a file is not
compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from codemix.data.build.marks import write_mark
from codemix.data.document import utf8_bytes
from codemix.data.execution.task import tick
from codemix.data.store.jsonl_zst import read_lines, removed_rows
from codemix.recipe.language import schema

KEYS = ".keys"  # a folder of the work, as its dot says: gone when the work is published
MAX_RANKS = 512  # files of keys that the matching stage holds open at once


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
    """Stage 1 for one rank: the key of every document's text and, for `minhash`, of its buckets where it has
    shingles."""

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
        return self.work / ".parts" / f"signed-{self.rank:05d}.json"

    def reads(self) -> list[Path]:
        documents = [file.path for file in self.files]
        lists = [path for file in self.files for path in file.removed]
        return [*documents, *lists]

    def run(self) -> None:
        from codemix.data.dedup.signature_writer import SignatureWriter

        compared = without_licence if self.entry.normalize == "code" else str
        writer = SignatureWriter(self.entry, compared)
        for position, text in self._texts():
            writer.add(position, text)
        writer.save(self.work / KEYS, self.rank)
        write_mark(self.done, {"documents": len(writer)})

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
