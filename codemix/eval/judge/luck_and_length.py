"""What may be luck, and what may be length, in a win-rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 4000
TAIL = 0.025  # on either side of a 95% interval


def bootstrap(scores: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of the mean over resampled prompts. Where every prompt went one way resampling
    shows no luck at all; the other end is then what would still give as many wins in a row one time in forty.
    """
    n = len(scores)
    wins = sum(score > 0 for score in scores)
    losses = sum(score < 0 for score in scores)
    if wins < losses:  # mirrored scores mirror the interval
        mirrored = [-score for score in scores]
        low, high = bootstrap(mirrored, seed)
        return -high, -low
    if wins == n:
        return _edge_of_one_way(n), 1.0
    means = sorted(_resampled_means(losses, wins, n, seed))
    cut = int(TAIL * RESAMPLES)
    return means[cut], means[-1 - cut]


def _resampled_means(losses: int, wins: int, n: int, seed: int) -> list[float]:
    """The mean score of each resample of `n` prompts, the rest of which are ties.

    The counts of each score decide the mean, so resampling them is resampling the prompts.
    """
    import numpy as np

    lost = losses / n
    won = wins / n
    tied = (n - losses - wins) / n
    shares = [lost, won, tied]
    rng = np.random.default_rng(seed)
    n_lost, n_won, _ = rng.multinomial(n, shares, RESAMPLES).T
    differences = n_won - n_lost
    return (differences / n).tolist()


def _edge_of_one_way(n: int) -> float:
    """The mean score, in [-1, 1], that gives `n` wins in a row one time in forty."""
    rate = TAIL ** (1 / n)
    return 2 * rate - 1


def length_controlled(won: Sequence[float], lengths: Sequence[float]) -> float:
    """The win-rate that a logistic model of the outcome on tanh(standardised length difference) predicts at
    no difference.

    Follows AlpacaEval 2 (arXiv 2404.04475) without its term for an instruction's difficulty, which needs many
    models. A small ridge keeps the fit finite where one side wins everything.
    """
    import numpy as np

    x = np.asarray(lengths, np.float64)
    # About zero, so that exchanging A and B changes the sign and nothing else.
    mean_square = (x**2).mean()
    scale = math.sqrt(mean_square) or 1.0
    intercept = np.ones_like(x)
    slope = np.tanh(x / scale)
    design = np.stack([intercept, slope], 1)
    weights = _logistic_fit(design, np.asarray(won, np.float64))
    odds_against = math.exp(-weights[0])
    return float(1 / (1 + odds_against))


def _logistic_fit(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The weights [columns] of a logistic model of outcomes `y` [rows] on `design` [rows, columns], by
    Newton's method.
    """
    import numpy as np

    n_columns = design.shape[1]
    ridge = np.diag([1e-3] * n_columns)
    weights = np.zeros(n_columns)
    for _ in range(100):
        p = 1 / (1 + np.exp(-design @ weights))
        variance = p * (1 - p)
        hessian = design.T @ (design * variance[:, None]) + ridge
        gradient = design.T @ (y - p) - ridge @ weights
        step = np.linalg.solve(hessian, gradient)
        weights += step
        largest = np.abs(step).max()
        if largest < 1e-10:
            break
    return weights
