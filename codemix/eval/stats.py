"""How much of a difference is noise: paired bootstrap over the same examples, standard errors,
spread over seeds.

Scores are ratios of sums (bits over bytes, correct over asked), so an example is a pair (numerator,
denominator) and resampling draws whole examples: a long document counts with all its bytes, never as one
vote.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

Side = tuple[np.ndarray, np.ndarray]  # numerators, denominators
RESAMPLES = 2000
_CHUNK = 2**17  # resampled indices held at once; bounds memory whatever the number of examples
_KEPT = 2**25  # counts of one number of examples that are kept for the next comparison: 64 MiB


@dataclass(frozen=True)
class Difference:
    """`b - a` of two ratios of sums on the same examples,
    with a percentile interval over resampled examples.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    n_examples: int
    level: float

    @property
    def relative(self) -> float:
        """`b / a - 1`; NaN when `a` is 0."""
        if not self.a:
            return math.nan
        return self.b / self.a - 1

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def as_json(self) -> dict:
        return {
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "relative": self.relative,
            "n_examples": self.n_examples,
            "level": self.level,
        }


@dataclass(frozen=True)
class Mean:
    """A mean of `n` values with its standard error."""

    value: float
    se: float
    n: int


@dataclass(frozen=True)
class Spread:
    """What the seeds of one variant gave: mean, sample standard deviation (0 for one seed),
    least and largest.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int

    @property
    def range(self) -> float:
        return self.high - self.low


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Sum over sum. Raises ValueError when the denominators sum to nothing or anything is not finite."""
    top = np.asarray(numerators, np.float64)
    bottom = np.asarray(denominators, np.float64)
    if top.shape != bottom.shape or top.ndim != 1:
        raise ValueError(f"need two equally long lists, got shapes {top.shape} and {bottom.shape}")
    _require_finite(top)
    _require_finite(bottom)
    whole = bottom.sum()
    if whole <= 0:
        raise ValueError("the denominators sum to nothing")
    return float(top.sum() / whole)


def _require_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError("a score record is not finite")


