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
        blocks = []
        has_no_checks = []
        for shard in shards:
            size = shard.tokens * token_bytes
            blocks.append(block_checksums.blocks(size))
            has_no_checks.append(not shard.checks_sha256)
        counts = np.array(blocks, np.int64)
        self._token_bytes = token_bytes
        self._first = np.cumsum(counts) - counts
        self._sound = np.repeat(np.array(has_no_checks, bool), counts)

    def _block_of(self, token: Any) -> Any:
        """The block, within its shard, that a token begins in; of an int or of an array of them."""
        return token * self._token_bytes // block_checksums.BLOCK

    def touches_unchecked(self, shard: ndarray, offset: ndarray, tokens: int) -> ndarray:
        """Which of the windows at these places, each of `tokens` tokens, touch a block that was not checked
        yet."""
        before = self._first[shard]
        last_token = offset + tokens - 1
        first = before + self._block_of(offset)
        last = before + self._block_of(last_token)
        is_sound = self._sound[first] & self._sound[last]
        whole_blocks = self._block_of(tokens - 1)  # 0 unless windows are longer than a block
        for between in range(1, whole_blocks + 1):
            block = np.minimum(first + between, last)
            is_sound &= self._sound[block]
        return ~is_sound

    def unchecked_in(self, shard: int, start: int, stop: int) -> list[int]:
        """The blocks of a shard, by number, that hold its tokens `start` to `stop` - 1 and were not checked
        yet."""
        first = self._block_of(start)
        last = self._block_of(stop - 1)
        before = self._first[shard]
        unchecked = []
        for block in range(first, last + 1):
            if not self._sound[before + block]:
                unchecked.append(block)
        return unchecked

    def mark(self, shard: int, block: int) -> None:
        at = self._first[shard] + block
        self._sound[at] = True
