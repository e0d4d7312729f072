"""Batches of a stage, step by step, carried by Grain.

A Grain element is the whole batch that a host holds in one step, and an element's index is the step: the only state of the loader
is the step, which the checkpoint has anyway. Threads prefetch; there are no worker processes, for the tokens are mapped files and
copying them is cheaper than sending them.

A batch is a dict of arrays, B rows of T = `seq_len` places:

    inputs, targets  int32 [B, T]    targets are inputs one token later: two views of one array
    weights          float32 [B, T]  0 where `doc_mask: segment` and the target is the first token of another document, else 1
    source           int32 [B]       index in the stage's sources
    segments         int32 [B, T]    with `doc_mask: segment`: 0, 1, ... by document inside the row
    positions        int32 [B, T]    with `reset_positions: true`: 0, 1, ... from each document's beginning (the row's, for the first)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from codemix.data.loader import fill_in_the_middle as fim
from codemix.data.loader.order import Order, Rows
from codemix.data.loader.shards import Shards
from codemix.errors import CodemixError

Batch = dict[str, np.ndarray]
RowRanges = (
    Sequence[tuple[int, int]] | np.ndarray | Callable[[int], "Sequence[tuple[int, int]] | np.ndarray"] | None
)
_BLOCK = 2048  # rows that are found at once


def batches(
    stage,
    shards: Mapping[str, Shards],
    *,
    start_step: int = 0,
    row_ranges: RowRanges = None,
    prefetch: int = 2,
    sentinels: tuple[int, int, int] | None = None,
) -> Iterator[tuple[int, Batch]]:
    """`(step, batch)` from `start_step` to the end of the stage.

    `row_ranges` are the rows of a batch that this host holds: half-open ranges or an index array, or a function from the batch size to
    either (needed when the batch size changes); None for all. What a row holds never depends on them. `prefetch` batches are made
    ahead in a thread, which hides slow storage; 0 makes each when it is asked for, which for small batches in the page cache is
    faster. `sentinels` are the ids of fill-in-the-middle's prefix, suffix and middle tokens, wanted when the stage asks for it.

    Raises CodemixError (`shard-corrupt`, `shards-not-planned`, `fim-tokens`).
    """
    import grain

    source = StepSource(stage, shards, row_ranges, sentinels)
    if not 0 <= start_step <= stage.steps:
        raise ValueError(f"step {start_step} is outside stage {stage.name} of {stage.steps} steps")
    if start_step == stage.steps:
        return
    carried = grain.MapDataset.source(_Parcels(source)).to_iter_dataset(
        grain.ReadOptions(num_threads=min(prefetch, 1), prefetch_buffer_size=prefetch)
    )
    iterator = iter(carried)
    grain.experimental.set_next_index(iterator, start_step)
    try:
        for step in range(start_step, stage.steps):
            yield step, next(iterator).batch
    finally:
        iterator.close()


def sentinels_of(tokenizer: Mapping) -> tuple[int, int, int]:
    """The ids of fill-in-the-middle's three tokens, from a manifest's `tokenizer`. Raises CodemixError (`fim-tokens`)."""
    special = tokenizer.get("special") or {}
    if missing := [token for token in fim.SENTINELS if token not in special]:
        raise CodemixError(
            f"fill-in-the-middle needs the tokens {', '.join(f'`{m}`' for m in missing)}, which the tokenizer lacks",
            hints=["use a tokenizer that has them as special tokens, or remove `fim:` from the stage"],
            rule="fim-tokens",
        )
    return tuple(int(special[token]) for token in fim.SENTINELS)


@dataclass(frozen=True)
class _Parcel:
    batch: Batch


class _Parcels:
    """The batches of a `StepSource`, each in one piece: Grain measures every array of an element, which can cost more than making it."""

    def __init__(self, source: StepSource):
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, step: int) -> _Parcel:
        return _Parcel(self.source[step])


@dataclass(frozen=True)
class _Found:
    """Where rows lie, and where documents end in them. Found for many steps at once: for a small batch it would cost more than copying."""

    rows: Rows
    shard: np.ndarray  # [B]
    offset: np.ndarray  # [B] tokens
    which: np.ndarray  # [E] row of each beginning and end, ascending
    place: np.ndarray  # [E] in [0, T + 1]: 0 once a row, then where documents have just ended
    number: np.ndarray  # [E] 0, 1, ... inside each row
    bounds: np.ndarray  # [B + 1] row i has the places bounds[i] to bounds[i + 1] - 1
    unchecked: np.ndarray  # [B] rows whose tokens were not all checked when they were found

    def between(self, first: int, stop: int) -> _Found:
        part, ends = slice(first, stop), slice(self.bounds[first], self.bounds[stop])
        bounds = self.bounds[first : stop + 1] - self.bounds[first]
        which, place, number = self.which[ends] - first, self.place[ends], self.number[ends]
        return _Found(
            self.rows.take(part),
            self.shard[part],
            self.offset[part],
            which,
            place,
            number,
            bounds,
            self.unchecked[part],
        )


class StepSource:
    """The batches of a stage as a random-access sequence: item `step` is this host's part of that step's batch."""

    def __init__(
        self,
        stage,
        shards: Mapping[str, Shards],
        row_ranges: RowRanges = None,
        sentinels: tuple[int, int, int] | None = None,
    ):
        self.stage, self.order, self.row_ranges, self.sentinels = stage, Order(stage), row_ranges, sentinels
        self.shards = [shards.get(s.source) for s in stage.sources]
        self.rates = [Fraction(stage.fim.get(s.source, 0)) for s in stage.sources]
        for planned, found in zip(stage.sources, self.shards, strict=True):
            if planned.windows and (
                found is None or found.windows != planned.pool_windows or found.seq_len != stage.seq_len
            ):
                raise CodemixError(
                    f"stage `{stage.name}` was planned on {planned.pool_windows:,} windows of `{planned.source}`, "
                    + (
                        f"its shards hold {found.windows:,} of {found.seq_len} tokens"
                        if found
                        else "and it has no shards"
                    ),
                    hints=["run `codemix plan` again: the data has changed since the stage was planned"],
                    rule="shards-not-planned",
                )
        self.vocab_size = min((s.vocab_size for s in self.shards if s), default=0)
        if any(self.rates) and (sentinels is None or not all(0 <= s < self.vocab_size for s in sentinels)):
            raise CodemixError(
                f"stage `{stage.name}` asks for fill-in-the-middle, and its three tokens are not known to the tokenizer",
                hints=[f"the tokenizer needs {', '.join(fim.SENTINELS)} as special tokens"],
                rule="fim-tokens",
            )
        self._places = np.arange(stage.seq_len, dtype=np.int32)
        self._block: tuple[int, list[int], _Found] | None = None

    def __len__(self) -> int:
        return self.stage.steps

    def __getitem__(self, step: int) -> Batch:
        first, bounds, found = self._block or (
            0,
            [0],
            None,
        )  # read once: a thread sees a whole block, old or new
        if not first <= step < first + len(bounds) - 1:
            rows, bounds = [], [0]
            for later in range(step, self.stage.steps):
                rows.append(self.row_ids(later))
                bounds.append(bounds[-1] + len(rows[-1]))
                if bounds[-1] >= _BLOCK:
                    break
            self._block = first, bounds, found = step, bounds, self._find(self.order.at(np.concatenate(rows)))
        return self._batch(found.between(bounds[step - first], bounds[step - first + 1]))

    def row_ids(self, step: int) -> np.ndarray:
        """This host's rows of a step, as rows of the stage."""
        first, size = self.stage.first_row(step), self.stage.batch_size(step)
        ranges = self.row_ranges(size) if callable(self.row_ranges) else self.row_ranges
        if ranges is None:
            return np.arange(first, first + size)
        index = ranges if isinstance(ranges, np.ndarray) else np.concatenate([np.arange(*r) for r in ranges])
        if len(index) and not (index.min() >= 0 and index.max() < size):
            raise IndexError(f"rows {index.min()} to {index.max()} are not all in a batch of {size}")
        return first + index.astype(np.int64)

    def rows(self, step: int) -> Rows:
        """What this host's rows of a step read."""
        return self.order.at(self.row_ids(step))

    def batch(self, rows: Rows) -> Batch:
        """The arrays of some rows."""
        return self._batch(self._find(rows))

    def _find(self, rows: Rows) -> _Found:
        n = len(rows)
        shard, offset, which, places = (
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
            [np.arange(n)],
            [np.zeros(n, np.int64)],
        )
        unchecked = np.zeros(n, bool)
        by_source = np.argsort(rows.source, kind="stable")
        sources, first = np.unique(rows.source[by_source], return_index=True)
        for source, mine in zip(sources.tolist(), np.split(by_source, first[1:]), strict=True):
            shard[mine], offset[mine] = self.shards[source].places(rows.window[mine])
            unchecked[mine] = self.shards[source].unchecked(shard[mine], offset[mine])
            if self.stage.doc_mask == "segment" or self.stage.reset_positions or self.rates[source]:
                window, place = self.shards[source].ends_inside(shard[mine], offset[mine])
                which.append(mine[window])
                places.append(place)
        which, places = np.concatenate(which), np.concatenate(places)
        order = np.argsort(which, kind="stable")
        which, places = which[order], places[order]
        bounds = np.searchsorted(which, np.arange(n + 1))
        return _Found(
            rows, shard, offset, which, places, np.arange(len(which)) - bounds[which], bounds, unchecked
        )

    def _batch(self, found: _Found) -> Batch:
        n, length = len(found.rows), self.stage.seq_len
        mask, reset = self.stage.doc_mask == "segment", self.stage.reset_positions
        for row in np.flatnonzero(found.unchecked).tolist():
            first = int(found.offset[row])
            self.shards[found.rows.source[row]].check_blocks(int(found.shard[row]), first, first + length + 1)
        windows = np.empty((n, length + 1), np.int32)
        for row, (source, shard, offset) in enumerate(
            zip(found.rows.source.tolist(), found.shard.tolist(), found.offset.tolist(), strict=True)
        ):
            windows[row] = self.shards[source].tokens(shard)[offset : offset + length + 1]
        self._check(found.rows, windows)
        if any(self.rates):
            self._rearrange(found, windows)
        batch = {
            "inputs": windows[:, :-1],
            "targets": windows[:, 1:],
            "source": found.rows.source.astype(np.int32),
        }
        batch["weights"] = np.ones((n, length), np.float32)
        if mask:
            ended = (found.place > 0) & (found.place <= length)
            batch["weights"][found.which[ended], found.place[ended] - 1] = 0
        if mask or reset:
            begun = found.place < length
            place, number = found.place[begun].astype(np.int32), found.number[begun].astype(np.int32)
            until = np.append(found.which[begun] * length + place, n * length)
            lengths = until[1:] - until[:-1]
            if mask:
                batch["segments"] = np.repeat(number, lengths).reshape(n, length)
            if reset:
                started = np.repeat(place, lengths).reshape(n, length)
                batch["positions"] = np.subtract(self._places, started, out=started)
        return batch

    def _check(self, rows: Rows, windows: np.ndarray) -> None:
        if windows.size and int(windows.view(np.uint32).max()) >= self.vocab_size:
            for row in range(len(rows)):
                self.shards[rows.source[row]].check_ids(windows[row : row + 1], rows.window[row : row + 1])

    def _rearrange(self, found: _Found, windows: np.ndarray) -> None:
        for row in np.flatnonzero(np.array([rate > 0 for rate in self.rates])[found.rows.source]).tolist():
            self.fill_in_the_middle(
                windows[row], found.place[found.bounds[row] + 1 : found.bounds[row + 1]], found.rows, row
            )

    def fill_in_the_middle(self, window: np.ndarray, ends: np.ndarray, rows: Rows, row: int) -> int:
        """Rearrange a row's window in place, as the stage asks; the number of pieces rearranged, three tokens lost in each."""
        source = int(rows.source[row])
        return fim.rearrange(
            window,
            ends,
            seed=self.stage.seed,
            source=self.stage.sources[source].source,
            epoch=int(rows.epoch[row]),
            number=int(rows.window[row]),
            rate=self.rates[source],
            spm=Fraction(self.stage.spec.fim_spm),
            sentinels=self.sentinels,
        )
