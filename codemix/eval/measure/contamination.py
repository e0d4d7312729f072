"""How much of an evaluation's text the run has read: shared n-grams of tokens, in the very windows that training saw.

An n-gram is about 50 bytes long: `n` tokens, by the training text's own bytes a token. Texts shorter than that cannot be
judged and are counted apart. Hashes are 64 bits, so a chance match among 10^9 windows' n-grams is not to be expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from codemix.data.loader import order, permutation
from codemix.data.loader.shards import Shards
from codemix.data.store.manifest import Manifest
from codemix.progress import progress
from codemix.recipe.planning.plan import StagePlan

NGRAM_BYTES = 50
MAX_TOKENS = (
    10**9
)  # of the run's text that are looked at; beyond, evenly spread windows are, and the result says how many
_BASE = np.uint64(0x9E3779B97F4A7C15)
_FILTER_BITS = 24
_CHUNK_TOKENS = 2**20


def overlap(
    stage: StagePlan,
    manifests: Mapping[str, Manifest],
    texts: Mapping[str, Sequence[Sequence[int]]],
    *,
    max_tokens: int = MAX_TOKENS,
) -> dict[str, Any]:
    """For each name in `texts` (lists of token sequences) how much of it is in what the run read up to the end of `stage`.

    `shared_any`: share of the texts with any n-gram found; `shared_half`: with at least half of theirs; `shared`: share of
    all n-grams. `looked_at`: share of the run's windows that were read for this.
    """
    n = ngram_tokens(manifests)
    found = {
        name: [hashes(np.asarray(t, np.int64)[None], n)[0] for t in items] for name, items in texts.items()
    }
    everything = [h for items in found.values() for h in items if len(h)]
    table = np.unique(np.concatenate(everything)) if everything else np.zeros(0, np.uint64)
    hit, looked_at, unknown = np.zeros(len(table), bool), 1.0, []
    if len(table):
        possible = np.zeros(1 << _FILTER_BITS, bool)
        possible[_short(table)] = True
        reading = list(windows_read(stage))
        total = sum(len(w) * T for _, T, w in reading)
        every = max(1, -(-total // max_tokens))
        unknown = sorted({s for s, _, _ in reading if s not in manifests})
        looked_at = 1 / every
        with progress("overlap with training", total // every, "tokens") as advance:
            for source, seq_len, windows in reading:
                if source in manifests:
                    shards = Shards(manifests[source], "train", seq_len)
                    windows = windows[windows < len(shards)][::every]
                    step = max(1, _CHUNK_TOKENS // seq_len)
                    for first in range(0, len(windows), step):
                        chunk = windows[first : first + step]
                        seen = hashes(shards.gather(chunk).astype(np.int64), n).ravel()
                        seen = seen[possible[_short(seen)]]
                        place = np.minimum(np.searchsorted(table, seen), len(table) - 1)
                        hit[place[table[place] == seen]] = True
                        advance(len(chunk) * seq_len)
    return {name: _summary(items, table, hit, n, looked_at, unknown) for name, items in found.items()}


def ngram_tokens(manifests: Mapping[str, Manifest]) -> int:
    """Tokens of an n-gram of about 50 bytes, at least 8."""
    tokens = sum(m.tokens("train") for m in manifests.values())
    size = sum(m.splits.get("train", {}).get("bytes", 0) for m in manifests.values())
    return max(8, -(-NGRAM_BYTES * tokens // size)) if size else 13


def windows_read(stage: StagePlan) -> Iterator[tuple[str, int, np.ndarray]]:
    """(source, seq_len, windows) that a run has read up to the end of a stage, its parents' included; each window once a stage."""
    at: StagePlan | None = stage
    while at is not None:
        for s in at.sources:
            if not s.windows or not s.pool_windows:
                continue
            if s.windows >= 2 * s.pool_windows:  # a whole epoch lies inside, wherever it starts
                yield s.source, at.seq_len, np.arange(s.pool_windows)
                continue
            cursors, parts = np.arange(s.start, s.start + s.windows), []
            for epoch in range(s.start // s.pool_windows, (s.start + s.windows - 1) // s.pool_windows + 1):
                inside = cursors[cursors // s.pool_windows == epoch] % s.pool_windows
                parts.append(permutation.permute(order.key(at.seed, s.source, epoch), s.pool_windows, inside))
            yield s.source, at.seq_len, np.unique(np.concatenate(parts))
        at = at.parent


def hashes(tokens: np.ndarray, n: int) -> np.ndarray:
    """uint64 [rows, T - n + 1]: a hash of each n-gram of each row of tokens [rows, T]."""
    wide, length = tokens.astype(np.uint64) + np.uint64(1), max(0, tokens.shape[1] - n + 1)
    total = np.zeros((tokens.shape[0], length), np.uint64)
    for j in range(n):
        total *= _BASE
        total += wide[:, j : j + length]
    total ^= total >> np.uint64(29)
    total *= np.uint64(0xBF58476D1CE4E5B9)
    total ^= total >> np.uint64(32)
    return total


def _short(values: np.ndarray) -> np.ndarray:
    return (values >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)


def _summary(
    items: Sequence[np.ndarray],
    table: np.ndarray,
    hit: np.ndarray,
    n: int,
    looked_at: float,
    unknown: list[str],
) -> dict[str, Any]:
    shares = [float(hit[np.searchsorted(table, h)].mean()) for h in items if len(h)]
    grams = sum(len(h) for h in items)
    return {
        "ngram_tokens": n,
        "texts": len(items),
        "too_short": len(items) - len(shares),
        "shared_any": sum(s > 0 for s in shares) / len(shares) if shares else None,
        "shared_half": sum(s >= 0.5 for s in shares) / len(shares) if shares else None,
        "shared": sum(s * len(h) for s, h in zip(shares, (h for h in items if len(h)), strict=True)) / grams
        if grams
        else None,
        "looked_at": looked_at,
        "sources_not_looked_at": unknown,
    }
