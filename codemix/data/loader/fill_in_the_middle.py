"""Fill-in-the-middle: some documents of some windows are rearranged so that a model learns to write what
belongs between two pieces.

The unit is a **document's piece inside a window**, as in context-level fill-in-the-middle (Bavarian et al.
2022, arXiv:2207.14255, section 3): each piece is chosen on its own with the source's rate, so a rearrangement
never crosses a document or a window. Cuts fall between tokens.

    prefix-suffix-middle    <|fim_prefix|> P <|fim_suffix|> S <|fim_middle|> M
    suffix-prefix-middle    <|fim_prefix|> <|fim_suffix|> S <|fim_middle|> P M

A piece keeps its length: the three sentinels take the place of the last three tokens of its text (of the
suffix), which are lost for that window. The token that ends a document stays at its end. So windows, document
boundaries, positions and planned tokens are what they were, and the loss is exactly three tokens per
rearranged piece. Pieces of fewer than `SHORTEST` tokens are left alone.

Everything is decided by (seed, what the source holds, epoch, window, number of the piece): no state, and a different
choice in each epoch.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy import ndarray

from codemix.data.encoding import fim_tokens
from codemix.errors import CodemixError

SENTINELS = (fim_tokens.PREFIX, fim_tokens.SUFFIX, fim_tokens.MIDDLE)
Sentinels = tuple[int, int, int]  # their ids, in this order
SHORTEST = 10  # tokens of text, three of which give way


def sentinels_of(tokenizer: Mapping[str, Any]) -> Sentinels:
    """The ids of the three tokens, from a manifest's `tokenizer`. Raises CodemixError (`fim-tokens`)."""
    special = tokenizer.get("special") or {}
    missing = [f"`{token}`" for token in SENTINELS if token not in special]
    if missing:
        raise CodemixError(
            f"fill-in-the-middle needs the tokens {', '.join(missing)}, which the tokenizer lacks",
            hints=["use a tokenizer that has them as special tokens, or remove `fim:` from the stage"],
            rule="fim-tokens",
        )
    prefix, suffix, middle = (int(special[token]) for token in SENTINELS)
    return prefix, suffix, middle


def rearrange(
    window: ndarray,
    ends: ndarray,
    *,
    seed: int,
    source: str,
    epoch: int,
    number: int,
    rate: Fraction,
    spm: Fraction,
    sentinels: Sentinels,
) -> int:
    """Rearrange pieces of a window [T + 1] in place and return how many were. `ends` are the places in [1, T
    + 1] at which a document has just ended.

    `rate` is the chance of each piece, `spm` the share of the chosen ones in suffix-prefix-middle order,
    `number` the window's, `source` the key of its source.
    """
    bounds = [0, *ends.tolist()]
    if bounds[-1] < len(window):
        bounds.append(len(window))
    changed = 0
    for piece, (first, stop) in enumerate(itertools.pairwise(bounds)):
        has_end_token = piece < len(ends)
        text = window[first : stop - has_end_token]
        if len(text) < SHORTEST:
            continue
        draw = _draw(f"codemix fim 2\0{seed}\0{source}\0{epoch}\0{number}\0{piece}")
        if _is_below(draw.chosen, rate):
            text[:] = _rearranged(text, draw, suffix_first=_is_below(draw.order, spm), sentinels=sentinels)
            changed += 1
    return changed


@dataclass(frozen=True)
class _Draw:
    """Four random numbers in [0, 2^64)."""

    chosen: int
    order: int
    one_cut: int
    other_cut: int


def _draw(text: str) -> _Draw:
    digest = hashlib.sha256(text.encode())
    return _Draw(*struct.unpack("<4Q", digest.digest()))


def _is_below(number: int, share: Fraction) -> bool:
    """Whether number / 2^64 is below a share, exactly."""
    scaled = number * share.denominator
    return scaled < share.numerator << 64


def _rearranged(text: ndarray, draw: _Draw, *, suffix_first: bool, sentinels: Sentinels) -> ndarray:
    kept = len(text) - len(sentinels)
    one_cut = draw.one_cut * (kept + 1) >> 64
    other_cut = draw.other_cut * (kept + 1) >> 64
    low = min(one_cut, other_cut)
    high = max(one_cut, other_cut)
    prefix = text[:low]
    middle = text[low:high]
    suffix = text[high:kept]
    prefix_token, suffix_token, middle_token = np.array(sentinels, text.dtype)[:, None]
    if suffix_first:
        pieces = [prefix_token, suffix_token, suffix, middle_token, prefix, middle]
    else:
        pieces = [prefix_token, prefix, suffix_token, suffix, middle_token, middle]
    return np.concatenate(pieces)
