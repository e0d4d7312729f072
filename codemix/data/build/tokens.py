"""Phase 3, tokens: frozen documents, less what dedup removed, as shards of token ids.

    data/<source>-<fp12>/shards/<split>-<task>.ds, .ds.index, .ds.checks, .docs.jsonl.zst
                         manifest.json, funnel.json, <split>.ids

Which documents a shard holds depends on the frozen documents alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from codemix.data.build.documents import DocumentsFile
from codemix.data.build.funnel import SUBSAMPLE_KEY, UNKNOWN, Funnel, total
from codemix.data.build.marks import write_mark
from codemix.data.build.pieces import Encoding, Piece, join_pieces
from codemix.data.build.shards import Row, ShardFiles
from codemix.data.document import utf8_bytes
from codemix.data.execution.task import tick
from codemix.data.hash_rank import held_out, sample_rank
from codemix.data.store.jsonl_zst import read_lines, removed_rows
from codemix.data.store.manifest import SPLITS, Shard
from codemix.errors import CodemixError
from codemix.files import move_into_place

SHARDS = "shards"  # their folder


@dataclass(frozen=True)
class Removal:
    """What a dedup entry removes of a source."""

    key: str  # of the funnel
    folder: Path  # of its lists, one per file of documents


class Judged(NamedTuple):
    """A frozen document with the `bytes` of its text, and the funnel's key if a dedup entry removed it."""

    row: Row
    removed_by: str


@dataclass(frozen=True)
class TokensTask:
    """Makes of some files of documents at most one shard per split."""

    source: str
    number: int
    documents: Path
    files: tuple[DocumentsFile, ...]
    removed: tuple[Removal, ...]
    encoding: Encoding
    cut: int | None  # of what is not held out those of a lower `sample_rank` are trained on; None: all

    @property
    def name(self) -> str:
        return f"tokens of {self.source}, part {self.number}"

    @property
    def size(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def work(self) -> Path:
        return self.encoding.work

    @property
    def done(self) -> Path:
        return self.work / ".parts" / f"{self.number:05d}.json"

    def reads(self) -> list[Path]:
        read = [self.encoding.tokenizer]
        for file in self.files:
            read.append(self.documents / file.path)
            for entry in self.removed:
                read.append(entry.folder / file.name)
        return read

    def run(self) -> None:
        self._make_missing_pieces()
        pieces = [self.encoding.piece(file) for file in self.files]
        for piece in pieces:
            piece.take()
        shards: dict[str, dict[str, Any]] = {}
        for split in SPLITS:
            of_split = [piece for piece in pieces if split in piece.text_bytes]
            if of_split:
                shards[split] = asdict(self._join(of_split, split))
        mark = {
            "shards": shards,
            "funnel": total(piece.dropped for piece in pieces).as_json(),
            "fast": all(piece.mark["fast"] for piece in pieces),
            "notice": max(piece.mark["notice"] for piece in pieces),
        }
        write_mark(self.done, mark)
        for piece in pieces:
            shutil.rmtree(piece.folder)

    def _make_missing_pieces(self) -> None:
        """The pieces that were not made with their files."""
        missing = [file for file in self.files if not self.encoding.has_piece(file)]
        tick(self.size - sum(file.bytes for file in missing))
        if not missing:
            return
        writer = self.encoding.piece_writer()
        for file in missing:
            dropped = Funnel()
            rows = self._kept(file, dropped)
            written = writer.write(rows, file.stem, dropped)
            writer.keep(written, file)

    def _join(self, pieces: Sequence[Piece], split: str) -> Shard:
        name = f"{self.number:05d}"
        folder = self.encoding.aside(name)
        files = ShardFiles(folder / f"{split}-{name}.ds")
        shard = join_pieces(pieces, split, files, SHARDS)
        shards_folder = self.work / SHARDS
        shards_folder.mkdir(exist_ok=True)
        for path in (files.tokens, files.index, files.sidecar, files.checks):
            move_into_place(path, shards_folder / path.name)
        self.done.parent.mkdir(exist_ok=True)
        move_into_place(files.ids, self.ids_of(split))
        return shard

    def ids_of(self, split: str) -> Path:
        """The hashes of the ids in its shard: with the marks, until the job joins them."""
        return self.done.with_suffix(f".{split}")

    def _kept(self, file: DocumentsFile, dropped: Funnel) -> Iterator[Row]:
        """The documents of a file that no dedup entry removed and `subsample:` did not leave out, with their
        `bytes` of text; the others are counted."""
        for row, removed_by in self.judged(file):
            key = removed_by or self._not_sampled(row)
            if not key:
                yield row
                continue
            step, _, reason = key.partition("/")
            language = str(row["meta"].get("language") or UNKNOWN)
            dropped.add_dropped(language, row["bytes"], step, reason)

    def judged(self, file: DocumentsFile) -> Iterator[Judged]:
        """Every document of a file, in order, and what dedup made of it."""
        removed_by = self._removed_by(file)
        path = self.documents / file.path
        rows = 0
        for row in read_lines(path):
            size = utf8_bytes(row["text"])
            tick(size)
            row["bytes"] = size
            yield Judged(row, removed_by.get(rows, ""))
            rows += 1
        if rows != file.documents:
            raise CodemixError(
                f"{path} holds {rows:,} documents, its manifest says {file.documents:,}",
                hints=["delete its folder and build the data again"],
                rule="store-damaged",
            )

    def _not_sampled(self, row: Row) -> str:
        """The funnel's key for a document that `subsample:` leaves out; empty for every other."""
        if self.cut is None or sample_rank(row["id"]) < self.cut or self.holds_out(row):
            return ""
        return SUBSAMPLE_KEY

    def holds_out(self, row: Row) -> bool:
        return held_out(row["text"].encode(), self.encoding.share)

    def _removed_by(self, file: DocumentsFile) -> dict[int, str]:
        """The funnel's key for each row of a file that a dedup entry removed."""
        keys: dict[int, str] = {}
        for entry in self.removed:
            rows = removed_rows([entry.folder / file.name])
            keys |= dict.fromkeys(rows, entry.key)
        return keys
