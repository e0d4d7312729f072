"""Whole numbers from shares: largest remainder over a stage, and the same along a ramp."""

from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction


def apportion(total: int, shares: list[Fraction]) -> list[int]:
    """`total` split into whole numbers by `shares` (which sum to 1), each within one of its exact part.

    Hamilton's method: round everything down, then give the units left over to the largest remainders, the
    earlier entry first on a tie."""
    if sum(shares) != 1:
        raise ValueError(f"shares sum to {sum(shares)}")
    exact = [total * share for share in shares]
    counts = [math.floor(part) for part in exact]
    excess = [count - part for count, part in zip(counts, exact, strict=True)]
    largest_remainder_first = sorted(range(len(shares)), key=excess.__getitem__)
    left_over = total - sum(counts)
    for i in largest_remainder_first[:left_over]:
        counts[i] += 1
    return counts


class _Curve:
    """The exact amount of one entry up to each bound of `rows`, and the same rounded down."""

    def __init__(self, rows: int, bounds: list[int], start: Fraction, end: Fraction):
        rise = end - start
        slope = rise / (2 * rows)
        self.exact: list[Fraction] = []
        for bound in bounds:
            mean_share = start + slope * bound
            self.exact.append(bound * mean_share)
        self.whole = [math.floor(amount) for amount in self.exact]

    def next_due(self, count: int) -> int:
        """The first bound at which the entry is due a unit more than `count`."""
        return bisect_left(self.whole, count + 1)


def along_ramp(
    rows: int,
    start: list[Fraction],
    end: list[Fraction],
    n_segments: int,
) -> list[tuple[int, list[int]]]:
    """Consecutive segments `(rows, counts)` that follow shares changing linearly from `start` to `end`.

    Each prefix of segments is within one of the exact integral up to there, so nothing drifts and the total
    over the stage is the integral over the stage. What rounding down leaves over goes to the entry whose next
    unit falls due first, then to the largest remainder: a unit given to an entry that no longer grows can be
    missing for one that does."""
    bounds = sorted({rows * i // n_segments for i in range(1, n_segments + 1)} - {0})
    curves = [_Curve(rows, bounds, first, last) for first, last in zip(start, end, strict=True)]
    previous_bound = 0
    previous = [0] * len(start)
    segments = []
    for t, bound in enumerate(bounds):
        counts = _counts_at(t, bound, curves, previous)
        inside = [now - before for now, before in zip(counts, previous, strict=True)]
        segments.append((bound - previous_bound, inside))
        previous_bound = bound
        previous = counts
    return segments


def _counts_at(t: int, total: int, curves: list[_Curve], previous: list[int]) -> list[int]:
    """Whole units of each entry up to the t-th bound; they sum to `total`."""
    counts = []
    urgency: list[tuple[int, Fraction, int]] = []  # of each entry that still grows; the smallest comes first
    for i, curve in enumerate(curves):
        count = max(previous[i], curve.whole[t])
        counts.append(count)
        remainder = curve.exact[t] - count
        if remainder > 0:
            urgency.append((curve.next_due(count), -remainder, i))
    urgency.sort()
    left_over = total - sum(counts)
    for _, _, i in urgency[:left_over]:
        counts[i] += 1
    return counts
