"""Blocks of sequences cut into files below a size, for formats whose offsets are 32-bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from codemix.data.export.token_sets import Block, TokenSet


def parts(tokens: TokenSet, limit: int) -> Iterator[list[Block]]:
    """The set's blocks, in groups of at most `limit` tokens, or of one block where that is larger."""
    group: list[Block] = []
    held = 0
    for block in tokens.blocks():
        if group and held + len(block.tokens) > limit:
            yield group
            group = []
            held = 0
        group.append(block)
        held += len(block.tokens)
    if group:
        yield group


def count_tokens(blocks: list[Block]) -> int:
    """Tokens of some blocks."""
    total = 0
    for block in blocks:
        total += len(block.tokens)
    return total


def starts(lengths: np.ndarray) -> np.ndarray:
    """Where each sequence of a block begins [tokens]."""
    return np.cumsum(lengths) - lengths
