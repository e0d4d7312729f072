"""What an export writes: named sets of token sequences, read block by block from checked shards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy import ndarray

from codemix.data.loader.shards import Shards
from codemix.data.loader.stage_sequence import StageRows
from codemix.data.loader.step_source import Batch

BLOCK_TOKENS = 1 << 22  # tokens that are in memory at once, or one sequence if that is longer


@dataclass(frozen=True)
class Block:
    """Whole sequences, one after the other."""

    tokens: ndarray  # unsigned [n], little-endian, as wide as the export writes them
    lengths: ndarray  # int64 [sequences], sum n
    sources: list[str] | None = None  # of each sequence, where a set mixes them


class TokenSet(ABC):
    """Sequences of tokens that belong in one place of an export."""

    name: str  # also its path, without a suffix
    token_bytes: int

    @property
    def dtype(self) -> str:
        return f"uint{8 * self.token_bytes}"

    @property
    @abstractmethod
    def sequences(self) -> int: ...

    @property
    @abstractmethod
    def tokens(self) -> int: ...

    @property
    def bytes(self) -> int:
        """The size of its tokens and nothing else."""
        return self.tokens * self.token_bytes

    @abstractmethod
    def lengths(self) -> ndarray:
        """Tokens of each sequence: int64 [sequences]."""

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """The sequences, in order. Raises CodemixError (`shard-corrupt`) where data is damaged."""

    def raw_file(self) -> RawFile | None:
        """The file whose bytes are the set's tokens and nothing else, where the store has one."""
        return None


@dataclass(frozen=True)
class RawFile:
    """A file of the store that an export can link to."""

    path: Path
    sha256: str


class DocumentSet(TokenSet):
    """The documents of one split of a source, each with the EOS that ends it."""

    def __init__(self, name: str, shards: Shards):
        self.name = name
        self.token_bytes = shards.token_bytes
        self._shards = shards

    @property
    def sequences(self) -> int:
        return sum(shard.documents for shard in self._shards.shards)

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self._shards.shards)

    def lengths(self) -> ndarray:
        of_shards = [np.zeros(0, np.int64)]
        for number in range(len(self._shards.shards)):
            ends = self._shards.ends(number)
            of_shards.append(np.diff(ends, prepend=0))
        return np.concatenate(of_shards)

    def raw_file(self) -> RawFile | None:
        if len(self._shards.shards) != 1:
            return None
        (shard,) = self._shards.shards
        return RawFile(self._shards.path(0), shard.sha256)

    def blocks(self) -> Iterator[Block]:
        for number in range(len(self._shards.shards)):
            yield from self._blocks_of(number)

    def _blocks_of(self, shard: int) -> Iterator[Block]:
        ends = self._shards.ends(shard)
        tokens = self._shards.tokens(shard)
        first = 0
        start = 0
        while first < len(ends):
            fitting = int(ends.searchsorted(start + BLOCK_TOKENS, "right"))
            stop = max(fitting, first + 1)
            end = int(ends[stop - 1])
            self._shards.check_blocks(shard, start, end)
            lengths = np.diff(ends[first:stop], prepend=start)
            yield Block(tokens[start:end], lengths)
            first = stop
            start = end


class RowSet(TokenSet):
    """A stage's rows in the order of training, each `seq_len` + 1 tokens: its inputs and the last target."""

    def __init__(self, name: str, rows: StageRows, token_bytes: int):
        self.name = name
        self.token_bytes = token_bytes
        self.row_tokens = rows.plan.seq_len + 1
        self._rows = rows

    @property
    def sequences(self) -> int:
        return len(self._rows)

    @property
    def tokens(self) -> int:
        return self.sequences * self.row_tokens

    def lengths(self) -> ndarray:
        return np.full(self.sequences, self.row_tokens, np.int64)

    def blocks(self) -> Iterator[Block]:
        at_once = max(1, BLOCK_TOKENS // self.row_tokens)
        for first in range(0, self.sequences, at_once):
            stop = first + at_once
            yield self._block(self._rows[first:stop])

    def _block(self, rows: Batch) -> Block:
        first_inputs = rows["inputs"][:, :1]
        windows = np.concatenate([first_inputs, rows["targets"]], axis=1)
        dtype = f"<u{self.token_bytes}"
        tokens = windows.astype(dtype)
        lengths = np.full(len(rows["source"]), self.row_tokens)
        names = np.array(self._rows.sources)
        sources = names[rows["source"]]
        flat = tokens.reshape(-1)
        return Block(flat, lengths, sources.tolist())
