"""The two laws of a ladder (arXiv 2412.04403): from parameters and tokens to a loss, and from the loss to a score.

loss  = A / N^alpha + B / D^beta + E
score = b + a / (1 + exp(k (loss - L0)))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from codemix.eval.decide.curves import fit

_LARGEST = 50.0  # exponent
_POWERS = (0.1, 0.3, 0.6)  # starts of alpha and beta
_FLOORS = (0.05, 0.4, 0.8)  # starts of E, as shares of the least loss
_STEEP = (2.0, 5.0, 10.0)  # starts of k
_MIDDLES = (0.3, 0.6, 0.9)  # starts of L0, as shares of the mean loss
_ANCHOR = 1.0  # score of a model that needs no bits for the right answers


@dataclass(frozen=True)
class LossCurve:
    """The logarithm of the loss at some sizes. Parameters: logarithms of the first term at the centre, alpha,
    the second term at the centre, beta, and E; logarithms keep all five above 0."""

    log_n: np.ndarray  # [points]: parameters, over their centre
    log_d: np.ndarray  # [points]: tokens, over their centre

    def terms(self, parameters: np.ndarray) -> np.ndarray:
        """The three terms of the loss [3, fits, points]."""
        first, _, second, _, floor = _columns(parameters)
        powers = _powers(parameters)
        alpha = powers[1]
        beta = powers[3]
        of_n = first - alpha * self.log_n
        of_d = second - beta * self.log_d
        everywhere = np.broadcast_to(floor, of_n.shape)
        logs = np.stack([of_n, of_d, everywhere])
        return _exp(logs)

    def values(self, parameters: np.ndarray) -> np.ndarray:
        whole = self.terms(parameters).sum(0)
        return np.log(whole)

    def slopes(self, parameters: np.ndarray) -> np.ndarray:
        of_n, of_d, floor = self.terms(parameters)
        whole = of_n + of_d + floor
        _, alpha, _, beta, _ = _powers(parameters)
        columns = [
            of_n,
            -of_n * alpha * self.log_n,
            of_d,
            -of_d * beta * self.log_d,
            floor,
        ]
        return np.stack(columns, axis=-1) / whole[..., None]


@dataclass(frozen=True)
class ScoreCurve:
    """The score at some losses. Parameters: logarithm of a, logarithm of k, L0, logarithm of b."""

    loss: np.ndarray  # [points], or [fits, points]

    def values(self, parameters: np.ndarray) -> np.ndarray:
        height, _, _, floor = _powers(parameters)
        rise = self._rise(parameters)
        return floor + height * rise

    def slopes(self, parameters: np.ndarray) -> np.ndarray:
        _, _, middle, _ = _columns(parameters)
        height, k, _, floor = _powers(parameters)
        rise = self._rise(parameters)
        bend = height * rise * (1 - rise)
        columns = [
            height * rise,
            -bend * k * (self.loss - middle),
            bend * k,
            np.broadcast_to(floor, rise.shape),
        ]
        return np.stack(columns, axis=-1)

    def _rise(self, parameters: np.ndarray) -> np.ndarray:
        """From 0 at a high loss to 1 at a low one [fits, points]."""
        _, _, middle, _ = _columns(parameters)
        _, k, _, _ = _powers(parameters)
        above = self.loss - middle
        power = _exp(k * above)
        return 1 / (1 + power)


def _columns(parameters: np.ndarray) -> np.ndarray:
    """Each parameter as a column [parameters, fits, 1]."""
    return parameters.T[..., None]


def _powers(parameters: np.ndarray) -> np.ndarray:
    """What the parameters are logarithms of, as columns."""
    return _exp(_columns(parameters))


def _exp(values: np.ndarray) -> np.ndarray:
    """Of no more than can be squared and divided by."""
    clipped = np.clip(values, -_LARGEST, _LARGEST)
    return np.exp(clipped)


@dataclass(frozen=True)
class LossLaw:
    """Fitted, perhaps to several resamples."""

    parameters: np.ndarray  # [fits, 5]
    centre_n: float  # mean logarithms of the runs' sizes
    centre_d: float

    def __call__(self, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        """The losses [fits, points] of models of n parameters after d tokens."""
        log_n = np.log(n) - self.centre_n
        log_d = np.log(d) - self.centre_d
        curve = LossCurve(log_n, log_d)
        logs = curve.values(self.parameters)
        return np.exp(logs)


@dataclass(frozen=True)
class ScoreLaw:
    """Fitted, perhaps to several resamples."""

    parameters: np.ndarray  # [fits, 4]

    def __call__(self, loss: np.ndarray) -> np.ndarray:
        """The scores [fits, points] at losses [points] or [fits, points]."""
        return ScoreCurve(loss).values(self.parameters)


def fit_loss(
    n: np.ndarray,
    d: np.ndarray,
    losses: np.ndarray,
    start: LossLaw | None = None,
) -> LossLaw:
    """The law of losses [fits, runs] above 0 over parameters n and tokens d [runs]: from `start`, or the best of
    several starts for a single fit."""
    centre_n = float(np.log(n).mean())
    centre_d = float(np.log(d).mean())
    curve = LossCurve(np.log(n) - centre_n, np.log(d) - centre_d)
    y = np.log(losses)
    if start is not None:
        many = np.repeat(start.parameters, len(y), axis=0)
        return LossLaw(fit(curve, y, many).parameters, centre_n, centre_d)
    starts = _loss_starts(losses[0])
    best = fit(curve, y, starts).best()
    return LossLaw(best, centre_n, centre_d)


def _loss_starts(losses: np.ndarray) -> np.ndarray:
    """Parameters [starts, 5] at which the three terms make the mean loss."""
    starts = []
    mean = losses.mean()
    for alpha, beta, part in product(_POWERS, _POWERS, _FLOORS):
        floor = part * losses.min()
        term = (mean - floor) / 2
        starts.append([term, alpha, term, beta, floor])
    return np.log(starts)


def fit_score(
    losses: np.ndarray,
    scores: np.ndarray,
    start: ScoreLaw | None = None,
) -> ScoreLaw:
    """The law of scores [fits, runs] over losses [runs]. A loss of no bits has the score 1: small runs say
    nothing about the upper end, and without it the law may promise more than all, or stop early."""
    anchored_losses = np.append(losses, 0.0)
    anchors = np.full((len(scores), 1), _ANCHOR)
    anchored = np.concatenate([scores, anchors], axis=1)
    curve = ScoreCurve(anchored_losses)
    if start is not None:
        many = np.repeat(start.parameters, len(scores), axis=0)
        return ScoreLaw(fit(curve, anchored, many).parameters)
    starts = _score_starts(losses, scores[0])
    return ScoreLaw(fit(curve, anchored, starts).best())


def _score_starts(losses: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Parameters [starts, 4]."""
    lowest = max(float(scores.min()), 0.01)
    height = math.log(1 - lowest / 2)
    floor = math.log(lowest)
    mean = float(losses.mean())
    starts = []
    for k, part in product(_STEEP, _MIDDLES):
        steep = math.log(k)
        starts.append([height, steep, part * mean, floor])
    return np.array(starts)
