"""Fill-in-the-middle: some documents of some windows are rearranged so that a model learns to write what stands between two pieces.

The unit is a **document's piece inside a window**, as in context-level fill-in-the-middle (Bavarian et al. 2022, arXiv:2207.14255,
section 3): each piece is chosen on its own with the source's rate, so a rearrangement never crosses a document or a window. Cuts
fall between tokens.

    prefix-suffix-middle    <|fim_prefix|> P <|fim_suffix|> S <|fim_middle|> M
    suffix-prefix-middle    <|fim_prefix|> <|fim_suffix|> S <|fim_middle|> P M

A piece keeps its length: the three sentinels take the place of the last three tokens of its text (of the suffix), which are lost
for that window. The token that ends a document stays at its end. So windows, document boundaries, positions and planned tokens
are what they were, and the loss is exactly three tokens a rearranged piece. Pieces of fewer than `SHORTEST` tokens are left alone.

Everything is decided by (seed, source name, epoch, window, number of the piece): no state, and another choice in another epoch.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np

SENTINELS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
SHORTEST = 10  # tokens of text, three of which give way


def rearrange(
    window: np.ndarray,
    ends: np.ndarray,
    *,
    seed: int,
    source: str,
    epoch: int,
    number: int,
    rate: Fraction,
    spm: Fraction,
    sentinels: tuple[int, int, int],
) -> int:
    """Rearrange pieces of a window [T + 1] in place and return how many were. `ends` are the places in [1, T + 1] at which a document has
    just ended.

    `rate` is the chance of each piece, `spm` the share of the chosen ones in suffix-prefix-middle order, `number` the window's.
    """
    ends = ends.tolist()
    bounds, changed = [0, *ends, *([len(window)] if not ends or ends[-1] < len(window) else [])], 0
    for piece, (first, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
        text = (
            stop - first - (piece < len(ends))
        )  # a document that ends in the window ends with its end token
        if text < SHORTEST:
            continue
        chance, order, one, other = _words(f"codemix fim 1\0{seed}\0{source}\0{epoch}\0{number}\0{piece}")
        if chance * rate.denominator >= rate.numerator << 64:
            continue
        kept = text - len(sentinels)
        low, high = sorted(((one * (kept + 1)) >> 64, (other * (kept + 1)) >> 64))
        body = window[first : first + kept].copy()
        prefix, middle, suffix = body[:low], body[low:high], body[high:]
        begin, then, last = ([s] for s in sentinels)
        if order * spm.denominator < spm.numerator << 64:
            parts = (begin, then, suffix, last, prefix, middle)
        else:
            parts = (begin, prefix, then, suffix, last, middle)
        window[first : first + text] = np.concatenate(parts)
        changed += 1
    return changed


def _words(text: str) -> tuple[int, int, int, int]:
    digest = hashlib.sha256(text.encode()).digest()
    return tuple(int.from_bytes(digest[i : i + 8], "little") for i in (0, 8, 16, 24))
