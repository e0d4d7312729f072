"""Where rows lie in their shards and where documents end in them, for many steps at once.

Locating the rows of one small batch by itself would cost more than copying them.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy import ndarray

from codemix.data.loader.order import Rows


@dataclass(frozen=True)
class LocatedRows:
    """B rows, and the E places at which they or their documents begin."""

    rows: Rows
    shard: ndarray  # [B]
    offset: ndarray  # [B] tokens
    begin_row: ndarray  # [E] row of each beginning, ascending
    begin: ndarray  # [E] in [0, T + 1]: 0 once per row, then where documents have just ended
    document: ndarray  # [E] 0, 1, ... inside each row
    bounds: ndarray  # [B + 1] row i has the beginnings bounds[i] to bounds[i + 1] - 1
    unchecked: ndarray  # [B] rows with tokens in a block that had not been checked when the row was located

    def __len__(self) -> int:
        return len(self.rows)

    def between(self, first: int, stop: int) -> LocatedRows:
        """Rows `first` to `stop - 1`."""
        rows = slice(first, stop)
        begins = slice(self.bounds[first], self.bounds[stop])
        return LocatedRows(
            rows=self.rows.take(rows),
            shard=self.shard[rows],
            offset=self.offset[rows],
            begin_row=self.begin_row[begins] - first,
            begin=self.begin[begins],
            document=self.document[begins],
            bounds=self.bounds[first : stop + 1] - self.bounds[first],
            unchecked=self.unchecked[rows],
        )

    def ends_in(self, row: int) -> ndarray:
        """The places in a row at which a document has just ended."""
        first = self.bounds[row] + 1  # after the row's own beginning
        stop = self.bounds[row + 1]
        return self.begin[first:stop]


@dataclass(frozen=True)
class StepBlock:
    """The located rows of consecutive steps."""

    first_step: int
    bounds: list[int]  # step first_step + i has the rows bounds[i] to bounds[i + 1] - 1
    rows: LocatedRows

    @property
    def stop_step(self) -> int:
        """The first step after the block."""
        return self.first_step + len(self.bounds) - 1

    def holds(self, step: int) -> bool:
        return self.first_step <= step < self.stop_step

    def rows_of(self, step: int) -> LocatedRows:
        at = step - self.first_step
        first = self.bounds[at]
        stop = self.bounds[at + 1]
        return self.rows.between(first, stop)
