"""How well fitted laws order mixtures that they were not fitted on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from codemix.eval.evidence.table import Table
from codemix.eval.mix.surrogate import fit
from codemix.tables import Table as Shown

FOLDS = 5


@dataclass(frozen=True)
class Quality:
    """Of one metric, predicted for runs that were held out. Ranks start at 1."""

    metric: str
    spearman: float
    r2: float  # share of the variance explained
    decision_accuracy: float  # pairs of runs whose order is predicted
    rank_of_pick: int  # that the run with the best prediction really has
    runs: int


def k_fold(
    evidence: Table,
    n_folds: int = FOLDS,
    seed: int = 0,
) -> list[Quality]:
    """The quality of each metric's law: every run is predicted by the fit of the other folds.

    Runs of one mixture, such as the prior with several seeds, are in one fold.
    """
    predicted = held_out_predictions(evidence, n_folds, seed)
    columns = zip(
        evidence.metrics,
        predicted.T,
        evidence.losses.T,
        strict=True,
    )
    return [quality(*column) for column in columns]


def held_out_predictions(
    evidence: Table,
    n_folds: int = FOLDS,
    seed: int = 0,
) -> np.ndarray:
    """The losses [runs, metrics] that each run is predicted to have by the laws of the other folds."""
    fold = folds(evidence, n_folds, seed)
    numbers = np.arange(n_folds)[:, None]
    others = fold != numbers
    weights = others * evidence.weights
    laws = fit(evidence.shares, evidence.losses, weights)
    predicted = laws(evidence.shares)  # by every fold's laws
    runs = np.arange(len(fold))
    return predicted[fold, runs]


def folds(evidence: Table, n_folds: int, seed: int) -> np.ndarray:
    """The fold of each run: whole numbers from 0 [runs]."""
    shares = evidence.shares.round(9)
    different, mixture = np.unique(shares, axis=0, return_inverse=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(different))
    fold = order % n_folds
    return fold[mixture]


def quality(
    metric: str,
    predicted: np.ndarray,
    measured: np.ndarray,
) -> Quality:
    """How predictions [runs] of a metric compare with what was measured."""
    misses = np.square(predicted - measured)
    variance = np.square(measured - measured.mean())
    unexplained = misses.sum() / variance.sum()
    pick = measured[predicted.argmin()]
    better = measured < pick
    return Quality(
        metric=metric,
        spearman=spearman(predicted, measured),
        r2=float(1 - unexplained),
        decision_accuracy=decision_accuracy(predicted, measured),
        rank_of_pick=1 + int(better.sum()),
        runs=len(measured),
    )


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of ranks; equal values share their mean rank."""
    ranks_a = _ranks(a)
    ranks_b = _ranks(b)
    correlations = np.corrcoef(ranks_a, ranks_b)
    return float(correlations[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(
        values,
        return_inverse=True,
        return_counts=True,
    )
    last = counts.cumsum()
    mean_rank = last - (counts - 1) / 2
    return mean_rank[place]


def decision_accuracy(small: np.ndarray, large: np.ndarray) -> float:
    """The share of pairs that both put in the same order; pairs that are equal in either say nothing. NaN
    where no pair says anything."""
    first, second = np.triu_indices(len(small), 1)
    order_small = np.sign(small[first] - small[second])
    order_large = np.sign(large[first] - large[second])
    agreement = order_small * order_large
    decided = agreement[agreement != 0]
    if not len(decided):
        return math.nan
    agree = decided > 0
    return float(agree.mean())


def quality_table(
    qualities: list[Quality],
    notes: list[str],
    tree_ranks: list[float] | None = None,
) -> Shown:
    """One row per metric; with the correlations that boosted trees reach, where they were asked."""
    columns = ["metric", ">Spearman", ">R2", ">pairs in order", ">rank of the pick"]
    rows = []
    for quality in qualities:
        rows.append(
            [
                quality.metric,
                f"{quality.spearman:.3f}",
                f"{quality.r2:.3f}",
                f"{quality.decision_accuracy:.1%}",
                f"{quality.rank_of_pick} of {quality.runs}",
            ]
        )
    if tree_ranks is not None:
        columns.append(">Spearman of LightGBM")
        for row, rank in zip(rows, tree_ranks, strict=True):
            row.append(f"{rank:.3f}")
    return Shown(f"Predictions of held-out runs ({FOLDS} folds)", columns, rows, notes)