def paired_bootstrap(
    a: tuple[Sequence[float], Sequence[float]],
    b: tuple[Sequence[float], Sequence[float]],
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """`ratio(b) - ratio(a)` with a percentile interval;
    example `i` of `a` and of `b` is the same document or question.

    Both sides see the same resamples, so what makes an example hard for both cancels. Swapping `a` and `b`
    negates the result; equal runs give exactly zero. With few examples a percentile interval is too narrow,
    so it is widened as Student's t is against the normal (Hesterberg 2015, "What teachers should know about
    the bootstrap"). Raises ValueError for fewer than two examples, or records that are not finite.
    """
    value_a = ratio(*a)
    value_b = ratio(*b)
    side_a = _side(a)
    side_b = _side(b)
    n = len(side_a[0])
    n_b = len(side_b[0])
    if n_b != n:
        raise ValueError(f"not paired: {n} examples against {n_b}")
    if n < 2:
        raise ValueError("one example says nothing about the next")
    resampled = _resampled_ratios(side_a, side_b, resamples, seed)
    differences = np.concatenate([ratio_b - ratio_a for ratio_a, ratio_b in resampled])
    # A resample of nothing but empty documents says nothing.
    differences = differences[np.isfinite(differences)]
    tail = (1 - level) / 2
    middle = value_b - value_a
    wider = widening(n, level)
    quantiles = np.quantile(differences, [tail, 1 - tail])
    low, high = [middle + wider * (float(quantile) - middle) for quantile in quantiles]
    return Difference(value_a, value_b, middle, low, high, n, level)


def _side(sums: tuple[Sequence[float], Sequence[float]]) -> Side:
    numerators, denominators = sums
    top = np.asarray(numerators, np.float64)
    bottom = np.asarray(denominators, np.float64)
    return top, bottom


def _resampled_ratios(a: Side, b: Side, resamples: int, seed: int) -> Iterator[Side]:
    """(of a, of b): the ratio of sums of each side under each resample, some resamples at a time; NaN or infinity for
    nothing but empty examples.

    Columns that are equal are summed once, so that equal sides have equal sums to the last bit.
    """
    different: list[np.ndarray] = []
    places = [_place(column, different) for column in (*a, *b)]
    table = np.stack(different, 1)
    n = len(table)
    for counts in _resamples(n, resamples, seed):
        sums = counts.astype(np.float64) @ table
        top_a, bottom_a, top_b, bottom_b = sums.T[places]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio_a = top_a / bottom_a
            ratio_b = top_b / bottom_b
        yield ratio_a, ratio_b


def _place(column: np.ndarray, different: list[np.ndarray]) -> int:
    """Where a column is among the different ones, to which it is added if none equals it."""
    for place, other in enumerate(different):
        if np.array_equal(other, column):
            return place
    different.append(column)
    return len(different) - 1


Counts = np.ndarray  # how often each of `n` examples is drawn: whole numbers [resamples, n]


def _resamples(n: int, resamples: int, seed: int) -> Iterable[Counts]:
    """How often each resample draws each of `n` examples, some resamples at a time.

    A comparison asks for the same `n` again and again, so the last few are kept.
    """
    if n * resamples > _KEPT:
        return _drawn(n, resamples, seed)
    return _kept(n, resamples, seed)


@lru_cache(4)
def _kept(n: int, resamples: int, seed: int) -> list[Counts]:
    drawn = _drawn(n, resamples, seed)
    return list(drawn)


def _drawn(n: int, resamples: int, seed: int) -> Iterator[Counts]:
    rng = np.random.default_rng(seed)
    at_once = max(1, min(resamples, _CHUNK // n))
    is_small = n < 2**16
    dtype = np.uint16 if is_small else np.uint32
    for first in range(0, resamples, at_once):
        rows = min(at_once, resamples - first)
        drawn = rng.integers(0, n, size=(rows, n))
        counts = _counts_by_row(drawn, n)
        yield counts.astype(dtype)


def _counts_by_row(drawn: np.ndarray, n: int) -> np.ndarray:
    """How often each of the numbers below `n` occurs in each row of `drawn`: whole numbers [rows, n]."""
    rows = len(drawn)
    first_of_row = n * np.arange(rows)
    cells = drawn + first_of_row[:, None]
    counts = np.bincount(cells.ravel(), minlength=rows * n)
    return counts.reshape(rows, n)


# Abramowitz and Stegun 26.7.5: the terms (coefficient, exponent of z) of each polynomial, and its divisor.
_T_FROM_NORMAL = (
    (((1, 3), (1, 1)), 4),
    (((5, 5), (16, 3), (3, 1)), 96),
    (((3, 7), (19, 5), (17, 3), (-15, 1)), 384),
)


def widening(n: int, level: float) -> float:
    """How much wider than a bootstrap's an interval over `n` examples should be: t / z * sqrt(n / (n - 1)), 1
    for many.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    v = n - 1
    # Student's t from the normal's z, by powers of 1 / v.
    t = z
    for power, (polynomial, divisor) in enumerate(_T_FROM_NORMAL, 1):
        value = 0.0
        for coefficient, exponent in polynomial:
            value += coefficient * z**exponent
        t += value / (divisor * v**power)
    return t / z * math.sqrt(n / v)


def accuracy(correct: Sequence[float]) -> Mean:
    """Share correct with its standard error, sqrt(p (1 - p) / (n - 1)) for 0/1 records."""
    values = np.asarray(correct, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError("no examples")
    _require_finite(values)
    n = len(values)
    se = values.std(ddof=1) / math.sqrt(n) if n > 1 else math.nan
    value = values.mean()
    return Mean(float(value), float(se), n)


def centred(score: Mean, chance: float) -> Mean:
    """A score rescaled so that guessing is 0 and perfect is 1; its standard error is rescaled with it."""
    if not 0 <= chance < 1:
        raise ValueError(f"chance {chance} is not in [0, 1)")
    room = 1 - chance
    value = (score.value - chance) / room
    return Mean(value, score.se / room, score.n)


def seed_spread(values: Sequence[float]) -> Spread:
    """Mean and spread of one number over seeds."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError("no seeds")
    sd = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    return Spread(
        mean=float(array.mean()), sd=sd, low=float(array.min()), high=float(array.max()), n=len(array)
    )


def verdict(
    difference: Difference, a: Spread | None = None, b: Spread | None = None, *, lower_is_better: bool = True
) -> str:
    """ "better" or "worse" (`b` against `a`), or "no call" when the interval holds 0 or seeds differ by as
    much.

    With seeds on either side, the difference must also exceed the larger range that seeds alone produce.
    """
    if not difference.excludes_zero:
        return "no call"
    noise = max((s.range for s in (a, b) if s is not None and s.n > 1), default=0.0)
    if abs(difference.difference) <= noise:
        return "no call"
    return "better" if (difference.difference < 0) == lower_is_better else "worse"
