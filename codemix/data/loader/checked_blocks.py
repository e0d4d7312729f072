"""Which blocks of a split's shards are known to be sound: those whose checksums were compared, and those that
have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from codemix.data.store import block_checksums
from codemix.data.store.manifest import Shard


class CheckedBlocks:
    """The blocks of all shards of a split in one array. Threads may mark them at the same time: a mark is
    only ever set."""

    def __init__(self, shards: Sequence[Shard], token_bytes: int):
        counts = np.array([block_checksums.blocks(s.tokens * token_bytes) for s in shards], np.int64)
        has_no_checks = np.array([not s.checks_sha256 for s in shards], bool)
        self._token_bytes = token_bytes
        self._first = np.cumsum(counts) - counts
        self._sound = np.repeat(has_no_checks, counts)

    def _block_of(self, token: Any) -> Any:
        """The block, within its shard, that a token begins in; of an int or of an array of them."""
        return token * self._token_bytes // block_checksums.BLOCK

    def touches_unchecked(self, shard: ndarray, offset: ndarray, tokens: int) -> ndarray:
        """Which of the windows at these places, each of `tokens` tokens, touch a block that was not checked
        yet."""
        before = self._first[shard]
        first = before + self._block_of(offset)
        last = before + self._block_of(offset + tokens - 1)
        is_sound = self._sound[first] & self._sound[last]
        for between in range(1, self._block_of(tokens - 1) + 1):  # windows longer than a block
            block = np.minimum(first + between, last)
            is_sound &= self._sound[block]
        return ~is_sound

    def unchecked_in(self, shard: int, start: int, stop: int) -> list[int]:
        """The blocks of a shard, by number, that hold its tokens `start` to `stop` - 1 and were not checked
        yet."""
        blocks = range(self._block_of(start), self._block_of(stop - 1) + 1)
        before = self._first[shard]
        return [block for block in blocks if not self._sound[before + block]]

    def mark(self, shard: int, block: int) -> None:
        self._sound[self._first[shard] + block] = True
