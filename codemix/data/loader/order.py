"""Which window each row of each step reads: a pure function of the plan, with no state but the step.

    row -> (source, ordinal)     a balanced binary tree of floor splits over the segment's whole-number counts
    ordinal -> cursor            start of the stage + counts of earlier segments + ordinal
    cursor -> (epoch, position)  divmod by the windows of the source
    position -> window           a permutation of the source's windows keyed by (seed, source, epoch)

**Exactness.** A node of the tree with `n` rows, `m` of them for its left half, has sent `floor((p*m + n//2) /
n)` of its first `p` rows to the left: all `m` after `n` rows, and within 1/2 of the exact share before. A
level adds at most 1/2 to the error, so in any prefix of a segment each source is within `depth / 2 =
ceil(log2(sources)) / 2` rows of its share, and within `depth` rows in any stretch of rows: a batch, or the
rows of one host.

**Independence.** A source enters by its key, which says what it holds (`StageSource.key`): the leaves of the
tree are in the order of the keys, and the permutation is keyed by them. A source's windows are read in the
order of its own cursor. So the order inside a source does not depend on which other sources exist, on their
shares, or on the order in which the recipe lists them, and a source's name decides nothing.

**Cost.** Memory is proportional to segments x sources; time to the rows asked for. Nothing depends on the
number of tokens.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy import ndarray

from codemix.data.loader.permutation import Permutations
from codemix.errors import CodemixError
from codemix.recipe.planning.plan import StagePlan
from codemix.recipe.planning.row_splits import leaves, row_of_ordinal, split_tree
from codemix.recipe.planning.stage_identity import ORDER

MAX_SEGMENT_ROWS = 3_000_000_000  # (rows * count + rows / 2) stays below 2^63
MAX_EPOCHS = 2**31 - 1
_EPOCHS = MAX_EPOCHS + 1  # numbers that an epoch may have


@dataclass(frozen=True)
class Rows:
    """What some rows read. `source` indexes the stage's sources, `epoch` counts from 0, `window` is a place
    in the source's pool."""

    source: ndarray  # int16 [B]
    epoch: ndarray  # int32 [B]
    window: ndarray  # int64 [B]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: slice | ndarray) -> Rows:
        """The rows at `index`."""
        source = self.source[index]
        epoch = self.epoch[index]
        window = self.window[index]
        return Rows(source, epoch, window)


def rows(stage: StagePlan, step: int) -> Rows:
    """What the rows of one step of a stage read. For many steps, keep an `Order`."""
    return Order(stage).rows(step)


@lru_cache(maxsize=4096)
def key(seed: int, source: str, epoch: int) -> bytes:
    """The 32 bytes that decide the order of one epoch of a source, given by its key. Hashed, never added:
    epoch 1 of seed 5 is not epoch 0 of seed 6."""
    parts = [f"codemix order {ORDER}", str(seed), source, str(epoch)]
    text = "\0".join(parts)
    digest = hashlib.sha256(text.encode())
    return digest.digest()


