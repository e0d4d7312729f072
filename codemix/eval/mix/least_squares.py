"""Levenberg-Marquardt for many fits of `y = c + exp(t.x)` to one table, advanced together.

All fits share the rows x, so the normal equations of all of them are one matrix product: of what each row
counts in each fit with the products of the columns of x (Nocedal and Wright, Numerical Optimization, 10.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SOFT = 1.0  # residual beyond which it counts linearly (soft L1), in standard deviations of y
RIDGE = 1e-5  # on t, against squared residuals; a larger one loses ranking quality on RegMix
MAX_STEPS = 100
TOLERANCE = 1e-9  # relative fall of the cost at which a fit has arrived
_DAMPING = 1e-2  # of the first step
_BOLDER = 0.2  # what a step that helped does to the damping, and one that did not
_MORE_CAREFUL = 4.0
_TINY = 1e-12
_MOST_DAMPING = 1e8  # a fit that needs more has arrived
_LARGEST = 30.0  # exponent; exp of more is no loss


@dataclass(frozen=True)
class Problem:
    """Fits f of y[f] over the same rows, and the products of the columns of `x` that all of them need."""

    x: np.ndarray  # [rows, columns]
    products: np.ndarray  # [rows, columns squared]
    y: np.ndarray  # [fits, rows]
    weights: np.ndarray  # [fits, rows]
    start: np.ndarray  # [fits, 1 + columns]: log c, t
    shape: tuple[int, ...]  # of the fits, as they were given

    @classmethod
    def of(
        cls,
        x: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray,
        start: np.ndarray,
    ) -> Problem:
        """From y [rows, metrics], weights [resamples, rows] and start [resamples, metrics, 1 + columns]."""
        n_resamples, n_metrics, size = start.shape
        pairs = x[:, :, None] * x[:, None, :]
        n_rows = len(x)
        return cls(
            x=x,
            products=pairs.reshape(n_rows, -1),
            y=np.tile(y.T, (n_resamples, 1)),
            weights=np.repeat(weights, n_metrics, axis=0),
            start=start.reshape(-1, size),
            shape=(n_resamples, n_metrics),
        )

    def only(self, fits: np.ndarray) -> Problem:
        """Some of the fits."""
        chosen = len(self.start[fits])
        return Problem(
            self.x,
            self.products,
            y=self.y[fits],
            weights=self.weights[fits],
            start=self.start[fits],
            shape=(chosen,),
        )

    def at(self, parameters: np.ndarray) -> Point:
        """The value of the law, residuals and cost at parameters of all fits."""
        slopes = parameters[:, 1:]
        exponents = slopes @ self.x.T
        power = np.exp(np.minimum(exponents, _LARGEST))
        floor = _floor(parameters)
        residual = floor[:, None] + power - self.y
        soft = residual / SOFT
        bend = np.sqrt(1 + soft**2)
        misfit = self.weights * (bend - 1)
        penalty = np.square(slopes)
        cost = misfit.sum(1) * SOFT**2
        cost += penalty.sum(1) * RIDGE / 2
        return Point(
            parameters=parameters,
            power=power,
            residual=residual,
            bend=bend,
            cost=cost,
        )


@dataclass(frozen=True)
class Point:
    """Parameters of some fits, and what follows from them."""

    parameters: np.ndarray  # [fits, 1 + columns]
    power: np.ndarray  # [fits, rows]: exp(t.x)
    residual: np.ndarray  # [fits, rows]
    bend: np.ndarray  # [fits, rows]: by how much a residual is discounted
    cost: np.ndarray  # [fits]

    def moved_to(
        self,
        other: Point,
        better: np.ndarray,
    ) -> Point:
        """The other point for the fits that are better there."""
        row = better[:, None]
        return Point(
            parameters=np.where(row, other.parameters, self.parameters),
            power=np.where(row, other.power, self.power),
            residual=np.where(row, other.residual, self.residual),
            bend=np.where(row, other.bend, self.bend),
            cost=np.where(better, other.cost, self.cost),
        )

    def only(self, fits: np.ndarray) -> Point:
        """Some of the fits."""
        return Point(
            parameters=self.parameters[fits],
            power=self.power[fits],
            residual=self.residual[fits],
            bend=self.bend[fits],
            cost=self.cost[fits],
        )


@dataclass(frozen=True)
class Solution:
    """Where the fits arrived: parameters (log c, t), and the cost there."""

    parameters: np.ndarray  # [resamples, metrics, 1 + columns]
    cost: np.ndarray  # [resamples, metrics]


def minimise(problem: Problem) -> Solution:
    """The least weighted soft-L1 misfit with a ridge on t, from the start of each fit downwards."""
    shape = problem.shape
    found = problem.start.copy()
    n_fits, size = found.shape
    cost = np.zeros(n_fits)
    moving = np.arange(n_fits)  # the fits that have not arrived
    damping = np.full(n_fits, _DAMPING)
    point = problem.at(problem.start)
    for _ in range(MAX_STEPS):
        step = _step(problem, point, damping)
        trial = problem.at(point.parameters + step)
        fall = point.cost - trial.cost
        better = fall > 0
        point = point.moved_to(trial, better)
        damping = damping * np.where(better, _BOLDER, _MORE_CAREFUL)
        found[moving] = point.parameters
        cost[moving] = point.cost
        is_small = fall < TOLERANCE * point.cost
        arrived = better & is_small
        arrived |= damping > _MOST_DAMPING
        left = ~arrived
        if not left.any():
            break
        moving = moving[left]
        damping = damping[left]
        point = point.only(left)
        problem = problem.only(left)
    return Solution(
        parameters=found.reshape(*shape, size),
        cost=cost.reshape(shape),
    )


def _floor(parameters: np.ndarray) -> np.ndarray:
    """The floor c of each fit [fits]."""
    log_c = parameters[:, 0]
    return np.exp(np.minimum(log_c, _LARGEST))


def _step(
    problem: Problem,
    point: Point,
    damping: np.ndarray,
) -> np.ndarray:
    """The step of each fit [fits, 1 + columns] that solves its damped normal equations.

    A row's derivative is (c, exp(t.x) x), so every sum over rows is a product with x or with its products.
    """
    parameters = point.parameters
    n_fits, size = parameters.shape
    x = problem.x
    floor = _floor(parameters)
    weight = problem.weights / point.bend
    pull = weight * point.residual
    steep = weight * point.power
    gradient = RIDGE * parameters
    gradient[:, 0] = floor * pull.sum(1)
    gradient[:, 1:] += (pull * point.power) @ x
    squares = steep * point.power
    curved = squares @ problem.products
    mixed = steep @ x
    mixed *= floor[:, None]
    normal = np.empty((n_fits, size, size))
    normal[:, 0, 0] = weight.sum(1) * floor**2
    normal[:, 0, 1:] = mixed
    normal[:, 1:, 0] = mixed
    n = size - 1
    normal[:, 1:, 1:] = curved.reshape(n_fits, n, n)
    diagonal = np.einsum("fii->fi", normal)  # a view
    diagonal[:, 1:] += RIDGE
    damped = 1 + damping[:, None]
    diagonal *= damped
    diagonal += _TINY
    right = -gradient[..., None]
    steps = np.linalg.solve(normal, right)
    return steps[..., 0]
