"""How much of an evaluation's text the run has read:
shared n-grams of tokens, in the very windows that training saw.

An n-gram is about 50 bytes long: `n` tokens, by the training text's own bytes a token. Texts shorter than
that cannot be judged and are counted apart. Hashes are 64 bits, so a chance match among 10^9 windows' n-grams
is not to be expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codemix.data.loader import order, permutation
from codemix.data.loader.shards import Shards
from codemix.data.store.manifest import Manifest
from codemix.eval.engine.score import Tokens
from codemix.progress import progress
from codemix.recipe.planning.plan import StagePlan, StageSource

NGRAM_BYTES = 50
# Tokens of the run's text that are looked at; beyond, evenly spread windows are, and the result says how
# many.
MAX_TOKENS = 10**9
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIXER = np.uint64(0xBF58476D1CE4E5B9)  # spreads what the sum holds over all the bits
_FILTER_BITS = 24
_CHUNK_TOKENS = 2**20


@dataclass(frozen=True)
class Reading:
    """The windows of one source that a stage has read, each once."""

    source: str
    seq_len: int
    windows: np.ndarray

    @property
    def tokens(self) -> int:
        return len(self.windows) * self.seq_len


class NgramTable:
    """The hashes of n-grams looked for, and which of them have been seen."""

    def __init__(self, wanted: Sequence[np.ndarray]):
        none = np.zeros(0, np.uint64)
        every_hash = np.concatenate([none, *wanted])
        self.hashes = np.unique(every_hash)
        self.seen = np.zeros(len(self.hashes), bool)
        # Most n-grams of a corpus are not wanted: a small table of their first bits says so without a search.
        possible = np.zeros(1 << _FILTER_BITS, bool)
        possible[_short(self.hashes)] = True
        self._possible = possible

    def mark(self, found: np.ndarray) -> None:
        """Note the hashes in `found` as seen."""
        is_possible = self._possible[_short(found)]
        candidates = found[is_possible]
        last = len(self.hashes) - 1
        places = np.minimum(np.searchsorted(self.hashes, candidates), last)
        is_wanted = self.hashes[places] == candidates
        self.seen[places[is_wanted]] = True

    def share_seen(self, wanted: np.ndarray) -> float:
        """The share of these hashes, all in the table, that have been seen."""
        places = np.searchsorted(self.hashes, wanted)
        share = self.seen[places].mean()
        return float(share)


def overlap(
    stage: StagePlan,
    manifests: Mapping[str, Manifest],
    texts: Mapping[str, Sequence[Tokens]],
    *,
    max_tokens: int = MAX_TOKENS,
) -> dict[str, Any]:
    """For each name in `texts` (lists of token sequences) how much of it is in what the run read up to the
    end of `stage`.

    `shared_any`: share of the texts with any n-gram found; `shared_half`: with at least half of theirs;
    `shared`: share of all n-grams. `looked_at`: share of the run's windows that were read for this.
    """
    n = ngram_tokens(manifests)
    ngrams: dict[str, list[np.ndarray]] = {}
    for name, sequences in texts.items():
        ngrams[name] = [hashes(np.asarray(tokens, np.int64)[None], n)[0] for tokens in sequences]
    table = NgramTable([wanted for of_name in ngrams.values() for wanted in of_name])
    every = 1
    unknown: list[str] = []
    if len(table.hashes):
        readings = list(windows_read(stage))
        total = sum(reading.tokens for reading in readings)
        every = max(1, -(-total // max_tokens))
        unknown = sorted({reading.source for reading in readings if reading.source not in manifests})
        with progress("overlap with training", total // every, "tokens") as advance:
            for reading in readings:
                if reading.source in manifests:
                    _look(reading, manifests[reading.source], every, n, table, advance)
    about = {"ngram_tokens": n, "looked_at": 1 / every, "sources_not_looked_at": unknown}
    return {name: _summary(of_name, table) | about for name, of_name in ngrams.items()}


def _look(
    reading: Reading,
    manifest: Manifest,
    every: int,
    n: int,
    table: NgramTable,
    advance: Callable[[int], None],
) -> None:
    """Mark the n-grams of the windows that were read, of which it looks at one in `every`."""
    shards = Shards(manifest, "train", reading.seq_len)
    windows = reading.windows[reading.windows < len(shards)][::every]
    step = max(1, _CHUNK_TOKENS // reading.seq_len)
    for first in range(0, len(windows), step):
        chunk = windows[first : first + step]
        tokens = shards.gather(chunk).astype(np.int64)
        table.mark(hashes(tokens, n).ravel())
        advance(len(chunk) * reading.seq_len)


def ngram_tokens(manifests: Mapping[str, Manifest]) -> int:
    """Tokens of an n-gram of about 50 bytes, at least 8."""
    tokens = 0
    size = 0
    for manifest in manifests.values():
        tokens += manifest.tokens("train")
        size += manifest.splits.get("train", {}).get("bytes", 0)
    if not size:
        return 13
    rounded_up = -(-NGRAM_BYTES * tokens // size)
    return max(8, rounded_up)


def windows_read(stage: StagePlan) -> Iterator[Reading]:
    """What a run has read up to the end of a stage, its parents' stages included."""
    current: StagePlan | None = stage
    while current is not None:
        for source in current.sources:
            if source.windows and source.pool_windows:
                windows = _windows_of(source, source.pool_windows, current.seed)
                yield Reading(source.source, current.seq_len, windows)
        current = current.parent