class Order:
    """The order of a stage, prepared once. Uses only the fields of `StagePlan` that decide the order."""

    def __init__(self, stage: StagePlan):
        _require_known_sizes(stage)
        sources = stage.sources
        self.stage = stage
        self.keys = [s.key for s in sources]
        self.pool = np.array([s.pool_windows for s in sources], np.int64)
        self.start = np.array([s.start for s in sources], np.int64)
        self.first_row = np.array([s.first_row for s in stage.segments], np.int64)
        counts = _segment_counts(stage)
        self.before = np.cumsum(counts, 0) - counts  # [segments, sources] rows of earlier segments
        self.total = counts.sum(0)
        self._check_epochs()
        self.by_key = np.array(stage.by_key, np.int64)  # source of each leaf
        self._place = np.argsort(self.by_key)  # leaf of each source
        self._leaf = leaves(len(sources))
        self.depth = self._leaf.bit_length() - 1
        by_leaf = counts[:, self.by_key]
        self.tree = _split_trees(by_leaf, self._leaf)

    def _check_epochs(self) -> None:
        last_epoch = (self.start + self.total) // np.maximum(self.pool, 1)
        reads_nothing = self.pool[self.total > 0] < 1
        if last_epoch.max(initial=0) > MAX_EPOCHS or reads_nothing.any():
            raise ValueError(
                f"stage {self.stage.name}: a source has no windows, or is read more than {MAX_EPOCHS:,} times"
            )

    def rows(self, step: int) -> Rows:
        """What the rows of one step read."""
        first = self.stage.first_row(step)
        stop = first + self.stage.batch_size(step)
        return self.between(first, stop)

    def between(self, first: int, stop: int) -> Rows:
        """What rows `first` to `stop - 1` of the stage read."""
        row = np.arange(first, stop, dtype=np.int64)
        return self.at(row)

    def at(self, row: ndarray) -> Rows:
        """What these rows of the stage read."""
        source, cursor = self.cursors(row)
        pool = self.pool[source]
        epoch, position = np.divmod(cursor, pool)
        permutations = self._permutations(source, epoch)
        window = permutations.images(position)
        return Rows(source.astype(np.int16), epoch.astype(np.int32), window)

    def cursors(self, row: ndarray) -> tuple[ndarray, ndarray]:
        """For each row its source and the source's cursor: how many of its windows were read before, over the
        whole lineage."""
        self._check_rows(row)
        segment = _last_not_after(self.first_row, row)
        tree = self.tree.reshape(-1)
        root = segment * (2 * self._leaf)
        p = row - self.first_row[segment]
        node = np.ones(len(row), np.int64)
        for _ in range(self.depth):
            n = tree[root + node]
            node <<= 1
            m = tree[root + node]
            scaled = p * m + (n >> 1)
            left, rest = np.divmod(scaled, n)
            goes_left = rest + m >= n  # floor((scaled + m) / n) is one more than floor(scaled / n)
            p = np.where(goes_left, left, p - left)
            node += ~goes_left
        source = self.by_key[node - self._leaf]
        first_cursor = self.start[source] + self.before[segment, source]
        return source, first_cursor + p

    def _check_rows(self, row: ndarray) -> None:
        if not len(row):
            return
        first = row.min()
        last = row.max()
        if first < 0 or last >= self.stage.rows:
            raise IndexError(f"rows {first} to {last} are not all in [0, {self.stage.rows})")

    def row_of(self, source: int, cursor: ndarray) -> ndarray:
        """The rows at which this stage reads these cursors of a source; -1 where it does not. The inverse of
        `cursors`."""
        ordinal = np.asarray(cursor, np.int64) - self.start[source]
        inside = (ordinal >= 0) & (ordinal < self.total[source])
        ordinal = np.where(inside, ordinal, 0)
        before = self.before[:, source]
        segment = _last_not_after(before, ordinal)  # of equal values the last: empty segments are passed over
        leaf = self._leaf + int(self._place[source])
        in_segment = row_of_ordinal(
            leaf,
            ordinal - before[segment],
            lambda node: np.maximum(self.tree[segment, node], 1),  # 0 only where nothing is inside
        )
        return np.where(inside, self.first_row[segment] + in_segment, -1)

    def cursors_of(self, source: int, window: int) -> ndarray:
        """The cursors at which this stage reads a window of a source, one for each epoch that reaches it."""
        pool = int(self.pool[source])
        start = int(self.start[source])
        stop = start + int(self.total[source])
        if start == stop or not 0 <= window < pool:
            return np.zeros(0, np.int64)
        first_epoch = start // pool
        last_epoch = (stop - 1) // pool
        epoch = np.arange(first_epoch, last_epoch + 1, dtype=np.int64)
        same_source = np.full_like(epoch, source)
        same_window = np.full_like(epoch, window)
        permutations = self._permutations(same_source, epoch)
        position = permutations.indices(same_window)
        cursor = epoch * pool + position
        is_read = (cursor >= start) & (cursor < stop)
        return cursor[is_read]

    def _permutations(self, source: ndarray, epoch: ndarray) -> Permutations:
        """The permutations, position to window, that some rows go through: one for each source and epoch
        among them."""
        number = source * _EPOCHS + epoch
        distinct, which = np.unique(number, return_inverse=True)
        sources, epochs = np.divmod(distinct, _EPOCHS)
        seed = self.stage.seed
        keys = []
        for source_number, epoch_number in zip(sources.tolist(), epochs.tolist(), strict=True):
            source_key = self.keys[source_number]
            keys.append(key(seed, source_key, epoch_number))
        return Permutations(keys, self.pool[sources], which)


def _require_known_sizes(stage: StagePlan) -> None:
    unknown = [f"`{s.source}`" for s in stage.sources if s.pool_windows is None]
    if unknown:
        raise CodemixError(
            f"stage `{stage.name}`: the size of {', '.join(unknown)} is not known, "
            "so its order is not either",
            hints=["run `codemix build-data`, or declare `tokens:` of the source"],
            rule="order-unknown",
        )


def _segment_counts(stage: StagePlan) -> ndarray:
    """Rows of each source in each segment of the stage, checked to add up: int64 [segments, sources]."""
    shape = (len(stage.segments), len(stage.sources))
    counts = np.array([s.counts for s in stage.segments], np.int64).reshape(shape)
    lengths = np.array([s.rows for s in stage.segments], np.int64)
    first_row = np.array([s.first_row for s in stage.segments], np.int64)
    adds_up = (
        (counts >= 0).all()
        and (counts.sum(1) == lengths).all()
        and (np.cumsum(lengths) - lengths == first_row).all()
        and lengths.sum() == stage.rows
    )
    if not adds_up:
        raise ValueError(f"stage {stage.name}: the segments do not add up to {stage.rows} rows")
    if lengths.max(initial=0) > MAX_SEGMENT_ROWS:
        raise CodemixError(
            f"stage `{stage.name}` has a segment of {lengths.max():,} rows; the order is exact up to "
            f"{MAX_SEGMENT_ROWS:,}",
            hints=[f"use a `seq_len` above {stage.seq_len:,}, or split the stage in two"],
            rule="order-too-long",
        )
    return counts


def _split_trees(counts: ndarray, leaf: int) -> ndarray:
    """The split tree of each segment (row_splits.py) of its sources' counts: int64 [segments, nodes]."""
    nodes = 2 * leaf
    trees = np.zeros((len(counts), nodes), np.int64)
    for node, rows_below in enumerate(split_tree(list(counts.T))):
        trees[:, node] = rows_below
    return trees


def _last_not_after(firsts: ndarray, value: ndarray) -> ndarray:
    """The last index at which the ascending `firsts` is not above each value."""
    if len(firsts) == 1:
        return np.zeros(len(value), np.int64)
    return np.searchsorted(firsts, value, "right") - 1
