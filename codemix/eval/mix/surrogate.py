"""The log-linear law of a mixture, `L(w) = c + exp(t.w)`, fitted to many resamples of many metrics at once.

The form is that of data mixing laws (arXiv 2403.16952) and of Olmix (arXiv 2602.12237); a scale in front is
absorbed by `t`, because shares sum to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codemix.eval.mix.least_squares import Problem, Solution, minimise

FLOORS = (0.2, 0.6, 0.9)  # starts of c, as shares of the least loss


@dataclass(frozen=True)
class Laws:
    """Fitted laws: `floor` c and `slopes` t of each metric, perhaps of each resample."""

    floor: np.ndarray  # [..., metrics]
    slopes: np.ndarray  # [..., metrics, domains]

    def __call__(self, shares: np.ndarray) -> np.ndarray:
        """The losses [..., runs, metrics] that mixtures [runs, domains] are predicted to have."""
        slopes = np.swapaxes(self.slopes, -1, -2)
        power = np.exp(shares @ slopes)
        floor = np.expand_dims(self.floor, -2)
        return floor + power

    def __iter__(self) -> Iterator[Laws]:
        """Those of each resample."""
        n_resamples = len(self.floor)
        for resample in range(n_resamples):
            yield self[resample]

    def __getitem__(self, resample: int) -> Laws:
        floor = self.floor[resample]
        slopes = self.slopes[resample]
        return Laws(floor, slopes)


def fit(
    shares: np.ndarray,
    losses: np.ndarray,
    weights: np.ndarray | None = None,
) -> Laws:
    """The laws of losses [runs, metrics], all above 0, over shares [runs, domains].

    `weights` [resamples, runs] says how much each run counts in each resample; with it the laws have a
    leading axis of resamples. Each fit is the best of those from several floors. Losses are measured in
    standard deviations, so that their unit does not matter.
    """
    spread = losses.std(0)
    scaled = losses / spread
    best = _from_all_starts(shares, scaled)
    if weights is None:
        return _in_units(best, shares, spread)[0]
    shape = (len(weights), *best.shape[1:])
    start = np.broadcast_to(best, shape)  # resamples start from the fit of all runs
    problem = Problem.of(shares, scaled, weights, start)
    solution = minimise(problem)
    return _in_units(solution.parameters, shares, spread)


def _from_all_starts(shares: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Parameters (log c, t) [1, metrics, 1 + domains] of the best fit to all runs."""
    everything = np.ones((1, len(shares)))
    solutions = []
    for floor in FLOORS:
        start = _start(shares, losses, floor)
        problem = Problem.of(shares, losses, everything, start)
        solution = minimise(problem)
        solutions.append(solution)
    return _best(solutions)


def _start(
    shares: np.ndarray,
    losses: np.ndarray,
    floor: float,
) -> np.ndarray:
    """Parameters [1, metrics, 1 + domains] with c at `floor` of the least loss, and t by least squares."""
    c = floor * losses.min(0)
    log_c = np.log(c)
    above = np.log(losses - c)
    solved = np.linalg.lstsq(shares, above, rcond=None)
    slopes = solved[0]
    columns = [log_c, *slopes]
    start = np.stack(columns, axis=-1)
    return start[None]


def _best(solutions: list[Solution]) -> np.ndarray:
    """Of each fit the parameters of the start that came to the least cost."""
    best = solutions[0]
    for other in solutions[1:]:
        better = other.cost < best.cost
        parameters = np.where(
            better[..., None],
            other.parameters,
            best.parameters,
        )
        cost = np.minimum(other.cost, best.cost)
        best = Solution(parameters, cost)
    return best.parameters


def _in_units(
    parameters: np.ndarray,
    shares: np.ndarray,
    spread: np.ndarray,
) -> Laws:
    """The laws of losses that were divided by their spread, for the losses themselves.

    The factor is a part of every slope of a metric: the shares of each stage sum to one, so each stage takes
    its part of the logarithm.
    """
    sums = shares.sum(1)
    n_stages = round(sums.mean())
    log_spread = np.log(spread) / n_stages
    log_c = parameters[..., 0]
    slopes = parameters[..., 1:]
    floor = np.exp(log_c)
    return Laws(
        floor=floor * spread,
        slopes=slopes + log_spread[:, None],
    )
