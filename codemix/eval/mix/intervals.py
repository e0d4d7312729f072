"""The best mixture with what the runs leave open: the fit and the proposal are made again on resampled runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from codemix.eval.evidence.table import Table
from codemix.eval.mix.proposal import Objective, Region, propose
from codemix.eval.mix.surrogate import Laws, fit
from codemix.eval.stats import widening

RESAMPLES = 200
LEVEL = 0.95
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
_QUANTILES = ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Interval:
    """An estimate, and the bounds between which the truth lies in 95 of 100 cases."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Proposal:
    """The best mixture, and how sure that is."""

    mixture: np.ndarray  # [domains]
    shares: tuple[Interval, ...]  # of the domains
    gain: Interval  # fall of the weighted loss from the prior's to the mixture's, less its optimism
    gains: tuple[Interval, ...]  # the same of each metric
    at_prior: np.ndarray  # [metrics]: predicted
    laws: Laws


def proposal(
    evidence: Table,
    objective: Objective,
    region: Region,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Proposal:
    """The best mixture of a region by the laws of the evidence. Raises CodemixError where none is allowed.

    A mixture that was chosen because it looks best looks better than it is. How much so is seen on
    resamples: what a resample promises of its own pick, less what the laws of all runs say of that pick. The
    gain is the promise less the mean of these (Efron and Tibshirani 1993, 17.6), and their spread is its
    interval.
    """
    weights = evidence.weights[None]
    of_all = fit(evidence.shares, evidence.losses, weights)
    laws = of_all[0]
    mixture = propose(laws, objective, region)
    drawn = _resampled(evidence, resamples, seed)
    again = fit(evidence.shares, evidence.losses, drawn)
    picks = _picks(again, objective, region)
    prior = region.prior
    promised = _falls(again, prior, picks)
    kept = _falls(of_all, prior, picks)
    optimism = promised - kept  # [resamples, metrics]
    [gains] = _falls(of_all, prior, mixture[None])
    [at_prior] = laws(prior[None])
    wider = widening(len(evidence.runs), LEVEL)
    return Proposal(
        mixture=mixture,
        shares=_each(_between, mixture, picks, wider),
        gain=_less(gains @ objective.weights, optimism @ objective.weights, wider),
        gains=_each(_less, gains, optimism, wider),
        at_prior=at_prior,
        laws=laws,
    )


def _picks(laws: Laws, objective: Objective, region: Region) -> np.ndarray:
    """The best mixture by each resample's laws [resamples, domains]."""
    picks = []
    for resample in range(len(laws.floor)):
        pick = propose(laws[resample], objective, region)
        picks.append(pick)
    return np.array(picks)


def _each(
    interval: Callable[[float, np.ndarray, float], Interval],
    values: np.ndarray,
    resampled: np.ndarray,
    wider: float,
) -> tuple[Interval, ...]:
    """The interval of each value, by the column of `resampled` that belongs to it."""
    found = []
    for value, column in zip(
        values.tolist(),
        resampled.T,
        strict=True,
    ):
        found.append(interval(value, column, wider))
    return tuple(found)


def _resampled(evidence: Table, resamples: int, seed: int) -> np.ndarray:
    """How much each run counts in each resample [resamples, runs]."""
    n = len(evidence.runs)
    chances = np.full(n, 1 / n)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, chances, size=resamples)
    return counts * evidence.weights


def _falls(
    laws: Laws,
    prior: np.ndarray,
    picks: np.ndarray,
) -> np.ndarray:
    """By how much each metric falls from the prior to the pick of each resample [resamples, metrics]."""
    before = laws(prior[None])[:, 0]
    exponents = laws.slopes * picks[:, None]
    power = np.exp(exponents.sum(-1))
    after = laws.floor + power
    return before - after


def _less(promised: float, optimism: np.ndarray, wider: float) -> Interval:
    """A promise less its optimism, with a normal interval by the optimism's spread; wider for few runs."""
    value = float(promised - optimism.mean())
    spread = float(optimism.std(ddof=1))
    half = wider * _Z * spread
    low = value - half
    high = value + half
    return Interval(value, low, high)


def _between(value: float, values: np.ndarray, wider: float) -> Interval:
    """A share with the percentiles of what resamples gave it, widened around their median for few runs."""
    quantiles = np.quantile(values, _QUANTILES)
    low, middle, high = quantiles.tolist()
    lower = middle + wider * (low - middle)
    upper = middle + wider * (high - middle)
    least = min(lower, value)
    most = max(upper, value)
    return Interval(
        value=value,
        low=max(0.0, least),
        high=min(1.0, most),
    )
