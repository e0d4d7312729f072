"""The keys of one rank's documents: of the whole text, and of its buckets for `minhash`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xxhash

from codemix.data.dedup.key_files import write_keys
from codemix.data.dedup.minhash import MinHash
from codemix.recipe.language import schema

EXACT = "exact"
_TOGETHER = 4096  # documents whose buckets' keys are worked out at once


def bucket_name(bucket: int | None) -> str:
    """The folder of a bucket; None for that of equal texts."""
    return EXACT if bucket is None else f"{bucket:03d}"


class SignatureWriter:
    """Documents come in the order of their positions."""

    def __init__(self, entry: schema.Dedup, compared: Callable[[str], str]):
        self._minhash: MinHash | None = None
        if entry.kind == "minhash":
            self._minhash = MinHash(entry, compared)
        self._positions: list[int] = []
        self._text_keys: list[int] = []
        self._with_shingles: list[int] = []  # positions
        self._least_hashes: list[np.ndarray] = []  # of the last documents
        self._bucket_keys: list[np.ndarray] = []  # of those before, (documents, buckets) each

    def __len__(self) -> int:
        return len(self._positions)

    def add(self, position: int, text: str) -> None:
        self._positions.append(position)
        self._text_keys.append(xxhash.xxh3_64_intdigest(text))
        least = self._minhash.least_hashes(text) if self._minhash else None
        if least is not None:
            self._with_shingles.append(position)
            self._least_hashes.append(least)
            if len(self._least_hashes) == _TOGETHER:
                self._finish_buckets()

    def _finish_buckets(self) -> None:
        if self._minhash and self._least_hashes:
            least_hashes = np.stack(self._least_hashes)
            keys = self._minhash.bucket_keys(least_hashes)
            self._bucket_keys.append(keys)
            self._least_hashes.clear()

    def save(self, folder: Path, rank: int) -> None:
        positions = np.array(self._positions, np.uint32)
        keys = np.array(self._text_keys, np.uint64)
        write_keys(folder / EXACT, rank, keys, positions)
        self._finish_buckets()
        if not self._bucket_keys:
            return
        with_shingles = np.array(self._with_shingles, np.uint32)
        by_bucket = np.concatenate(self._bucket_keys).T
        for bucket, keys in enumerate(by_bucket):
            write_keys(folder / bucket_name(bucket), rank, keys, with_shingles)
