"""Whole numbers from shares: largest remainder over a stage, and the same along a ramp."""

from __future__ import annotations

from fractions import Fraction


def apportion(total: int, shares: list[Fraction], floor: list[int] | None = None) -> list[int]:
    """`total` split into whole numbers by `shares` (which sum to 1), each within one of its exact part.

    Hamilton's method: round everything down, then give the units left over to the largest remainders, the earlier
    entry first on a tie. `floor` holds lower bounds that each result must respect (used along a ramp).
    """
    if sum(shares) != 1:
        raise ValueError(f"shares sum to {sum(shares)}")
    exact = [total * s for s in shares]
    counts = [x.numerator // x.denominator for x in exact]
    if floor is not None:
        counts = [max(c, f) for c, f in zip(counts, floor, strict=True)]
    order = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in order[: max(0, total - sum(counts))]:
        counts[i] += 1
    if sum(counts) != total:
        raise ValueError("the lower bounds leave no whole-number solution")
    return counts


def along_ramp(rows: int, start: list[Fraction], end: list[Fraction], n_segments: int) -> list[tuple[int, list[int]]]:
    """Consecutive segments `(rows, counts)` that follow shares changing linearly from `start` to `end`.

    Each prefix of segments is apportioned by the exact integral up to there, so nothing drifts and the total over the
    stage is the integral over the stage.
    """
    bounds = [rows * i // n_segments for i in range(n_segments + 1)]
    before, segments = [0] * len(start), []
    for first, last in zip(bounds, bounds[1:], strict=False):
        if last == first:
            continue
        x = Fraction(last, rows)  # integral of start + (end - start) u over [0, x], divided by x
        shares = [s + (e - s) * x / 2 for s, e in zip(start, end, strict=True)]
        upto = apportion(last, shares, before)
        segments.append((last - first, [b - a for a, b in zip(before, upto, strict=True)]))
        before = upto
    return segments
