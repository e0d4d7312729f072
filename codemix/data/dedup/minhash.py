"""MinHash signatures of texts (Broder, 1997), in buckets of which a document shares one with its likes.

As datatrove's, with other hash functions: a shingle is `n_grams` words by their characters, hashed at once with
all others of its text (text/word_runs.py), and the permutations are linear modulo 2**32, which processors do
many at a time. Two texts with a share s of common shingles have equal keys in at least one bucket with
probability 1 - (1 - s**hashes_per_bucket)**buckets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codemix.data.text.comparison import compared_words
from codemix.data.text.word_runs import U64
from codemix.recipe.language import schema

MAX_TEXT = 2**24  # characters; a larger document's words would not fit a worker's memory
_BLOCK = 256  # shingles permuted at once: a matrix that stays in the cache
_MIXER = np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(32)
_SEED = 1


class MinHash:
    """The signatures that one entry of `dedup:` asks for. `compared`: what of a text counts."""

    def __init__(self, entry: schema.Dedup, compared: Callable[[str], str] = str):
        self._fold = entry.normalize != "code"  # without case, digits and marks unlike programs look alike
        self._n_grams = entry.n_grams
        self._shape = (-1, entry.buckets, entry.hashes_per_bucket)
        self._compared = compared
        n_hashes = entry.buckets * entry.hashes_per_bucket
        random = np.random.RandomState(_SEED)
        shape = (2, n_hashes)
        factors, summands = random.randint(0, 2**32, shape, np.uint32)
        self._factors = factors | np.uint32(1)  # odd: a permutation
        self._summands = summands

    def least_hashes(self, text: str) -> np.ndarray | None:
        """The least hash of the text's shingles under each permutation, (hashes,) uint32; None without one."""
        shingles = self._shingles(text)
        if len(shingles) == 0:
            return None
        least = np.full_like(self._factors, 2**32 - 1)
        for start in range(0, len(shingles), _BLOCK):
            stop = start + _BLOCK
            block = shingles[start:stop, None]
            permuted = block * self._factors
            permuted += self._summands
            of_block = permuted.min(axis=0)
            np.minimum(least, of_block, out=least)
        return least

    def bucket_keys(self, least_hashes: np.ndarray) -> np.ndarray:
        """A number per bucket for many documents' least hashes: (documents, hashes) to (documents, buckets).

        Uint64; documents with the same least hashes in a bucket have the same number, others almost never.
        """
        by_bucket = least_hashes.reshape(self._shape)
        keys = np.zeros(by_bucket.shape[:2], U64)
        for one in np.moveaxis(by_bucket, 2, 0):
            keys ^= one
            keys = _mixed(keys)
        return keys

    def _shingles(self, text: str) -> np.ndarray:
        """A hash of each shingle, (shingles,) uint32."""
        if len(text) > MAX_TEXT:
            return np.empty(0, np.uint32)
        compared = self._compared(text)
        runs = compared_words(compared, fold=self._fold)
        n_shingles = len(runs) - self._n_grams + 1
        if n_shingles < 1:
            return np.empty(0, np.uint32)
        hashes = runs.hashes(self._n_grams)
        mixed = _mixed(hashes[:n_shingles])
        high = mixed >> _HALF
        return high.astype(np.uint32)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Numbers of 64 bits, every bit of which depends on all bits of those given."""
    for _ in range(2):
        high = numbers >> _HALF
        numbers = numbers ^ high
        numbers *= _MIXER
    high = numbers >> _HALF
    return numbers ^ high
