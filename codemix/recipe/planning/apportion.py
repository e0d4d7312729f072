"""Whole numbers from shares: largest remainder over a stage, and the same along a ramp."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction


def apportion(total: int, shares: list[Fraction]) -> list[int]:
    """`total` split into whole numbers by `shares` (which sum to 1), each within one of its exact part.

    Hamilton's method: round everything down, then give the units left over to the largest remainders, the earlier
    entry first on a tie.
    """
    if sum(shares) != 1:
        raise ValueError(f"shares sum to {sum(shares)}")
    exact = [total * s for s in shares]
    counts = [x.numerator // x.denominator for x in exact]
    order = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts


def along_ramp(
    rows: int, start: list[Fraction], end: list[Fraction], n_segments: int
) -> list[tuple[int, list[int]]]:
    """Consecutive segments `(rows, counts)` that follow shares changing linearly from `start` to `end`.

    Each prefix of segments is within one of the exact integral up to there, so nothing drifts and the total over the
    stage is the integral over the stage. What rounding down leaves over goes to the entry whose next unit falls due
    first, then to the largest remainder: a unit given to an entry that no longer grows can be missing for one that does.
    """
    bounds = sorted({rows * i // n_segments for i in range(1, n_segments + 1)} - {0})
    exact = [
        [s * last + (e - s) * Fraction(last * last, 2 * rows) for last in bounds]
        for s, e in zip(start, end, strict=True)
    ]
    whole = [[x.numerator // x.denominator for x in row] for row in exact]
    done, counts, segments = 0, [0] * len(start), []
    for t, last in enumerate(bounds):
        upto = [max(before, row[t]) for before, row in zip(counts, whole, strict=True)]
        growing = [i for i in range(len(upto)) if exact[i][t] > upto[i]]
        growing.sort(key=lambda i: (bisect_left(whole[i], upto[i] + 1), upto[i] - exact[i][t], i))
        for i in growing[: last - sum(upto)]:
            upto[i] += 1
        segments.append((last - done, [b - a for a, b in zip(counts, upto, strict=True)]))
        done, counts = last, upto
    return segments
