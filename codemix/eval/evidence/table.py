"""Rows of evidence as numbers: shares of domains by stage, and the metrics to learn from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NO_SHARE = 1e-6  # a share that rounding explains


@dataclass(frozen=True)
class Table:
    """What a fit learns from: runs, domains (stage after stage) and metrics."""

    runs: tuple[str, ...]
    stage_names: tuple[str, ...]
    domains: tuple[str, ...]  # with the stage in front where there are several
    stages: np.ndarray  # [domains]: the number of the stage of each
    metrics: tuple[str, ...]
    shares: np.ndarray  # [runs, domains]
    losses: np.ndarray  # [runs, metrics]
    weights: np.ndarray  # [runs]: how much each row counts

    @property
    def n_free(self) -> int:
        """The directions in which mixtures can differ, and one for the level: the rank of full evidence."""
        dependent = len(self.stage_names) - 1
        return len(self.domains) - dependent

    @property
    def rank(self) -> int:
        """Of the shares."""
        smallest = NO_SHARE * math.sqrt(len(self.runs))
        rank = np.linalg.matrix_rank(self.shares, tol=smallest)
        return int(rank)
