from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemix.recipe.planning.apportion import along_ramp, apportion

weights = st.lists(st.integers(1, 10**6), min_size=1, max_size=20)


def shares_of(numbers):
    return [Fraction(n, sum(numbers)) for n in numbers]


@given(st.integers(0, 10**12), weights)
def test_whole_numbers_that_sum_and_stay_within_one(total, numbers):
    shares = shares_of(numbers)
    counts = apportion(total, shares)
    assert sum(counts) == total
    assert all(abs(c - total * s) < 1 for c, s in zip(counts, shares, strict=True))


def test_a_tie_goes_to_the_earlier():
    assert apportion(1, [Fraction(1, 2), Fraction(1, 2)]) == [1, 0]
    assert apportion(10, shares_of([1] * 7)) == [2, 2, 2, 1, 1, 1, 1]


def test_shares_must_sum_to_one():
    with pytest.raises(ValueError):
        apportion(10, [Fraction(1, 2)])


@pytest.mark.parametrize("m", [1, 2, 3, 8])
def test_entries_that_fade_out_leave_the_units_that_those_that_grow_need(m):
    """Rounded up while they hardly grow any more, the first would keep the last from their whole numbers at
    the end.
    """
    rows = 4 * (2 * m + 1) * 64
    start = [Fraction(5, rows)] * m + [Fraction(0)] * m
    end = [Fraction(0)] * m + [Fraction(34, rows)] * m
    segments = along_ramp(rows, [*start, 1 - sum(start)], [*end, 1 - sum(end)], 64)
    totals = [sum(counts) for counts in zip(*(counts for _, counts in segments), strict=True)]
    assert totals[m : 2 * m] == [17] * m and all(t in (2, 3) for t in totals[:m]) and sum(totals) == rows


@given(weights, weights, st.integers(1, 64), st.integers(100, 10**7))
def test_a_ramp_has_exact_integrals(start, end, n, rows):
    k = min(len(start), len(end))
    start, end = shares_of(start[:k]), shares_of(end[:k])
    n = max(1, min(n, rows // (4 * k)))
    segments = along_ramp(rows, start, end, n)
    assert sum(length for length, _ in segments) == rows
    assert all(sum(counts) == length and min(counts) >= 0 for length, counts in segments)
    done, sums = 0, [0] * k
    for length, counts in segments:
        done += length
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        x = Fraction(done, rows)
        for got, s, e in zip(sums, start, end, strict=True):
            assert abs(got - rows * (s * x + (e - s) * x * x / 2)) < 1, (
                "every prefix within one window of the integral"
            )
