"""The least of a smooth convex function over a polytope, by Newton's method on a logarithmic barrier
(Boyd and Vandenberghe, Convex Optimization, 11.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_GAP = 1e-12  # how far above the least value the result may be, relative to it
_SHARPER = 50.0  # factor between barriers
_MAX_STEPS = 60  # of Newton's method at one barrier
_SMALLEST = 1e-3  # value below which the gap is no longer relative
_FLAT = -1e-9  # slope of a step at which Newton's method has arrived
_ENOUGH = 0.1  # of the fall that the slope promises, for a step to be taken
_ROUNDING = 1e-14  # of a value


@dataclass(frozen=True)
class Convex:
    """A convex function: its value, its gradient and its Hessian."""

    value: Callable[[np.ndarray], float]
    gradient: Callable[[np.ndarray], np.ndarray]
    hessian: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Polytope:
    """`rows @ x <= most` and `sums @ x` as it is at the start."""

    rows: np.ndarray  # [bounds, variables]
    most: np.ndarray  # [bounds]
    sums: np.ndarray  # [equalities, variables]

    def slack(self, x: np.ndarray) -> np.ndarray:
        return self.most - self.rows @ x


def least(
    function: Convex,
    inside: Polytope,
    start: np.ndarray,
) -> np.ndarray:
    """Where the function is least; `start` keeps every bound strictly."""
    x = start
    first = abs(function.value(start))
    weight = 1 / max(1.0, first)
    n_bounds = len(inside.most)
    gap = np.inf
    while gap > _GAP * max(_SMALLEST, abs(function.value(x))):
        barrier = _Barrier(function, inside, weight)
        x = _centre(barrier, x)
        gap = n_bounds / weight
        weight *= _SHARPER
    return x


@dataclass(frozen=True)
class _Barrier:
    """`weight * function - sum(log(slack))`: near the function where it is allowed, infinite elsewhere."""

    function: Convex
    inside: Polytope
    weight: float

    def value(self, x: np.ndarray) -> float:
        slack = self.inside.slack(x)
        if slack.min() <= 0:
            return np.inf
        walls = np.log(slack)
        cost = self.weight * self.function.value(x)
        return float(cost - walls.sum())

    def pressed(self, x: np.ndarray) -> np.ndarray:
        """The slope of each wall [bounds, variables]."""
        slack = self.inside.slack(x)
        nearness = 1 / slack
        return self.inside.rows * nearness[:, None]

    def newton_step(self, x: np.ndarray) -> _Step:
        pressed = self.pressed(x)
        cost_slope = self.weight * self.function.gradient(x)
        cost_curve = self.weight * self.function.hessian(x)
        gradient = cost_slope + pressed.sum(0)
        hessian = cost_curve + pressed.T @ pressed
        sums = self.inside.sums
        way = _newton_step(hessian, gradient, sums)
        slope = gradient @ way
        return _Step(way, float(slope))


@dataclass(frozen=True)
class _Step:
    """A step, and how steeply the barrier falls along it at first."""

    way: np.ndarray
    slope: float


def _centre(barrier: _Barrier, x: np.ndarray) -> np.ndarray:
    """Where a barrier is least, by Newton's method with backtracking."""
    here = barrier.value(x)
    for _ in range(_MAX_STEPS):
        step = barrier.newton_step(x)
        if step.slope > _FLAT:
            break
        rounding = _ROUNDING * abs(here)
        length = 1.0
        there = x + step.way
        while barrier.value(there) > here + rounding + _ENOUGH * length * step.slope:
            length /= 2
            there = x + length * step.way
        x = there
        here = barrier.value(x)
    return x


def _newton_step(
    hessian: np.ndarray,
    gradient: np.ndarray,
    sums: np.ndarray,
) -> np.ndarray:
    """The step to the least of the quadratic that leaves the sums as they are.

    Variables are scaled by their curvature first: next to a bound it is larger by many orders.
    """
    n = len(gradient)
    size = n + len(sums)
    scale = 1 / np.sqrt(hessian.diagonal())
    rows = sums * scale
    both = np.outer(scale, scale)
    system = np.zeros((size, size))
    system[:n, :n] = hessian * both
    system[:n, n:] = rows.T
    system[n:, :n] = rows
    right = np.zeros(size)
    right[:n] = -gradient * scale
    solved = np.linalg.solve(system, right)
    scaled = solved[:n]
    return scaled * scale
