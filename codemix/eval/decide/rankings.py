"""How often two settings put candidates in the same order, and what so few candidates leave open.

Pairs that share a candidate are not independent, so a binomial interval over pairs would be too narrow, and a
bootstrap over candidates has no width where all pairs agree. The number of pairs in another order has an
exact distribution under the model of Mallows (1957, "Non-null ranking models"): a ranking that disagrees in d
pairs with the true one has a chance in proportion to exp(theta d). Its interval is the one of Clopper and
Pearson, of all theta under which what was seen is no rarity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

LEVEL = 0.95
_STEEPEST = 60.0  # theta; exp(-60) is no chance


@dataclass(frozen=True)
class Agreement:
    """Of the orders of the same candidates in two settings."""

    candidates: int
    pairs: int
    same_order: int
    tied: int  # pairs that are equal in either setting, which count half
    low: float
    high: float

    @property
    def accuracy(self) -> float:
        """The share of pairs in the same order."""
        agreeing = self.same_order + self.tied / 2
        return agreeing / self.pairs

    @property
    def beats_chance(self) -> bool:
        return self.low > 0.5


def agreement(
    small: np.ndarray,
    large: np.ndarray,
    level: float = LEVEL,
) -> Agreement:
    """The agreement of two lists of values of the same two or more candidates. Raises ValueError for fewer."""
    n = len(small)
    if n < 2 or len(large) != n:
        raise ValueError(f"need two lists of at least two candidates, got {n} and {len(large)}")
    first, second = np.triu_indices(n, 1)
    order_small = np.sign(small[first] - small[second])
    order_large = np.sign(large[first] - large[second])
    products = order_small * order_large
    same = int((products > 0).sum())
    tied = int((products == 0).sum())
    pairs = len(products)
    low, high = _bounds(n, same, tied, level)
    return Agreement(
        candidates=n,
        pairs=pairs,
        same_order=same,
        tied=tied,
        low=low,
        high=high,
    )


def _bounds(
    candidates: int,
    same: int,
    tied: int,
    level: float,
) -> tuple[float, float]:
    """The least and largest accuracy that explain what was seen, whichever way the ties would have gone."""
    rankings = _Rankings.of(candidates)
    rare = (1 - level) / 2
    most_different = rankings.pairs - same
    least_different = most_different - tied
    low = 0.0
    if most_different < rankings.pairs:
        theta = _where(lambda value: rankings.at_most(most_different, value) - rare)
        low = rankings.accuracy(theta)
    high = 1.0
    if least_different > 0:
        theta = _where(lambda value: rankings.at_least(least_different, value) - rare)
        high = rankings.accuracy(theta)
    return low, high


def _where(excess) -> float:
    return brentq(excess, -_STEEPEST, _STEEPEST, xtol=1e-6)


@dataclass(frozen=True)
class _Rankings:
    """All rankings of some candidates by the number of pairs that are not in the true order."""

    log_counts: np.ndarray  # [1 + pairs]: logarithm of the number of rankings with so many

    @classmethod
    @lru_cache(16)
    def of(cls, candidates: int) -> _Rankings:
        """A candidate that is inserted among j others passes 0 to j of them."""
        logs = np.zeros(1)
        for others in range(1, candidates):
            logs = _with_one_more(logs, others)
        return cls(logs)

    @property
    def pairs(self) -> int:
        return len(self.log_counts) - 1

    def accuracy(self, theta: float) -> float:
        """The share of pairs that is in the true order on average."""
        different = np.arange(self.pairs + 1)
        mean = self._chances(theta) @ different
        return float(1 - mean / self.pairs)

    def at_most(self, different: int, theta: float) -> float:
        chances = self._chances(theta)
        return float(chances[: different + 1].sum())

    def at_least(self, different: int, theta: float) -> float:
        chances = self._chances(theta)
        return float(chances[different:].sum())

    def _chances(self, theta: float) -> np.ndarray:
        """Of each number of pairs in another order [1 + pairs]."""
        different = np.arange(self.pairs + 1)
        logs = self.log_counts + theta * different
        chances = np.exp(logs - logs.max())
        return chances / chances.sum()


def _with_one_more(log_counts: np.ndarray, others: int) -> np.ndarray:
    """The counts with one candidate more: each is the sum of `others + 1` neighbouring ones.

    As logarithms, since there are more rankings of 171 candidates than a float can hold. A sum of neighbours
    is a difference of running sums, which is exact enough on the rising half; the other is its mirror image.
    """
    padding = np.full(others, -math.inf)
    longer = np.concatenate([log_counts, padding])
    running = np.logaddexp.accumulate(longer)
    n = len(running)
    rising = running[: (n + 1) // 2]
    window = others + 1
    whole = rising[window:]
    gone = rising[: len(whole)]
    part = np.exp(gone - whole)
    rest = whole + np.log1p(-part)
    half = np.concatenate([rising[:window], rest])
    falling = half[: n // 2]
    return np.concatenate([half, falling[::-1]])
