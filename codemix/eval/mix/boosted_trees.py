"""A second opinion on how well losses can be predicted from shares: boosted trees, as RegMix (arXiv 2407.01492)
fits them. Needs `codemix[lightgbm]`.

With few runs for each domain the law orders runs better, with many the trees do; they promise nothing outside
of the runs, so no mixture is proposed by them.
"""

from __future__ import annotations

import numpy as np

from codemix.errors import CodemixError, Problem
from codemix.eval.evidence.table import Table
from codemix.eval.mix.quality import FOLDS, folds, spearman

ROUNDS = 1000
_SETTINGS = {"objective": "regression", "learning_rate": 0.01, "seed": 42, "verbosity": -1}


def tree_ranks(evidence: Table) -> list[float]:
    """The Spearman correlation of each metric with what trees predict for runs of the other folds, which are those
    that the laws are judged on."""
    fold = folds(evidence, FOLDS, 0)
    ranks = []
    for losses in evidence.losses.T:
        predicted = np.empty(len(losses))
        for number in range(FOLDS):
            held_out = fold == number
            known = ~held_out
            predicted[held_out] = boosted(
                evidence.shares[known],
                losses[known],
                evidence.shares[held_out],
                evidence.weights[known],
            )
        ranks.append(spearman(predicted, losses))
    return ranks


def boosted(
    shares: np.ndarray,
    losses: np.ndarray,
    asked: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """The losses [asked] that trees grown on some runs predict for other mixtures [asked, domains]."""
    try:
        import lightgbm
    except ImportError:
        what = "`--trees` needs the package lightgbm, which is not installed"
        hint = 'pip install "codemix[lightgbm]"'
        raise CodemixError(Problem(what, hints=(hint,), rule="missing-extra")) from None
    data = lightgbm.Dataset(shares, losses, weight=weights)
    trees = lightgbm.train(_SETTINGS, data, num_boost_round=ROUNDS)
    return np.asarray(trees.predict(asked))
