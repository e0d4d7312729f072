"""Pieces: the tokens of one file of documents, of which shards are joined.

    .building/data/<source>-<fp12>/.pieces/<file>-<its digest>/<split>.ds, .ds.index, .docs.jsonl.zst, .ids
                                                               piece.json

Which files a shard holds is known when all documents are frozen. A piece can be made before: while its file is
written, and the texts are in memory. It is named by the content of the file, so documents that were made anew, and
differ, have no piece.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.build.funnel import Funnel
from codemix.data.build.marks import Mark, read_mark, write_mark
from codemix.data.build.shards import Row, ShardFiles, ShardTokenizer, join_shards
from codemix.data.encoding.tokenizer import TokenizerFile
from codemix.data.store.block_checksums import write_checks
from codemix.data.store.manifest import Shard
from codemix.files import file_digest, move_folder_into_place

if TYPE_CHECKING:
    from codemix.data.build.documents import DocumentsFile

_MARK = "piece.json"


@dataclass(frozen=True)
class Piece:
    """A finished piece."""

    folder: Path
    mark: Mark

    @property
    def text_bytes(self) -> dict[str, int]:
        """Of each split that has documents [bytes]."""
        return self.mark["text_bytes"]

    @property
    def dropped(self) -> Funnel:
        """The documents of the file that are not in the piece."""
        return Funnel.from_json(self.mark["funnel"])

    def shard(self, split: str) -> ShardFiles:
        return ShardFiles(self.folder / f"{split}.ds")

    def take(self) -> None:
        """From now on it counts as not made, and its files may be used up."""
        (self.folder / _MARK).unlink()


def join_pieces(pieces: Sequence[Piece], split: str, files: ShardFiles, folder: str) -> Shard:
    """Write the shard of a split with the documents of pieces, which are used up. Returns what the manifest says of
    it, once it is in `folder` of the source's."""
    join_shards([piece.shard(split) for piece in pieces], files)
    write_checks(files.tokens)
    ends = files.ends()
    return Shard(
        path=f"{folder}/{files.tokens.name}",
        tokens=int(ends[-1]),
        documents=len(ends),
        bytes=sum(piece.text_bytes[split] for piece in pieces),
        sha256=file_digest(files.tokens),
        index_sha256=file_digest(files.index),
        docs=f"{folder}/{files.sidecar.name}",
        docs_sha256=file_digest(files.sidecar),
        checks_sha256=file_digest(files.checks),
    )


@dataclass(frozen=True)
class Encoding:
    """How the documents of a source become tokens, and where."""

    tokenizer: Path  # its folder in the store
    share: Fraction  # that is held out
    work: Path  # the folder in which the source's shards are made

    def shard_tokenizer(self) -> ShardTokenizer:
        return ShardTokenizer(TokenizerFile.load(self.tokenizer), self.share)

    def piece_writer(self) -> PieceWriter:
        return PieceWriter(self)

    def aside(self, name: str) -> Path:
        """A new folder for what is not whole yet."""
        folder = self.work / ".aside" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def folder(self, file: DocumentsFile) -> Path:
        """Of the piece of a file of documents."""
        name = f"{file.stem}-{file.sha256[:12]}"
        return self.work / ".pieces" / name

    def has_piece(self, file: DocumentsFile) -> bool:
        return (self.folder(file) / _MARK).exists()

    def piece(self, file: DocumentsFile) -> Piece:
        folder = self.folder(file)
        return Piece(folder, read_mark(folder / _MARK))


class PieceWriter:
    """Makes the pieces of several files of documents, one after the other."""

    def __init__(self, encoding: Encoding):
        self._encoding = encoding
        self._tokenizer = encoding.shard_tokenizer()

    def write(self, rows: Iterable[Row], stem: str, dropped: Funnel) -> Path:
        """Write the piece of the file `stem` aside; returns where. `dropped` counts, afterwards, what is not among
        the rows."""
        folder = self._encoding.aside(stem)
        shards = self._tokenizer.run(rows, folder)
        mark = {
            "text_bytes": {split: shard.text_bytes for split, shard in shards.items()},
            "funnel": dropped.as_json(),
            "fast": self._tokenizer.fast,
            "notice": self._tokenizer.notice,
        }
        write_mark(folder / _MARK, mark)
        return folder

    def keep(self, written: Path, file: DocumentsFile) -> None:
        """Make what was written the piece of its file, which is whole now."""
        if self._encoding.has_piece(file):
            return  # the same, of a task that was killed before it left its mark
        folder = self._encoding.folder(file)
        shutil.rmtree(folder, ignore_errors=True)
        move_folder_into_place(written, folder)
