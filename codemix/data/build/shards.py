"""Writing the shards of one task: token ids with an EOS after each document, and a line about each
document."""

from __future__ import annotations

import array
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from codemix.data.encoding import encoders
from codemix.data.encoding.encoded import Encoded
from codemix.data.encoding.tokenizer import TokenizerFile
from codemix.data.hash_rank import held_out
from codemix.data.store import block_checksums
from codemix.data.store.jsonl_zst import LineWriter
from codemix.data.store.manifest import TOKEN_BYTES, Shard, dtype_for
from codemix.data.store.token_file import TokenFile
from codemix.files import file_digest

BATCH_BYTES = 2**20  # of text: encoding objects of the slow path cost about 30 bytes per byte of text
BATCH_DOCUMENTS = 256
SELF_CHECKED = 16  # documents of each task that both encoders encode,
SELF_CHECKED_CHARS = 1000  # and how much of each
# what is kept of a document's metadata beside the tokens
SIDECAR = ("path", "language", "licence", "url", "repo", "size", "set")

Row = dict[str, Any]  # {"id", "text", "meta", "bytes" of text}


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in batches bounded by bytes of text: code files vary a thousandfold, so a count would not bound
    memory."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row["text"])
        if size >= BATCH_BYTES or len(batch) >= BATCH_DOCUMENTS:
            yield batch
            batch = []
            size = 0
    if batch:
        yield batch


class ShardWriter:
    """Writes the shard of one split: `<name>.ds`, `.ds.index` and `.docs.jsonl.zst`."""

    def __init__(self, folder: Path, name: str, dtype: str):
        self.name = name
        self._folder = folder
        self._numpy_dtype = f"<u{TOKEN_BYTES[dtype]}"
        self._tokens = TokenFile(self.path)
        self._sidecar = LineWriter(folder / f"{name}.docs.jsonl.zst")
        self._text_bytes = 0
        self._ids = array.array("Q")  # a hash of each document's id

    @property
    def path(self) -> Path:
        return self._folder / f"{self.name}.ds"

    @property
    def documents(self) -> int:
        return self._tokens.documents

    def write(self, rows: Sequence[Row], tokens: Encoded) -> None:
        """Write some documents; `tokens` end with EOS."""
        numbers = tokens.ids.astype(self._numpy_dtype)
        self._tokens.write(numbers, tokens.ends)
        for row in rows:
            self._sidecar.write(_about(row))
            self._text_bytes += row["bytes"]
            self._ids.append(block_checksums.id_check(row["id"]))

    def close(self) -> None:
        self._tokens.close()
        self._sidecar.close()

    def files(self) -> list[Path]:
        """The files of the closed shard, with the checksums of its blocks, which are written now."""
        checks = block_checksums.write_checks(self.path)
        index = Path(f"{self.path}.index")
        return [self.path, index, self._sidecar.path, checks]

    def write_ids(self, path: Path) -> None:
        """The sorted hashes of the documents' ids."""
        hashes = np.array(self._ids, "<u8")
        np.sort(hashes).tofile(path)

    def as_shard(self, files: list[Path], folder: str) -> Shard:
        """What the manifest says of it, once its files are in `folder` of the source's."""
        tokens_sha256, index_sha256, docs_sha256, checks_sha256 = map(file_digest, files)
        return Shard(
            path=f"{folder}/{self.name}.ds",
            tokens=self._tokens.tokens,
            documents=self.documents,
            bytes=self._text_bytes,
            sha256=tokens_sha256,
            index_sha256=index_sha256,
            docs=f"{folder}/{self.name}.docs.jsonl.zst",
            docs_sha256=docs_sha256,
            checks_sha256=checks_sha256,
        )


def _about(row: Row) -> Row:
    """The line about a document beside its tokens."""
    line: Row = {"id": row["id"], "bytes": row["bytes"]}
    for key in SIDECAR:
        value = row["meta"].get(key)
        if value is not None:
            line[key] = value
    return line


@dataclass
class ShardTokenizer:
    """Tokenizes rows into at most one shard per split. Ids that cannot be right are refused before they are
    written."""

    folder: Path
    tokenizer: TokenizerFile
    held_out_share: Fraction
    encoder: encoders.Encoder | None = None

    def __post_init__(self) -> None:
        self._encoder = self.encoder or encoders.load_encoder(self.tokenizer.path)
        self._vocab_size = self.tokenizer.meta["vocab_size"]
        self._eos = self.tokenizer.meta["eos_id"]
        self.dtype = dtype_for(self._vocab_size)
        self._self_checked = 0

    def run(self, rows: Iterable[Row], number: int = 0) -> dict[str, ShardWriter]:
        """Write the shards of task `number`; returns those that hold documents, by split."""
        shards: dict[str, ShardWriter] = {}
        for batch in batches(rows):
            tokens = self.encoded(batch)
            for split, chosen in self._splits(batch).items():
                if split not in shards:
                    shards[split] = ShardWriter(self.folder, f"{split}-{number:05d}", self.dtype)
                rows_of_split = list(itertools.compress(batch, chosen))
                shards[split].write(rows_of_split, tokens.of_texts(chosen))
        for shard in shards.values():
            shard.close()
        return shards

    def encoded(self, batch: list[Row]) -> Encoded:
        """The tokens of each row, EOS included."""
        texts = [row["text"] for row in batch]
        self._self_check(texts)
        encoded = self._encoder.encode(texts)
        self._check_ids(batch, encoded)
        return encoded.with_end_token(self._eos)

    def _splits(self, batch: list[Row]) -> dict[str, np.ndarray]:
        """The rows of each split that has any: bool [rows]."""
        if not self.held_out_share:
            everything = np.ones(len(batch), bool)
            return {"train": everything}
        fates = map(self._is_held_out, batch)
        is_held_out = np.fromiter(fates, bool)
        splits = {"train": ~is_held_out, "held_out": is_held_out}
        return {split: chosen for split, chosen in splits.items() if chosen.any()}

    def _is_held_out(self, row: Row) -> bool:
        text = row["text"].encode()
        return held_out(text, self.held_out_share)

    def _self_check(self, texts: list[str]) -> None:
        """Encode the first documents with both encoders; the slow one continues alone where they differ."""
        if not isinstance(self._encoder, encoders.FastEncoder) or self._self_checked >= SELF_CHECKED:
            return
        self._self_checked += len(texts)
        checked = [text[:SELF_CHECKED_CHARS] for text in texts[:SELF_CHECKED]]
        difference = encoders.disagreement(self._encoder, self._encoder.slow, checked)
        if difference:
            print(f"notice: {encoders.fallback_notice(difference)}", file=sys.stderr)
            self._encoder = self._encoder.slow

    def _check_ids(self, batch: list[Row], encoded: Encoded) -> None:
        if not self._any_wrong(encoded.ids):
            return
        rows = zip(batch, encoded.parts(), strict=True)
        name = next(row["id"] for row, ids in rows if self._any_wrong(ids))
        raise ValueError(
            f"{name}: the tokenizer made an id outside its vocabulary of {self._vocab_size}, "
            f"or the end-of-document id {self._eos}, from text"
        )

    def _any_wrong(self, ids: np.ndarray) -> bool:
        if not ids.size:
            return False
        return int(ids.max()) >= self._vocab_size or bool((ids == self._eos).any())

    @property
    def fast(self) -> bool:
        return self._encoder.fast

    @property
    def notice(self) -> str:
        return self._encoder.notice
