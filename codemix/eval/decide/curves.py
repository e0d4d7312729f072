"""Robust fits of one curve to many resamples of its points, advanced together (Levenberg-Marquardt; Nocedal and
Wright, Numerical Optimization, 10.3, with Huber's weights).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

HUBER = 1e-3  # residual beyond which it counts linearly
MAX_STEPS = 200
TOLERANCE = 1e-7  # relative fall of the cost at which a fit has arrived
_DAMPING = 1e-2
_BOLDER = 0.3  # what a step that helped does to the damping, and one that did not
_MORE_CAREFUL = 4.0
_MOST_DAMPING = 1e9  # a fit that needs more has arrived
_TINY = 1e-12


class Curve(Protocol):
    """A function of some points with parameters."""

    def values(
        self,
        parameters: np.ndarray,
    ) -> np.ndarray:
        """At parameters [fits, parameters] the value of every point [fits, points]."""

    def slopes(
        self,
        parameters: np.ndarray,
    ) -> np.ndarray:
        """Its derivatives [fits, points, parameters]."""


@dataclass(frozen=True)
class Fits:
    """Where fits arrived."""

    parameters: np.ndarray  # [fits, parameters]
    cost: np.ndarray  # [fits]

    def best(self) -> np.ndarray:
        """The parameters [1, parameters] of the fit with the least cost."""
        place = self.cost.argmin()
        return self.parameters[place][None]


def fit(
    curve: Curve,
    y: np.ndarray,
    start: np.ndarray,
) -> Fits:
    """The least Huber loss of the curve against y [fits or 1, points], from start [fits, parameters] downwards."""
    moving = np.arange(len(start))  # the fits that have not arrived
    found = start.copy()
    costs = np.full(len(start), np.inf)
    y = np.broadcast_to(y, (len(start), y.shape[1]))
    damping = np.full(len(start), _DAMPING)
    for _ in range(MAX_STEPS):
        parameters = found[moving]
        target = y[moving]
        residual = curve.values(parameters) - target
        cost = _cost(residual)
        step = _step(curve, parameters, residual, damping)
        trial = parameters + step
        new_cost = _cost(curve.values(trial) - target)
        better = new_cost < cost
        found[moving] = np.where(better[:, None], trial, parameters)
        costs[moving] = np.where(better, new_cost, cost)
        damping = damping * np.where(better, _BOLDER, _MORE_CAREFUL)
        is_small = cost - new_cost < TOLERANCE * cost
        arrived = better & is_small
        arrived |= damping > _MOST_DAMPING
        moving = moving[~arrived]
        damping = damping[~arrived]
        if not len(moving):
            break
    return Fits(found, costs)


def _cost(residual: np.ndarray) -> np.ndarray:
    """The Huber loss of each fit [fits]; infinite where a value is not finite."""
    size = np.abs(residual)
    inner = np.minimum(size, HUBER)
    outer = size - inner / 2
    cost = np.sum(inner * outer, axis=1)
    is_finite = np.isfinite(cost)
    return np.where(is_finite, cost, np.inf)


def _step(
    curve: Curve,
    parameters: np.ndarray,
    residual: np.ndarray,
    damping: np.ndarray,
) -> np.ndarray:
    """The step of each fit [fits, parameters] that solves its damped, weighted normal equations."""
    slopes = curve.slopes(parameters)
    size = np.abs(residual)
    weight = HUBER / np.maximum(size, HUBER)
    weighted = slopes * weight[..., None]
    transposed = np.swapaxes(weighted, -1, -2)
    normal = transposed @ slopes
    gradient = transposed @ residual[..., None]
    diagonal = np.einsum("fii->fi", normal)  # a view
    scale = diagonal.max(1)
    diagonal += damping[:, None] * (diagonal + _TINY * scale[:, None])
    diagonal += _TINY * scale[:, None] + _TINY**2
    steps = np.linalg.solve(normal, -gradient)
    return steps[..., 0]
