"""What fitted laws promise of any mixture against the prior, with what the runs leave open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codemix.eval.evidence.table import Table
from codemix.eval.mix.intervals import LEVEL, Interval, Z, falls_to
from codemix.eval.mix.misfit import Correction, correction
from codemix.eval.mix.surrogate import Laws
from codemix.eval.stats import widening

_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Fitted:
    """Evidence, its laws, and those of its resamples."""

    evidence: Table
    laws: Laws
    resampled: Laws


@dataclass(frozen=True)
class Band:
    """Predicted gains of mixtures, each with the bounds of its interval [mixtures]."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, place: int) -> Interval:
        """Of one mixture."""
        low = self.low[place]
        high = self.high[place]
        value = self.value[place]
        return Interval(
            float(value),
            float(low),
            float(high),
        )

    def as_json(self) -> dict[str, list[float]]:
        fields = {}
        for name, values in vars(self).items():
            fields[name] = values.tolist()
        return fields

    @property
    def range(self) -> float:
        """Between the least and the largest gain."""
        return float(np.ptp(self.value))


@dataclass(frozen=True)
class Prediction:
    """The falls of all metrics from the prior to some mixtures."""

    falls: np.ndarray  # [mixtures, metrics]
    resampled: np.ndarray  # [resamples, mixtures, metrics]
    misfit: Correction
    wider: float  # an interval from few runs than one from many

    def gain(self, weights: np.ndarray) -> Band:
        """The fall of the weighted sum of the metrics: as the laws and their misfit have it, and with normal
        intervals by the spread over resamples and by what the misfit leaves open."""
        misfit = self.misfit.weighted(weights)
        added = misfit.mean[:, 0]
        left_open = misfit.spread[:, 0]
        promised = self.falls @ weights
        value = promised + added
        resampled = self.resampled @ weights
        low, high = np.quantile(resampled, _ENDS, axis=0)
        spread = (high - low) / (2 * Z)  # a few resamples may lose their hold far from the runs
        both = np.hypot(spread, left_open)
        half = self.wider * Z * both
        return Band(value, value - half, value + half)

    def of(self, part: slice) -> Prediction:
        """Of some of the mixtures."""
        misfit = Correction(
            mean=self.misfit.mean[part],
            spread=self.misfit.spread[part],
            correlation=self.misfit.correlation,
        )
        return Prediction(self.falls[part], self.resampled[:, part], misfit, self.wider)


def predict(
    fitted: Fitted,
    prior: np.ndarray,
    mixtures: np.ndarray,
) -> Prediction:
    """The falls of the metrics from the prior to mixtures [mixtures, domains]."""
    n_runs = len(fitted.evidence.runs)
    return Prediction(
        falls=falls_to(fitted.laws, prior, mixtures),
        resampled=falls_to(fitted.resampled, prior, mixtures),
        misfit=correction(fitted.evidence, fitted.laws, prior, mixtures),
        wider=widening(n_runs, LEVEL),
    )
