"""The laws of a ladder of runs, each with its resamples: what a size should come to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from codemix.eval.decide.ladder_runs import Sizes
from codemix.eval.decide.scaling_laws import LossLaw, ScoreLaw, fit_loss, fit_score
from codemix.eval.stats import widening

RESAMPLES = 200


LEVEL = 0.95


QUANTILES = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Draws:
    """A prediction [sizes], and what resamples predict [resamples, sizes]."""

    value: np.ndarray
    resampled: np.ndarray

    def interval(self, stretch: float) -> tuple[float, float]:
        """The bounds for the first size."""
        value = self.value[0]
        resampled = self.resampled[:, 0]
        bounds = np.quantile(resampled, QUANTILES)
        low, high = value + stretch * (bounds - value)
        lowest = min(value, low)
        highest = max(value, high)
        return float(lowest), float(highest)


@dataclass(frozen=True)
class LossLadder:
    """Step 1: the law of a loss, that of its resamples, and the residuals of its logarithm."""

    sizes: Sizes
    law: LossLaw
    resampled: LossLaw
    residuals: np.ndarray

    @classmethod
    def of(cls, sizes: Sizes, losses: np.ndarray, seed: int) -> LossLadder:
        """`losses` are of the sizes."""
        law = fit_loss(sizes.n, sizes.d, losses[None])
        [fitted] = law(sizes.n, sizes.d)
        missed = np.log(losses / fitted)
        residuals = _scaled(missed, law.parameters)
        shape = (RESAMPLES, len(losses))
        noise = drawn(residuals, shape, seed)
        again = fitted * np.exp(noise)
        resampled = fit_loss(
            sizes.n,
            sizes.d,
            losses=again,
            start=law,
        )
        return cls(sizes, law, resampled, residuals)

    @property
    def wider(self) -> float:
        """How much wider than a bootstrap's an interval by so few runs should be."""
        n_parameters = self.law.parameters.shape[-1]
        left = len(self.residuals) - n_parameters
        return widening(1 + left, LEVEL)

    def at(self, sizes: Sizes, seed: int) -> Draws:
        """The loss of runs of other sizes."""
        n = sizes.n
        d = sizes.d
        [value] = self.law(n, d)
        resampled = self.resampled(n, d)
        noise = drawn(self.residuals, resampled.shape, seed + 1)
        factors = np.exp(noise)
        return Draws(value, resampled * factors)


@dataclass(frozen=True)
class ScoreLadder:
    """Step 2 after step 1: the law of a score over the loss."""

    losses: LossLadder
    law: ScoreLaw
    resampled: ScoreLaw
    residuals: np.ndarray

    @classmethod
    def of(
        cls,
        ladder: LossLadder,
        losses: np.ndarray,
        scores: np.ndarray,
        seed: int,
    ) -> ScoreLadder:
        """`losses` and `scores` are of single runs."""
        law = fit_score(losses, scores[None])
        [fitted] = law(losses)
        residuals = _scaled(scores - fitted, law.parameters)
        shape = (RESAMPLES, len(scores))
        again = fitted + drawn(residuals, shape, seed)
        resampled = fit_score(losses, again, law)
        return cls(ladder, law, resampled, residuals)

    @property
    def wider(self) -> float:
        return self.losses.wider

    def at(self, sizes: Sizes, seed: int) -> Draws:
        """The score of runs of other sizes."""
        losses = self.losses.at(sizes, seed)
        [value] = self.law(losses.value)
        resampled = self.resampled(losses.resampled)
        noise = drawn(self.residuals, resampled.shape, seed + 2)
        scores = np.clip(resampled + noise, 0, 1)
        return Draws(value, scores)


def _scaled(residuals: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Around 0, and as wide as errors are that no parameter has taken up."""
    n = len(residuals)
    n_parameters = parameters.shape[-1]
    left = max(1, n - n_parameters)
    centred = residuals - residuals.mean()
    return centred * math.sqrt(n / left)


def drawn(
    residuals: np.ndarray,
    shape: tuple[int, ...],
    seed: int,
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice(residuals, size=shape)
