"""The best mixture with what the runs leave open: the fit and the proposal are made again on resampled runs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from codemix.eval.evidence.table import Table
from codemix.eval.mix.misfit import Correction, correction
from codemix.eval.mix.proposal import Objective, Region, propose
from codemix.eval.mix.surrogate import Laws, fit
from codemix.eval.stats import widening

RESAMPLES = 200
LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
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
    gain: Interval  # fall of the weighted loss from the prior's to the mixture's
    gains: tuple[Interval, ...]  # the same of each metric
    at_prior: np.ndarray  # [metrics]: predicted
    laws: Laws
    resampled: Laws  # of each resample
    misfit: Correction  # of the fall of the weighted loss that the laws promise


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
    gain is the promise less the mean of these (Efron and Tibshirani 1993, 17.6), plus what the misfit of the
    laws adds to it; the spreads of both make its interval.
    """
    weights = evidence.weights[None]
    [laws] = fit(evidence.shares, evidence.losses, weights)
    mixture = propose(laws, objective, region)
    again = fit_resamples(evidence, resamples, seed)
    picks = _picks(again, objective, region)
    prior = region.prior
    promised = _own_falls(again, prior, picks)
    kept = falls_to(laws, prior, picks)
    optimism = promised - kept  # [resamples, metrics]
    [gains] = falls_to(laws, prior, mixture[None])
    [at_prior] = laws(prior[None])
    wider = widening(len(evidence.runs), LEVEL)
    misfits = correction(evidence, laws, prior, mixture[None])
    misfit = misfits.weighted(objective.weights)
    whole = objective.weights[:, None]
    [gain] = _less(gains @ whole, optimism @ whole, misfit, wider)
    return Proposal(
        mixture=mixture,
        shares=_each_between(mixture, picks, wider),
        gain=gain,
        gains=_less(gains, optimism, misfits, wider),
        at_prior=at_prior,
        laws=laws,
        resampled=again,
        misfit=misfit,
    )


def _picks(laws: Laws, objective: Objective, region: Region) -> np.ndarray:
    """The best mixture by each resample's laws [resamples, domains]."""
    picks = []
    for of_resample in laws:
        pick = propose(of_resample, objective, region)
        picks.append(pick)
    return np.array(picks)


def _each_between(
    values: np.ndarray,
    resampled: np.ndarray,
    wider: float,
) -> tuple[Interval, ...]:
    """The interval of each share, by the column of `resampled` that belongs to it."""
    found = []
    for value, column in zip(
        values.tolist(),
        resampled.T,
        strict=True,
    ):
        found.append(_between(value, column, wider))
    return tuple(found)


def fit_resamples(
    evidence: Table,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Laws:
    """The laws of resampled runs, with a leading axis of resamples."""
    n = len(evidence.runs)
    chances = np.full(n, 1 / n)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, chances, size=resamples)  # of each run in each resample
    return fit(evidence.shares, evidence.losses, counts * evidence.weights)


def falls_to(
    laws: Laws,
    prior: np.ndarray,
    mixtures: np.ndarray,
) -> np.ndarray:
    """By how much each metric falls from the prior to each mixture [..., mixtures, metrics]."""
    before = laws(prior[None])
    after = laws(mixtures)
    return before - after


def _own_falls(
    laws: Laws,
    prior: np.ndarray,
    picks: np.ndarray,
) -> np.ndarray:
    """By how much each metric falls from the prior to each resample's own pick, by its own laws
    [resamples, metrics]."""
    before = laws(prior[None])[:, 0]
    exponents = laws.slopes * picks[:, None]
    power = np.exp(exponents.sum(-1))
    after = laws.floor + power
    return before - after


def _less(
    promised: np.ndarray,
    optimism: np.ndarray,
    misfit: Correction,
    wider: float,
) -> tuple[Interval, ...]:
    """Promises [metrics] less their optimism and plus their misfit, with normal intervals by the spreads of
    both; wider for few runs."""
    [added] = misfit.mean
    [open_] = misfit.spread
    values = promised - optimism.mean(0) + added
    spreads = np.hypot(optimism.std(0, ddof=1), open_)
    found = []
    for value, spread in zip(values.tolist(), spreads.tolist(), strict=True):
        half = wider * Z * spread
        interval = Interval(value, value - half, value + half)
        found.append(interval)
    return tuple(found)


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
