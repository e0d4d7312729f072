"""By how much fitted laws miss in the same direction wherever mixtures are alike: the misfit of their form.

What a run measured is the law, plus a misfit that changes smoothly with the mixture, plus noise. The misfit is
a Gaussian process (Kennedy and O'Hagan 2001, Bayesian calibration of computer models), seen through what the
fit leaves over. How large and how smooth it is, nobody knows: every pair of a grid counts by its restricted
likelihood. Where residuals look like noise there is next to no misfit; far from all runs it is open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codemix.eval.evidence.table import Table
from codemix.eval.mix.surrogate import Laws

LENGTHS = (0.4, 0.8, 1.6, 3.2)  # over which a misfit changes, in root-mean-square distances between runs
RATIOS = np.array([0, 0.25, 1, 4, 16, 64, 256])  # of the variance of the misfit to that of the noise
CHANCE = 0.75  # of a misfit, before anything is seen: one that runs hardly show must still widen intervals
_RANK = 1e-4  # of the largest singular value: what less moves the law, the runs do not determine
_LOG_CHANCES = np.log(np.where(RATIOS, CHANCE / np.count_nonzero(RATIOS), 1 - CHANCE))


@dataclass(frozen=True)
class Correction:
    """What the misfit adds to predicted falls of the losses, from one mixture to others."""

    mean: np.ndarray  # [mixtures, metrics]
    spread: np.ndarray  # [mixtures, metrics]: standard deviation
    correlation: np.ndarray  # [metrics, metrics]: of the misfits

    def weighted(self, weights: np.ndarray) -> Correction:
        """Of the weighted sum of the metrics, as the one metric."""
        each = self.spread * weights
        shared = each @ self.correlation
        variance = (shared * each).sum(1, keepdims=True)
        positive = np.maximum(variance, 0)
        return Correction(
            mean=self.mean @ weights[:, None],
            spread=np.sqrt(positive),
            correlation=np.ones((1, 1)),
        )


def correction(
    evidence: Table,
    laws: Laws,
    prior: np.ndarray,
    mixtures: np.ndarray,
) -> Correction:
    """What to add to the falls of the losses that laws predict, from the prior to each mixture."""
    places = _Places.of(evidence.shares, prior, mixtures)
    residuals = evidence.losses - laws(evidence.shares)
    means = []
    spreads = []
    for metric in range(len(evidence.metrics)):
        slopes = laws.slopes[metric]
        power = np.exp(places.points @ slopes)
        floor = np.full(len(power), laws.floor[metric])
        tangents = np.column_stack([floor, power[:, None] * places.points])
        seen = _Residual.of(places, tangents, residuals[:, metric], evidence.weights)
        moments = seen.moments()
        means.append(moments.mean)
        spreads.append(moments.spread)
    return Correction(
        mean=np.array(means).T,
        spread=np.array(spreads).T,
        correlation=_correlation(residuals),
    )


def _correlation(residuals: np.ndarray) -> np.ndarray:
    """Of the columns [metrics, metrics]."""
    n_metrics = residuals.shape[1]
    found = np.corrcoef(residuals.T)
    return found.reshape(n_metrics, n_metrics)


@dataclass(frozen=True)
class _Places:
    """The runs, the prior and the mixtures asked for, and how alike any is to any."""

    points: np.ndarray  # [places, domains]: runs, prior, mixtures
    n_runs: int
    kernels: np.ndarray  # [lengths, places, runs and prior]

    @classmethod
    def of(
        cls,
        runs: np.ndarray,
        prior: np.ndarray,
        mixtures: np.ndarray,
    ) -> _Places:
        points = np.vstack([runs, prior, mixtures])
        n_runs = len(runs)
        known = points[: n_runs + 1]
        squares = np.square(points).sum(1)
        distances = squares[:, None] + squares[: n_runs + 1] - 2 * points @ known.T
        typical = distances[:n_runs, :n_runs].mean()
        kernels = []
        for length in LENGTHS:
            scale = 2 * typical * length**2
            kernels.append(np.exp(-distances / scale))
        return cls(points, n_runs, np.array(kernels))


@dataclass(frozen=True)
class _Moments:
    mean: np.ndarray  # [mixtures]
    spread: np.ndarray  # [mixtures]


@dataclass(frozen=True)
class _Residual:
    """What the fit of one metric leaves over, and how the misfit of a predicted fall is seen in it.

    To first order the fit takes up what its tangents can; `left` is an orthonormal basis of the rest. The error
    of a predicted fall is the misfit at the prior less that at the mixture, and at the runs what it made the fit
    take up: `contrasts` times the misfit at runs and prior, less the misfit at the mixture.
    """

    kernels: np.ndarray  # [lengths, places, runs and prior]
    root: np.ndarray  # [runs]: of the weights
    left: np.ndarray  # [runs, rest]
    seen: np.ndarray  # [rest]: the residuals in that basis
    contrasts: np.ndarray  # [mixtures, runs and prior]

    @classmethod
    def of(
        cls,
        places: _Places,
        tangents: np.ndarray,
        residuals: np.ndarray,
        weights: np.ndarray,
    ) -> _Residual:
        n = places.n_runs
        root = np.sqrt(weights)
        weighed = root[:, None] * tangents[:n]
        basis, sizes, turned = np.linalg.svd(weighed)
        rank = int(np.sum(sizes > _RANK * sizes[0]))
        taken = basis[:, :rank] / sizes[:rank]
        inverse = turned[:rank].T @ taken.T
        falls = tangents[n] - tangents[n + 1 :]
        at_runs = -(falls @ inverse) * root
        at_prior = np.ones((len(falls), 1))
        left = basis[:, rank:]
        return cls(
            kernels=places.kernels,
            root=root,
            left=left,
            seen=left.T @ (root * residuals),
            contrasts=np.hstack([at_runs, at_prior]),
        )

    def moments(self) -> _Moments:
        """The misfit of the falls, over the grid of its size and smoothness."""
        guesses = [self._of_length(kernel) for kernel in self.kernels]
        merits = np.concatenate([guess.merits for guess in guesses])
        means = np.concatenate([guess.means for guess in guesses])
        variances = np.concatenate([guess.variances for guess in guesses])
        chances = np.exp(merits - merits.max())
        chances /= chances.sum()
        mean = chances @ means
        around = np.square(means - mean)
        variance = chances @ (variances + around)
        return _Moments(mean, np.sqrt(variance))

    def _of_length(self, kernel: np.ndarray) -> _Guesses:
        """In the axes in which the misfits of what is left are independent, each has its own variance."""
        n = len(self.root)
        basis = self.root[:, None] * self.left
        among_runs = kernel[:n, :n]
        alike = basis.T @ among_runs @ basis
        values, axes = np.linalg.eigh(alike)
        at_mixtures = kernel[n + 1 :]
        error = self.contrasts @ kernel[: n + 1] - at_mixtures  # its covariance with the misfit at a place
        shared = error[:, :n] @ basis @ axes
        own = (error - at_mixtures) * self.contrasts
        ratio = RATIOS[:, None]
        total = 1 + ratio * values.clip(0)
        seen = self.seen @ axes
        noise = (seen**2 / total).mean(1)
        weighed = shared / total[:, None]
        known = (weighed * shared).sum(-1)
        unseen = 1 + own.sum(1)
        size = ratio * unseen - ratio**2 * known
        merits = len(seen) * np.log(noise)
        merits += np.log(total).sum(1)
        return _Guesses(
            merits=_LOG_CHANCES - merits / 2,
            means=ratio * (weighed @ seen),
            variances=noise[:, None] * size.clip(0),
        )


@dataclass(frozen=True)
class _Guesses:
    """For one length and every ratio: how likely the residuals are, and what they say of the falls."""

    merits: np.ndarray  # [ratios]: logarithm of the restricted likelihood
    means: np.ndarray  # [ratios, mixtures]
    variances: np.ndarray  # [ratios, mixtures]
