"""Writing and joining shards: token ids with an EOS after each document, and a line about each document."""

from __future__ import annotations

import array
import itertools
import math
import os
import shutil
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
from codemix.data.store.manifest import TOKEN_BYTES, dtype_for
from codemix.data.store.token_file import TokenFile

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


@dataclass(frozen=True)
class ShardFiles:
    """Where the files of a shard are."""

    tokens: Path

    @property
    def index(self) -> Path:
        return Path(f"{self.tokens}.index")

    @property
    def sidecar(self) -> Path:
        return self.tokens.with_suffix(".docs.jsonl.zst")

    @property
    def checks(self) -> Path:
        return Path(f"{self.tokens}{block_checksums.SUFFIX}")

    @property
    def ids(self) -> Path:
        """The sorted hashes of the ids of its documents: uint64."""
        return self.tokens.with_suffix(".ids")

    def ends(self) -> np.ndarray:
        """Where each document ends [tokens]: uint64 [documents]."""
        return np.fromfile(self.index, "<u8")


def join_shards(parts: Sequence[ShardFiles], joined: ShardFiles) -> None:
    """Make one shard with the documents of several, in their order, of their files: these are used up."""
    tokens = [part.tokens for part in parts]
    sidecars = [part.sidecar for part in parts]
    _join_ends(parts, joined)
    _join_ids(parts, joined)
    _join_files(tokens, joined.tokens)
    _join_files(sidecars, joined.sidecar)


def _join_ends(parts: Sequence[ShardFiles], joined: ShardFiles) -> None:
    ends: list[np.ndarray] = []
    tokens = np.uint64(0)
    for part in parts:
        ends.append(part.ends() + tokens)
        tokens = ends[-1][-1]
    np.concatenate(ends).tofile(joined.index)


def _join_ids(parts: Sequence[ShardFiles], joined: ShardFiles) -> None:
    ids: list[np.ndarray] = []
    for part in parts:
        ids.append(np.fromfile(part.ids, "<u8"))
    together = np.concatenate(ids)
    np.sort(together).tofile(joined.ids)


def _join_files(paths: Sequence[Path], joined: Path) -> None:
    first, *others = paths
    os.replace(first, joined)
    with joined.open("ab") as file:
        for path in others:
            with path.open("rb") as part:
                shutil.copyfileobj(part, file, 2**20)


class ShardWriter:
    """Writes the shard of one split."""

    def __init__(self, files: ShardFiles, dtype: str):
        self.files = files
        self._numpy_dtype = f"<u{TOKEN_BYTES[dtype]}"
        self._tokens = TokenFile(files.tokens)
        self._sidecar = LineWriter(files.sidecar)
        self.text_bytes = 0
        self._ids = array.array("Q")  # a hash of each document's id

    @property
    def documents(self) -> int:
        return self._tokens.documents

    def write(self, rows: Sequence[Row], tokens: Encoded) -> None:
        """Write some documents; `tokens` end with EOS."""
        numbers = tokens.ids.astype(self._numpy_dtype)
        self._tokens.write(numbers, tokens.ends)
        for row in rows:
            self._sidecar.write(_about(row))
            self.text_bytes += row["bytes"]
            self._ids.append(block_checksums.id_check(row["id"]))

    def close(self) -> None:
        self._tokens.close()
        self._sidecar.close()
        hashes = np.array(self._ids, "<u8")
        np.sort(hashes).tofile(self.files.ids)


def _about(row: Row) -> Row:
    """The line about a document beside its tokens."""
    line: Row = {"id": row["id"], "bytes": row["bytes"]}
    for key in SIDECAR:
        value = row["meta"].get(key)
        if value is not None and not _is_null_in_json(value):
            line[key] = value
    return line


def _is_null_in_json(value: Any) -> bool:
    """Infinity and NaN are; frozen documents are read again without them."""
    return isinstance(value, float) and not math.isfinite(value)


@dataclass
class ShardTokenizer:
    """Tokenizes rows into at most one shard per split, again and again. Ids that cannot be right are refused before
    they are written."""

    tokenizer: TokenizerFile
    held_out_share: Fraction
    encoder: encoders.Encoder | None = None

    def __post_init__(self) -> None:
        self._encoder = self.encoder or encoders.load_encoder(self.tokenizer.path)
        self._vocab_size = self.tokenizer.meta["vocab_size"]
        self._eos = self.tokenizer.meta["eos_id"]
        self.dtype = dtype_for(self._vocab_size)
        self._self_checked = 0

    def run(self, rows: Iterable[Row], folder: Path) -> dict[str, ShardWriter]:
        """Write the shards `<split>.ds` to a folder; returns those that hold documents, by split."""
        shards: dict[str, ShardWriter] = {}
        for batch in batches(rows):
            tokens = self.encoded(batch)
            for split, chosen in self._splits(batch).items():
                if split not in shards:
                    files = ShardFiles(folder / f"{split}.ds")
                    shards[split] = ShardWriter(files, self.dtype)
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