def _windows_of(source: StageSource, pool: int, seed: int) -> np.ndarray:
    """Which of a pool's windows a stage reads, each once."""
    if source.windows >= 2 * pool:  # a whole epoch lies inside, wherever it starts
        return np.arange(pool)
    end = source.start + source.windows
    cursors = np.arange(source.start, end)
    epochs = cursors // pool
    parts = []
    for epoch in range(epochs[0], epochs[-1] + 1):
        inside = cursors[epochs == epoch] % pool
        key = order.key(seed, source.key, epoch)
        windows = permutation.permute(key, pool, inside)
        parts.append(windows)
    return np.unique(np.concatenate(parts))


def hashes(tokens: np.ndarray, n: int) -> np.ndarray:
    """uint64 [rows, T - n + 1]: a hash of each n-gram of each row of tokens [rows, T]."""
    n_rows, width = tokens.shape
    length = max(0, width - n + 1)
    wide = tokens.astype(np.uint64) + np.uint64(1)
    total = np.zeros((n_rows, length), np.uint64)
    for j in range(n):
        total *= _BASE
        total += wide[:, j : j + length]
    total ^= total >> np.uint64(29)
    total *= _MIXER
    total ^= total >> np.uint64(32)
    return total


def _short(values: np.ndarray) -> np.ndarray:
    """The first bits of each hash, as an index."""
    dropped = np.uint64(64 - _FILTER_BITS)
    first_bits = values >> dropped
    return first_bits.astype(np.int64)


def _summary(texts: Sequence[np.ndarray], table: NgramTable) -> dict[str, Any]:
    shares = []
    n_ngrams = 0
    n_seen = []
    for ngrams in texts:
        n = len(ngrams)
        if n:
            share = table.share_seen(ngrams)
            shares.append(share)
            n_ngrams += n
            n_seen.append(share * n)
    n_texts = len(shares)
    n_any = sum(share > 0 for share in shares)
    n_half = sum(share >= 0.5 for share in shares)
    return {
        "texts": len(texts),
        "too_short": len(texts) - n_texts,
        "shared_any": _quotient(n_any, n_texts),
        "shared_half": _quotient(n_half, n_texts),
        "shared": _quotient(sum(n_seen), n_ngrams),
    }


def _quotient(part: float, whole: int) -> float | None:
    return part / whole if whole else None
