"""Statistics: antisymmetry, zero for equal runs, coverage on data whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.eval import stats

records = st.lists(
    st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e4), st.floats(1, 1e4)), min_size=2, max_size=40
)


@settings(max_examples=40, deadline=None)
@given(records, st.integers(0, 2**31))
def test_swapping_the_runs_negates_the_difference(rows, seed):
    bits_a, bits_b, size = map(list, zip(*rows, strict=True))
    ab = stats.paired_bootstrap((bits_a, size), (bits_b, size), resamples=200, seed=seed)
    ba = stats.paired_bootstrap((bits_b, size), (bits_a, size), resamples=200, seed=seed)
    assert ab.difference == -ba.difference
    assert math.isclose(ab.low, -ba.high, rel_tol=1e-9, abs_tol=1e-12) and math.isclose(
        ab.high, -ba.low, rel_tol=1e-9, abs_tol=1e-12
    )


@settings(max_examples=25, deadline=None)
@given(records)
def test_equal_runs_differ_by_exactly_zero(rows):
    bits, _, size = map(list, zip(*rows, strict=True))
    same = stats.paired_bootstrap((bits, size), (bits, size), resamples=100)
    assert (same.difference, same.low, same.high, same.relative) == (0, 0, 0, 0)
    assert stats.verdict(same) == "no call"


def test_ratio_is_of_sums_not_a_mean_of_ratios():
    assert stats.ratio([10, 1], [10, 100]) == pytest.approx(11 / 110)
    loop = sum([10, 1]) / sum([10, 100])
    assert stats.ratio([10, 1], [10, 100]) == loop


@pytest.mark.parametrize("n", [5, 150])
def test_interval_covers_the_truth_about_as_often_as_it_says(n):
    rng, hits, trials, truth = np.random.default_rng(7), 0, 200, 0.05
    for trial in range(trials):
        size = rng.lognormal(6, 1, n)
        hardness = rng.normal(2, 0.4, n)
        a = size * (hardness + rng.normal(0, 0.1, n))
        b = size * (hardness + truth + rng.normal(0, 0.1, n))
        found = stats.paired_bootstrap((a, size), (b, size), resamples=300, seed=trial)
        hits += found.low <= truth <= found.high
    assert 0.87 <= hits / trials <= 0.99


def test_few_examples_widen_the_interval_as_student_says():
    for n, t in (
        (4, 3.1824),
        (6, 2.5706),
        (11, 2.2281),
        (31, 2.0423),
    ):  # 97.5% points of t with n - 1 degrees of freedom
        assert stats.widening(n, 0.95) * 1.959964 / math.sqrt(n / (n - 1)) == pytest.approx(t, rel=0.01)
    assert stats.widening(10**6, 0.95) == pytest.approx(1, abs=1e-5)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(3)
    size, hardness = np.full(300, 100.0), rng.normal(2, 0.5, 300)
    a, b = size * (hardness + rng.normal(0, 0.02, 300)), size * (hardness + rng.normal(0, 0.02, 300))
    paired = stats.paired_bootstrap((a, size), (b, size))
    shuffled = stats.paired_bootstrap((a, size), (rng.permutation(b), size))
    assert (paired.high - paired.low) * 5 < shuffled.high - shuffled.low


def test_many_examples_are_resampled_in_pieces(monkeypatch):
    rng = np.random.default_rng(1)
    a, b, size = rng.random(50), rng.random(50), np.ones(50)
    whole = stats.paired_bootstrap((a, size), (b, size), resamples=64)
    monkeypatch.setattr(stats, "_CHUNK", 64)
    pieces = stats.paired_bootstrap((a, size), (b, size), resamples=64)
    assert (
        whole.difference == pieces.difference
        and whole.low == pytest.approx(pieces.low)
        and whole.high == pytest.approx(pieces.high)
    )


def test_accuracy_and_centring():
    score = stats.accuracy([1, 0, 1, 1])
    assert score.value == 0.75 and score.se == pytest.approx(math.sqrt(0.75 * 0.25 / 3)) and score.n == 4
    assert stats.centred(score, 0.25).value == pytest.approx(2 / 3)
    assert stats.centred(stats.Mean(0.25, 0.1, 9), 0.25).value == 0
    assert stats.centred(score, 0.5).se == pytest.approx(2 * score.se)


def test_no_winner_inside_the_seeds():
    rng = np.random.default_rng(0)
    size = np.full(200, 100.0)
    a = size * rng.normal(2, 0.3, 200)
    clear = stats.paired_bootstrap((a, size), (a * 0.98, size))
    assert clear.excludes_zero and stats.verdict(clear) == "better"
    assert stats.verdict(clear, lower_is_better=False) == "worse"
    wide = stats.seed_spread([2.0, 2.2])
    assert stats.verdict(clear, wide, None) == "no call"
    assert stats.verdict(clear, stats.seed_spread([2.0, 2.001]), stats.seed_spread([1.96])) == "better"
    assert (
        wide.mean == pytest.approx(2.1)
        and wide.range == pytest.approx(0.2)
        and stats.seed_spread([5]).sd == 0
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.ratio([1.0], [0.0]),
        lambda: stats.ratio([math.nan], [1.0]),
        lambda: stats.ratio([1.0, 2.0], [1.0]),
        lambda: stats.paired_bootstrap(([1], [1]), ([1, 2], [1, 2])),
        lambda: stats.paired_bootstrap(([1], [1]), ([1], [1])),
        lambda: stats.accuracy([]),
        lambda: stats.accuracy([math.nan]),
        lambda: stats.centred(stats.Mean(0.5, 0, 1), 1.0),
        lambda: stats.seed_spread([]),
    ],
)
def test_broken_records_are_errors_never_scores(call):
    with pytest.raises(ValueError):
        call()
