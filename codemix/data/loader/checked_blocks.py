"""Which blocks of a split's shards are known to be sound: those whose checksums were compared, and those that have none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from codemix.data.store import block_checksums
from codemix.data.store.manifest import Shard


class CheckedBlocks:
    """The blocks of all shards of a split in one array. Threads may mark them at the same time: a mark is only ever set."""

    def __init__(self, shards: Sequence[Shard], token_bytes: int):
        counts = [block_checksums.blocks(s.tokens * token_bytes) for s in shards]
        has_no_checks = np.array([not s.checks_sha256 for s in shards], bool)
        self._token_bytes = token_bytes
        self._first = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        self._sound = np.repeat(has_no_checks, counts)

    def touches_unchecked(self, shard: ndarray, offset: ndarray, tokens: int) -> ndarray:
        """Which of the windows at these places, of so many tokens each, touch a block that was not checked yet."""
        first = self._first[shard] + offset * self._token_bytes // block_checksums.BLOCK
        last = self._first[shard] + (offset + tokens - 1) * self._token_bytes // block_checksums.BLOCK
        sound = self._sound[first] & self._sound[last]
        longest = (tokens - 1) * self._token_bytes // block_checksums.BLOCK
        for between in range(1, longest + 1):  # windows longer than a block
            sound &= self._sound[np.minimum(first + between, last)]
        return ~sound

    def unchecked_in(self, shard: int, start: int, stop: int) -> list[int]:
        """The blocks of a shard, by number, that hold its tokens `start` to `stop` - 1 and were not checked yet."""
        first = start * self._token_bytes // block_checksums.BLOCK
        last = (stop * self._token_bytes - 1) // block_checksums.BLOCK
        before = int(self._first[shard])
        return [block for block in range(first, last + 1) if not self._sound[before + block]]

    def mark(self, shard: int, block: int) -> None:
        self._sound[self._first[shard] + block] = True
