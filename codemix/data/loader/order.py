"""Which window each row of each step reads: a pure function of the plan, with no state but the step.

    row -> (source, ordinal)     a balanced binary tree of floor splits over the segment's whole-number counts
    ordinal -> cursor            start of the stage + counts of earlier segments + ordinal
    cursor -> (epoch, position)  divmod by the windows of the source
    position -> window           a permutation of the source's windows keyed by (seed, source name, epoch)

**Exactness.** A node of the tree with `n` rows, `m` of them for its left half, has sent `floor((p*m + n//2) / n)` of its first
`p` rows to the left: all `m` after `n` rows, and within 1/2 of the exact share before. A level adds at most 1/2 to the error,
so in any prefix of a segment each source is within `depth / 2 = ceil(log2(sources)) / 2` rows of its share, and within
`depth` rows in any stretch of rows: a batch, or the rows of one host.

**Independence.** Sources enter the permutation by name, and a source's windows are read in the order of its own cursor: the order
inside a source does not depend on which other sources exist, on their shares, or on the order in which the recipe lists them.

**Cost.** Memory is proportional to segments x sources; time to the rows asked for. Nothing depends on the number of tokens.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from codemix.errors import CodemixError

MAX_SEGMENT_ROWS = 3_000_000_000  # (rows * count + rows / 2) stays below 2^63
MAX_EPOCHS = 2**31 - 1
_ROUNDS = 8  # each half of an index is changed four times
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93], np.uint64)
_STEP = 0x9E3779B97F4A7C15  # makes eight round keys of the four words of a key


@dataclass(frozen=True)
class Rows:
    """What some rows read. `source` indexes the stage's sources, `epoch` counts from 0, `window` is a place in the source's pool."""

    source: np.ndarray  # int16 [B]
    epoch: np.ndarray  # int32 [B]
    window: np.ndarray  # int64 [B]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index) -> Rows:
        """The rows at `index` (a slice or an array)."""
        return Rows(self.source[index], self.epoch[index], self.window[index])


def rows(stage, step: int) -> Rows:
    """What the rows of one step of a `StagePlan` read. For many steps, keep an `Order`."""
    return Order(stage).rows(step)


def key(seed: int, source: str, epoch: int) -> bytes:
    """The 32 bytes that decide the order of one epoch of one source. Hashed, never added: epoch 1 of seed 5 is not epoch 0 of seed 6."""
    return hashlib.sha256(f"codemix order 1\0{seed}\0{source}\0{epoch}".encode()).digest()


def permute(key: bytes, n: int, index: np.ndarray) -> np.ndarray:
    """The images of `index` (each in [0, n)) under the permutation of [0, n) that `key` names."""
    return _walk(
        _round_keys([key]), np.array([n], np.int64), np.zeros(len(index), np.int64), index, backwards=False
    )


def unpermute(key: bytes, n: int, image: np.ndarray) -> np.ndarray:
    """The indices whose images under `permute` are `image`."""
    return _walk(
        _round_keys([key]), np.array([n], np.int64), np.zeros(len(image), np.int64), image, backwards=True
    )


class Order:
    """The order of a stage, prepared once. Uses only the fields of `StagePlan` that decide the order."""

    def __init__(self, stage):
        self.stage = stage
        self.names = [s.source for s in stage.sources]
        if unknown := [s.source for s in stage.sources if s.pool_windows is None]:
            raise CodemixError(
                f"stage `{stage.name}`: the size of {', '.join(f'`{name}`' for name in unknown)} is not known, so its order is not either",
                hints=["run `codemix build-data`, or declare `tokens:` of the source"],
                rule="order-unknown",
            )
        self.pool = np.array([s.pool_windows for s in stage.sources], np.int64)
        self.start = np.array([s.start for s in stage.sources], np.int64)
        counts = np.array([s.counts for s in stage.segments], np.int64).reshape(
            len(stage.segments), len(self.names)
        )
        lengths = np.array([s.rows for s in stage.segments], np.int64)
        self.first_row = np.array([s.first_row for s in stage.segments], np.int64)
        if (
            not (counts >= 0).all()
            or (counts.sum(1) != lengths).any()
            or (np.cumsum(lengths) - lengths != self.first_row).any()
            or lengths.sum() != stage.rows
        ):
            raise ValueError(f"stage {stage.name}: the segments do not add up to {stage.rows} rows")
        if lengths.max(initial=0) > MAX_SEGMENT_ROWS:
            raise CodemixError(
                f"stage `{stage.name}` has a stretch of {lengths.max():,} rows; the order is exact up to {MAX_SEGMENT_ROWS:,}",
                hints=[f"use a `seq_len` above {stage.seq_len:,}, or split the stage in two"],
                rule="order-too-long",
            )
        self.before = np.cumsum(counts, 0) - counts  # [segments, sources] rows of earlier segments
        self.total = counts.sum(0)
        if ((self.start + self.total) // np.maximum(self.pool, 1)).max(initial=0) > MAX_EPOCHS or (
            self.pool[self.total > 0] < 1
        ).any():
            raise ValueError(
                f"stage {stage.name}: a source has no windows, or is read more than {MAX_EPOCHS:,} times"
            )
        self._leaf = 1 << max(0, len(self.names) - 1).bit_length()
        self.tree = np.zeros(
            (len(lengths), 2 * self._leaf), np.int64
        )  # a heap a segment: node i has children 2i and 2i + 1
        self.tree[:, self._leaf : self._leaf + len(self.names)] = counts
        for node in range(self._leaf - 1, 0, -1):
            self.tree[:, node] = self.tree[:, 2 * node] + self.tree[:, 2 * node + 1]
        self.depth = self._leaf.bit_length() - 1
        self._keys: dict[tuple[int, int], bytes] = {}

    def rows(self, step: int) -> Rows:
        """What the rows of one step read."""
        first = self.stage.first_row(step)
        return self.between(first, first + self.stage.batch_size(step))

    def between(self, first: int, stop: int) -> Rows:
        """What rows `first` to `stop - 1` of the stage read."""
        return self.at(np.arange(first, stop, dtype=np.int64))

    def at(self, row: np.ndarray) -> Rows:
        """What these rows of the stage read."""
        source, cursor = self.cursors(row)
        epoch, position = np.divmod(cursor, self.pool[source])
        return Rows(
            source.astype(np.int16),
            epoch.astype(np.int32),
            self._windows(source, epoch, position, backwards=False),
        )

    def cursors(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each row its source and the source's cursor: how many of its windows were read before, over the whole lineage."""
        if len(row) and not (row.min() >= 0 and row.max() < self.stage.rows):
            raise IndexError(f"rows {row.min()} to {row.max()} are not all in [0, {self.stage.rows})")
        segment = (
            np.searchsorted(self.first_row, row, "right") - 1
            if len(self.first_row) > 1
            else np.zeros(len(row), np.int64)
        )
        tree, base = self.tree.reshape(-1), segment * (2 * self._leaf)
        p, node = row - self.first_row[segment], np.ones(len(row), np.int64)
        for _ in range(self.depth):
            node <<= 1
            n, m = tree[base + (node >> 1)], tree[base + node]
            scaled = p * m + (n >> 1)
            left, rest = np.divmod(scaled, n)
            goes_left = rest + m >= n  # floor((scaled + m) / n) is one more than floor(scaled / n)
            p = np.where(goes_left, left, p - left)
            node += ~goes_left
        source = node - self._leaf
        return source, self.start[source] + self.before[segment, source] + p

    def row_of(self, source: int, cursor: np.ndarray) -> np.ndarray:
        """The rows at which this stage reads these cursors of a source; -1 where it does not. The inverse of `cursors`."""
        ordinal = np.asarray(cursor, np.int64) - self.start[source]
        inside = (ordinal >= 0) & (ordinal < self.total[source])
        ordinal = np.where(inside, ordinal, 0)
        segment = (
            np.searchsorted(self.before[:, source], ordinal, "right") - 1
        )  # of equal values the last: empty segments are passed over
        p, node = ordinal - self.before[segment, source], np.int64(self._leaf + source)
        while node > 1 and inside.any():
            n, m = self.tree[segment, node >> 1], self.tree[segment, node]
            n, m = np.maximum(n, 1), np.maximum(m, 1)
            # the p-th row that goes right is row floor((p n + n//2) / m) of the parent; the p-th that goes left, ceil(((p+1) n - n//2) / m) - 1
            p = (p * n + (n >> 1)) // m if node & 1 else -((-(p + 1) * n + (n >> 1)) // m) - 1
            node >>= 1
        return np.where(inside, self.first_row[segment] + p, -1)

    def cursors_of(self, source: int, window: int) -> np.ndarray:
        """The cursors at which this stage reads a window of a source, one for each epoch that reaches it."""
        pool, start, total = int(self.pool[source]), int(self.start[source]), int(self.total[source])
        if total == 0 or not 0 <= window < pool:
            return np.zeros(0, np.int64)
        epoch = np.arange(start // pool, (start + total - 1) // pool + 1, dtype=np.int64)
        at = self._windows(
            np.full(len(epoch), source), epoch, np.full(len(epoch), window, np.int64), backwards=True
        )
        cursor = epoch * pool + at
        return cursor[(cursor >= start) & (cursor < start + total)]

    def step_of_row(self, row: int) -> int:
        """The step that reads a row."""
        batches = self.stage.batches
        row_at = 0
        for (first, size), following in zip(batches, [*batches[1:], (self.stage.steps, 0)], strict=True):
            stretch = (following[0] - first) * size
            if row < row_at + stretch:
                return first + (row - row_at) // size
            row_at += stretch
        raise IndexError(f"row {row} is beyond the stage's {row_at} rows")

    def _windows(self, source, epoch, position, *, backwards: bool) -> np.ndarray:
        which, place = np.unique(source * (MAX_EPOCHS + 1) + epoch, return_inverse=True)
        pairs = [divmod(int(w), MAX_EPOCHS + 1) for w in which]
        if len(self._keys) > 4096:
            self._keys.clear()
        for s, e in pairs:
            if (s, e) not in self._keys:
                self._keys[s, e] = key(self.stage.seed, self.names[s], e)
        n = self.pool[[s for s, _ in pairs]] if pairs else np.zeros(0, np.int64)
        return _walk(
            _round_keys([self._keys[pair] for pair in pairs]), n, place, position, backwards=backwards
        )


def _round_keys(keys: list[bytes]) -> np.ndarray:
    """Round keys [rounds, keys]."""
    words = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 4).astype(np.uint64)
    offsets = np.array([(_STEP * (r // 4)) % 2**64 for r in range(_ROUNDS)], np.uint64)
    return words.T[np.arange(_ROUNDS) % 4] + offsets[:, None]


def _walk(
    round_keys: np.ndarray, n: np.ndarray, which: np.ndarray, index: np.ndarray, *, backwards: bool
) -> np.ndarray:
    """The permutation of [0, n[which]) under round_keys[:, which], applied to each index.

    A Feistel network permutes [0, 2^bits), the least power of two that holds n: the index is cut into a high and a low part, and in
    turn each is xor-ed with a hash of the other. An image that is not below n is permuted again until it is (cycle walking): still a
    permutation of [0, n), and less than two rounds on average.
    """
    index = np.asarray(index, np.int64)
    if len(index) and ((index < 0) | (index >= n[which])).any():
        raise IndexError("an index is outside its permutation")
    bits = np.array([int(x - 1).bit_length() if x > 0 else 0 for x in n.tolist()], np.uint64)
    low_bits = (bits + np.uint64(1)) >> np.uint64(1)
    image, todo = index.astype(np.uint64), np.arange(len(index))
    n = n.astype(np.uint64)
    while len(todo):
        at = which[todo]
        image[todo] = turned = _feistel(
            image[todo], round_keys[:, at], low_bits[at], (bits - low_bits)[at], backwards
        )
        todo = todo[turned >= n[at]]
    return image.astype(np.int64)


def _feistel(
    x: np.ndarray, round_keys: np.ndarray, low_bits: np.ndarray, high_bits: np.ndarray, backwards: bool
) -> np.ndarray:
    one = np.uint64(1)
    masks = [(one << low_bits) - one, (one << high_bits) - one]
    halves = [x & masks[0], x >> low_bits]
    a, b = _MULTIPLIERS
    for r in reversed(range(_ROUNDS)) if backwards else range(_ROUNDS):
        changed = r & 1
        z = (halves[1 - changed] + round_keys[r]) * a
        z ^= z >> np.uint64(29)
        z *= b
        z >>= np.uint64(32)  # the high bits of a product are the mixed ones
        z &= masks[changed]
        halves[changed] ^= z
    return (halves[1] << low_bits) | halves[0]
