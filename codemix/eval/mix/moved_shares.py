"""Mixtures in which some shares move and the others keep their proportions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codemix.eval.evidence.table import Table


@dataclass(frozen=True)
class MovedShare:
    """The share of some domains of a stage together: of one domain, or of all code."""

    name: str
    stage: str
    inside: np.ndarray  # [domains]: whether it counts in the share
    around: np.ndarray  # [domains]: whether it belongs to the stage

    @property
    def is_single(self) -> bool:
        """Whether it is of one domain."""
        return int(self.inside.sum()) == 1

    def of(self, mixtures: np.ndarray) -> np.ndarray:
        """The share in each mixture [..., domains]."""
        counts = self.inside.astype(float)
        return mixtures @ counts


def moved(
    prior: np.ndarray,
    shares: Sequence[MovedShare],
    levels: np.ndarray,
) -> np.ndarray:
    """The prior with some shares of one stage at levels [mixtures, shares]: mixtures [mixtures, domains]."""
    around = shares[0].around
    others = around.copy()
    found = np.where(around, 0, prior)
    for place, share in enumerate(shares):
        others &= ~share.inside
        within = _proportions(prior, share.inside)
        found = found + np.outer(levels[:, place], within)
    rest = 1 - levels.sum(1)
    return found + np.outer(rest, _proportions(prior, others))


def _proportions(prior: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The shares of the chosen domains alone, summing to one; even where the prior has none of them."""
    shares = np.where(chosen, prior, 0)
    if not shares.any():
        shares = chosen.astype(float)
    return shares / shares.sum()


def moved_shares(
    evidence: Table,
    families: Mapping[str, str],
) -> list[MovedShare]:
    """The shares that can be moved, stage by stage: of code first, where it is more than one domain, then of
    the domains of code, then of the others. `families` says what is code, by domain."""
    is_code = np.array([families.get(name) == "code" for name in evidence.domains])
    first = np.argsort(~is_code, kind="stable")
    shares = []
    for number, stage in enumerate(evidence.stage_names):
        around = evidence.stages == number
        code = is_code & around
        is_some = 1 < code.sum() < around.sum()
        if is_some:
            shares.append(MovedShare("code", stage, code, around))
        for place in first:
            if around[place]:
                alone = np.arange(len(around)) == place
                shares.append(MovedShare(evidence.domains[place], stage, alone, around))
    return shares
