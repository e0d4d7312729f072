"""A stage as a sequence of batches: what a step reads is looked up, read and joined, in any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy import ndarray

from codemix.data.loader import fill_in_the_middle as fim
from codemix.data.loader.located_rows import LocatedRows, StepBlock
from codemix.data.loader.look_ahead import LookAhead
from codemix.data.loader.order import Order, Rows
from codemix.data.loader.shards import Shards, groups
from codemix.data.store.elsewhere import PartReader
from codemix.errors import CodemixError
from codemix.recipe.planning.plan import StagePlan, StageSource

Batch = dict[str, ndarray]

RowSelection = Sequence[tuple[int, int]] | ndarray
RowRanges = RowSelection | Callable[[int], RowSelection] | None

_BLOCK = 2048  # rows that are located at once


@dataclass(frozen=True)
class _Parcel:
    batch: Batch


class Parcels:
    """The batches of a `StepSource`, each in one piece: Grain measures every array of an element, which can
    cost more than making it."""

    def __init__(self, source: StepSource):
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, step: int) -> _Parcel:
        return _Parcel(self.source[step])


class StepSource:
    """The batches of a stage as a random-access sequence: item `step` is this host's part of that step's
    batch."""

    def __init__(
        self,
        stage: StagePlan,
        shards: Mapping[str, Shards],
        row_ranges: RowRanges = None,
        sentinels: fim.Sentinels | None = None,
        reader: PartReader | None = None,
    ):
        self.stage = stage
        self.order = Order(stage)
        self.row_ranges = row_ranges
        self.sentinels = sentinels
        self.shards = _planned_shards(stage, shards)
        self.rates = [Fraction(stage.fim.get(s.source, 0)) for s in stage.sources]
        self.vocab_size = min((s.vocab_size for s in self.shards.values()), default=0)
        if any(self.rates):
            self._require_sentinels()
        self._places = np.arange(stage.seq_len, dtype=np.int32)
        self._block: StepBlock | None = None
        self._ahead: LookAhead | None = None
        if reader is not None:
            self._ahead = LookAhead(reader, self.shards, self._located, stage.steps)

    def _require_sentinels(self) -> None:
        if self.sentinels is None or not all(0 <= s < self.vocab_size for s in self.sentinels):
            raise CodemixError(
                f"stage `{self.stage.name}` asks for fill-in-the-middle, "
                "but the tokenizer lacks its three tokens",
                hints=[f"the tokenizer needs {', '.join(fim.SENTINELS)} as special tokens"],
                rule="fim-tokens",
            )

    def __len__(self) -> int:
        return self.stage.steps

    def __getitem__(self, step: int) -> Batch:
        if self._ahead is None:
            return self.assemble(self._located(step))
        asked = self._ahead.step(step)
        windows = asked.windows(self.stage.seq_len + 1)
        return self._arrays(asked.rows, windows)

    def _located(self, step: int) -> LocatedRows:
        block = self._block  # read once: a thread sees a whole block, old or new
        if block is None or not block.holds(step):
            block = self._locate_steps(step)
            self._block = block
        return block.rows_of(step)

    def row_ids(self, step: int) -> ndarray:
        """This host's rows of a step, as rows of the stage."""
        first = self.stage.first_row(step)
        size = self.stage.batch_size(step)
        ranges = self.row_ranges(size) if callable(self.row_ranges) else self.row_ranges
        if ranges is None:
            return np.arange(first, first + size)
        if isinstance(ranges, ndarray):
            index = ranges
        else:
            parts = [np.arange(start, stop) for start, stop in ranges]
            index = np.concatenate([np.arange(0), *parts])
        if not len(index):
            raise IndexError(f"no row of a batch of {size} is in {ranges}")
        if not (index.min() >= 0 and index.max() < size):
            raise IndexError(f"rows {index.min()} to {index.max()} are not all in a batch of {size}")
        return first + index.astype(np.int64)

    def rows(self, step: int) -> Rows:
        """What this host's rows of a step read."""
        return self.order.at(self.row_ids(step))

    def batch(self, rows: Rows) -> Batch:
        """The arrays of some rows."""
        return self.assemble(self.locate(rows))

    def fill_in_the_middle(self, window: ndarray, ends: ndarray, rows: Rows, row: int) -> int:
        """Rearrange a row's window in place, as the stage asks; the number of pieces rearranged, three tokens
        lost in each."""
        if self.sentinels is None:
            return 0
        source = int(rows.source[row])
        return fim.rearrange(
            window,
            ends,
            seed=self.stage.seed,
            source=self.stage.sources[source].key,
            epoch=int(rows.epoch[row]),
            number=int(rows.window[row]),
            rate=self.rates[source],
            spm=Fraction(self.stage.spec.fim_spm),
            sentinels=self.sentinels,
        )

    def _locate_steps(self, first_step: int) -> StepBlock:
        """The rows of the steps from `first_step`: at least `_BLOCK` of them, or all that are left."""
        row_ids = []
        bounds = [0]
        for step in range(first_step, self.stage.steps):
            row_ids.append(self.row_ids(step))
            bounds.append(bounds[-1] + len(row_ids[-1]))
            if bounds[-1] >= _BLOCK:
                break
        rows = self.order.at(np.concatenate(row_ids))
        return StepBlock(first_step, bounds, self.locate(rows))

    def with_rows(self, row_ranges: RowRanges) -> StepSource:
        """The same stage, of which this host holds other rows."""
        shards = {
            planned.source: self.shards[n] for n, planned in enumerate(self.stage.sources) if n in self.shards
        }
        return StepSource(self.stage, shards, row_ranges, self.sentinels)

    def locate(self, rows: Rows) -> LocatedRows:
        """Where rows lie in their shards, and where documents begin in them."""
        n = len(rows)
        shard = np.zeros(n, np.int64)
        offset = np.zeros(n, np.int64)
        unchecked = np.zeros(n, bool)
        begin_rows = [np.arange(n)]  # each row begins at its place 0
        begins = [np.zeros(n, np.int64)]
        for source, mine in groups(rows.source):
            shards = self.shards[source]
            shard[mine], offset[mine] = shards.places(rows.window[mine])
            unchecked[mine] = shards.unchecked(shard[mine], offset[mine])
            if self.stage.doc_mask == "segment" or self.stage.reset_positions or self.rates[source]:
                ends = shards.ends_inside(shard[mine], offset[mine])
                begin_rows.append(mine[ends.window])
                begins.append(ends.place)
        begin_row = np.concatenate(begin_rows)
        by_row = np.argsort(begin_row, kind="stable")
        begin_row = begin_row[by_row]
        bounds = np.searchsorted(begin_row, np.arange(n + 1))
        return LocatedRows(
            rows=rows,
            shard=shard,
            offset=offset,
            begin_row=begin_row,
            begin=np.concatenate(begins)[by_row],
            document=np.arange(len(begin_row)) - bounds[begin_row],
            bounds=bounds,
            unchecked=unchecked,
        )

    def assemble(self, located: LocatedRows) -> Batch:
        """The arrays of located rows, from mapped files."""
        self._check(located)
        return self._arrays(located, self._windows(located))

    def _arrays(self, located: LocatedRows, windows: ndarray) -> Batch:
        """The arrays of located rows and their tokens, int32 [B, T + 1]."""
        self._check_ids(located, windows)
        if any(self.rates):
            self._rearrange(located, windows)
        batch = {
            "inputs": windows[:, :-1],
            "targets": windows[:, 1:],
            "source": located.rows.source.astype(np.int32),
            "weights": self._weights(located),
        }
        return batch | self._segments_and_positions(located)

    def _check(self, located: LocatedRows) -> None:
        """Compare the checksums of the blocks that the rows are the first to touch."""
        length = self.stage.seq_len + 1
        touched_first = np.flatnonzero(located.unchecked)
        for row in touched_first.tolist():
            source = located.rows.source.item(row)
            shard = located.shard.item(row)
            begin = located.offset.item(row)
            shards = self.shards[source]
            shards.check_blocks(shard, begin, begin + length)

    def _windows(self, located: LocatedRows) -> ndarray:
        """The tokens of the rows: int32 [B, T + 1]."""
        length = self.stage.seq_len + 1
        windows = np.empty((len(located), length), np.int32)
        sources = located.rows.source.tolist()
        shards = located.shard.tolist()
        offsets = located.offset.tolist()
        for row, source in enumerate(sources):
            tokens = self.shards[source].tokens(shards[row])
            begin = offsets[row]
            windows[row] = tokens[begin : begin + length]
        return windows

    def _check_ids(self, located: LocatedRows, windows: ndarray) -> None:
        greatest_id = windows.view(np.uint32).max(initial=0)
        if greatest_id < self.vocab_size:
            return
        numbers = located.rows.window
        sources = located.rows.source.tolist()
        for row, source in enumerate(sources):
            one = slice(row, row + 1)
            shards = self.shards[source]
            shards.check_ids(windows[one], numbers[one])

    def _rearrange(self, located: LocatedRows, windows: ndarray) -> None:
        has_rate = np.array([rate > 0 for rate in self.rates])
        rows = located.rows
        is_chosen = has_rate[rows.source]
        for row in np.flatnonzero(is_chosen).tolist():
            ends = located.ends_in(row)
            self.fill_in_the_middle(windows[row], ends, rows, row)

    def _weights(self, located: LocatedRows) -> ndarray:
        length = self.stage.seq_len
        weights = np.ones((len(located), length), np.float32)
        if self.stage.doc_mask == "segment":
            is_end = (located.begin > 0) & (located.begin <= length)
            weights[located.begin_row[is_end], located.begin[is_end] - 1] = 0
        return weights

    def _segments_and_positions(self, located: LocatedRows) -> Batch:
        segment = self.stage.doc_mask == "segment"
        reset = self.stage.reset_positions
        if not (segment or reset):
            return {}
        shape = (len(located), self.stage.seq_len)
        is_inside = located.begin < self.stage.seq_len
        begin = located.begin[is_inside].astype(np.int32)
        begin_flat = located.begin_row[is_inside] * self.stage.seq_len + begin
        lengths = np.diff(begin_flat, append=shape[0] * shape[1])
        arrays = {}
        if segment:
            document = located.document[is_inside].astype(np.int32)
            arrays["segments"] = np.repeat(document, lengths).reshape(shape)
        if reset:
            begins = np.repeat(begin, lengths).reshape(shape)
            arrays["positions"] = np.subtract(self._places, begins, out=begins)
        return arrays


def _planned_shards(stage: StagePlan, shards: Mapping[str, Shards]) -> dict[int, Shards]:
    """The shards of each source of a stage, refused where they are not those that the stage was planned
    on."""
    planned_shards = {}
    for number, planned in enumerate(stage.sources):
        held = shards.get(planned.source)
        if planned.windows:
            _require_planned(stage, planned, held)
        if held is not None:
            planned_shards[number] = held
    return planned_shards


def _require_planned(stage: StagePlan, planned: StageSource, held: Shards | None) -> None:
    if held is None:
        difference = "and it has no shards"
    elif held.windows != planned.pool_windows or held.seq_len != stage.seq_len:
        difference = f"its shards hold {held.windows:,} of {held.seq_len} tokens"
    else:
        return
    pool = "an unknown number of" if planned.pool_windows is None else f"{planned.pool_windows:,}"
    raise CodemixError(
        f"stage `{stage.name}` was planned on {pool} windows of `{planned.source}`, {difference}",
        hints=["run `codemix plan` again: the data has changed since the stage was planned"],
        rule="shards-not-planned",
    )
