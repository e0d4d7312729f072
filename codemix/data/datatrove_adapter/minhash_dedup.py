"""datatrove's MinHash deduplication: signatures to the same bytes in bounded memory and less time, matches,
clusters."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup import minhash
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupSignature,
)
from datatrove.utils.text import TextNormConfig

from codemix.data.datatrove_adapter.exact_dedup import Place
from codemix.data.datatrove_adapter.logs import silence, without_bar
from codemix.data.datatrove_adapter.words import Words, simplified
from codemix.data.text.words import words
from codemix.recipe.language import schema

MAX_TEXT = 2**24  # characters; a larger document's words would not fit a worker's memory
BLOCK_SHINGLES = 256  # hashed at once: a matrix with one column per hash, which stays in the cache
_PRIME = np.uint64(2**61 - 1)
_PRIME_BITS = np.uint64(61)


def minhash_config(entry: schema.Dedup) -> MinhashConfig:
    """Code keeps case, digits and punctuation: without them, unlike programs look alike."""
    fold = entry.normalize != "code"
    return MinhashConfig(
        n_grams=entry.n_grams,
        num_buckets=entry.buckets,
        hashes_per_bucket=entry.hashes_per_bucket,
        norm_config=TextNormConfig(lowercase=fold, norm_numbers=fold, remove_punctuation=fold),
    )


class _Signatures(MinhashDedupSignature):
    """datatrove's stage 1, to the same bytes: in bounded memory, and without its per-character and division
    loops."""

    def __init__(self, folder: Path, entry: schema.Dedup, compared: Callable[[str], str]):
        super().__init__(
            str(folder),
            config=minhash_config(entry),
            language=Words(),
        )
        self._compared = compared

    def get_shingles(self, text: str) -> np.ndarray:
        if len(text) > MAX_TEXT:
            return np.empty((0, 1), np.uint64)
        compared = self._compared(text)
        tokens = words(simplified(compared, self.config.norm_config))
        shingles = _shingles(tokens, self.config.n_grams)
        hashes = np.fromiter(map(self._hash_func, shingles), np.uint64)
        return hashes.reshape(-1, 1)

    def get_signature(self, shingles: np.ndarray) -> list[list[int]]:
        factors, summands = self.parameters
        least = np.full(factors.shape[1], _PRIME, np.uint64)
        for start in range(0, len(shingles), BLOCK_SHINGLES):
            block = shingles[start : start + BLOCK_SHINGLES]
            numbers = block * factors
            numbers += summands
            hashes = _modulo_prime(numbers)
            np.minimum(least, hashes.min(axis=0), out=least)
        buckets = np.split(least, self.config.num_buckets)
        return [bucket.tolist() for bucket in buckets]


def _shingles(tokens: list[str], n: int) -> Iterator[str]:
    """Each run of n neighbouring tokens."""
    n_runs = len(tokens) - n + 1
    for start in range(n_runs):
        run = tokens[start : start + n]
        yield " ".join(run)


def _modulo_prime(numbers: np.ndarray) -> np.ndarray:
    """64-bit numbers modulo 2**61 - 1, without a division each: that would cost more than all the rest."""
    above = numbers >> _PRIME_BITS
    numbers &= _PRIME
    numbers += above  # congruent, and less than twice the prime
    if (numbers >= _PRIME).any():
        return np.where(numbers >= _PRIME, numbers - _PRIME, numbers)
    return numbers


def write_signatures(
    entry: schema.Dedup,
    folder: Path,
    rank: int,
    texts: Iterable[tuple[int, str]],
    compared: Callable[[str], str] = str,
) -> None:
    """The MinHash signatures of a rank's texts, given with ascending positions. `compared`: what of a text
    counts."""
    silence()
    _Signatures(folder, entry, compared).run(_without_gaps(texts), rank)


def _without_gaps(texts: Iterable[tuple[int, str]]) -> Iterator[Document]:
    """Documents at their positions: datatrove counts them. An empty one is where an earlier entry removed
    one."""
    expected = 0
    for position, text in texts:
        for _ in range(expected, position):
            yield Document("", "gap")
        yield Document(text, str(position))
        expected = position + 1


def match_bucket(entry: schema.Dedup, signatures: Path, matches: Path, bucket: int) -> None:
    """Pairs of documents with equal signatures in a bucket."""
    silence()
    step = MinhashDedupBuckets(
        str(signatures), str(matches), config=minhash_config(entry), lines_to_buffer=256
    )
    step.run(None, bucket, entry.buckets)


def cluster(entry: schema.Dedup, matches: Path, clusters: Path) -> None:
    """Connected components of the matching pairs of all buckets."""
    silence()
    minhash.tqdm = without_bar
    shutil.rmtree(clusters, ignore_errors=True)
    clusters.mkdir(parents=True)
    step = MinhashDedupCluster(
        str(matches),
        str(clusters),
        config=minhash_config(entry),
        save_cluster_id=True,
        lines_to_buffer=1024,
    )
    step.run(None, 0, 1)


def read_clusters(clusters: Path) -> dict[Place, Place]:
    """Every document of a cluster but its first, with the first, which survives.

    The lists are `<rank>.clusters` of little-endian uint32 pairs (position, cluster), documents of a rank in
    order.
    """
    first: dict[int, Place] = {}
    survivors: dict[Place, Place] = {}
    for path in sorted(clusters.glob("*.clusters")):
        rank = int(path.name.split(".")[0])
        for position, number in np.fromfile(path, "<u4").reshape(-1, 2).tolist():
            place = Place(rank, position)
            if number in first:
                survivors[place] = first[number]
            else:
                first[number] = place
    return survivors
