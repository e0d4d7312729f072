"""Random mixtures around a prior, the same on every machine and with every version of Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from statistics import NormalDist

_NORMAL = NormalDist()
_STRENGTH = (-1.0, 0.7)  # log10 of the Dirichlet's concentration
_TEMPER = (0.5, 1.0)  # power of the prior: a half brings rare domains up
_LEAST = 2e-3  # share that is drawn as none


class Draws:
    """Mixtures w ~ Dirichlet(s q^tau) of a prior q, with log10 s and tau drawn anew for each.

    Only `Random.random` is used, of which Python promises that a seed gives the same numbers for ever.
    """

    def __init__(self, seed: int):
        self._random = Random(seed)

    def mixture(self, prior: Sequence[float]) -> list[float]:
        """Shares that sum to one; a domain without a share in the prior has none."""
        strength = 10 ** self._between(*_STRENGTH)
        temper = self._between(*_TEMPER)
        tempered = [share**temper if share else 0.0 for share in prior]
        total = sum(tempered)
        logs = []
        for weight in tempered:
            shape = strength * weight / total
            logs.append(self._log_gamma(shape) if shape else -math.inf)
        largest = max(logs)
        shares = _normalised([math.exp(value - largest) for value in logs])
        kept = [share if share >= _LEAST else 0.0 for share in shares]
        return _normalised(kept)

    def _between(self, low: float, high: float) -> float:
        width = high - low
        return low + width * self._random.random()

    def _log_gamma(self, shape: float) -> float:
        """The logarithm of a gamma variate (Marsaglia and Tsang 2000); of a small shape by a larger one's,
        since the variate itself may be too small for a float."""
        if shape < 1:
            boost = math.log(self._above_zero()) / shape
            return boost + self._log_gamma(shape + 1)
        d = shape - 1 / 3
        c = 1 / math.sqrt(9 * d)
        while True:
            x = _NORMAL.inv_cdf(self._above_zero())
            v = (1 + c * x) ** 3
            if v <= 0:
                continue
            u = self._above_zero()
            bound = x * x / 2 + d * (1 - v + math.log(v))
            if math.log(u) < bound:
                return math.log(d * v)

    def _above_zero(self) -> float:
        """A uniform number between 0 and 1, both left out."""
        while True:
            u = self._random.random()
            if u > 0:
                return u


def _normalised(values: Sequence[float]) -> list[float]:
    total = sum(values)
    return [value / total for value in values]
