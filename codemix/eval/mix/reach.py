"""How far a proposal may go from the runs, and how far it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from codemix.eval.evidence.table import Table
from codemix.eval.mix.proposal import Bound, Region

USUAL = 0.9  # of the runs are as near to another, or nearer
_AT_BOUND = 1e-6  # share within which a mixture lies at a bound


def within_runs(region: Region, evidence: Table) -> Region:
    """The region with no share beyond those that some run or the prior had: there the laws were never seen."""
    bounds = (*region.bounds, *_seen(region, evidence))
    return replace(region, bounds=bounds)


def _seen(region: Region, evidence: Table) -> Iterator[Bound]:
    tried = np.vstack([evidence.shares, region.prior])
    most = tried.max(0)
    least = tried.min(0)
    counts = least > region.least  # below that a share may be none, whatever the runs had
    for place, name in enumerate(region.names):
        row = np.zeros(len(most))
        row[place] = 1
        if most[place] < 1:
            yield Bound(row, float(most[place]), f"`{name}` at {most[place]:.2%}, the most that a run had")
        if counts[place]:
            yield Bound(
                -row, -float(least[place]), f"`{name}` at {least[place]:.2%}, the least that a run had"
            )


@dataclass(frozen=True)
class Reach:
    """Distances from the runs, as shares of the tokens that differ."""

    nearest: float  # from the proposal to the run that is most like it
    of_prior: float  # from the prior to the run that is most like it
    typical: float  # from a run to the one most like it: the median
    usual: float  # the same: that nine of ten runs keep
    held: tuple[str, ...]  # the bounds of the runs at which the proposal stops

    def notes(self) -> Iterator[str]:
        """What a reader should know before the proposal is believed."""
        for what in self.held:
            yield f"the proposal stops with {what}: what more would do was not measured"
        if self.of_prior > self.usual:
            yield (
                f"no run is like the prior: the nearest differs in {self.of_prior:.1%} of the tokens, so what gains are "
                "measured from is an extrapolation; add runs of the base recipe's own mixture"
            )
        if self.nearest > self.usual:
            yield (
                f"the run that is most like the proposal differs from it in {self.nearest:.1%} of the tokens, more "
                f"than nine of ten runs from the one most like them ({self.usual:.1%}): the prediction is an extrapolation"
            )


def reach(
    evidence: Table,
    region: Region,
    mixture: np.ndarray,
) -> Reach:
    """How far a mixture lies from the runs."""
    runs = np.unique(evidence.shares.round(9), axis=0)
    n_stages = len(evidence.stage_names)
    both = np.stack([mixture, region.prior])
    to_runs = _differences(both, runs) / n_stages
    nearest, of_prior = to_runs.min(1).tolist()
    among = _differences(runs, runs) / n_stages
    np.fill_diagonal(among, np.inf)
    alone = among.min(1)
    held = []
    for bound in _seen(region, evidence):
        if bound.row @ mixture > bound.most - _AT_BOUND:
            held.append(bound.what)
    return Reach(
        nearest=nearest,
        of_prior=of_prior,
        typical=float(np.median(alone)),
        usual=float(np.quantile(alone, USUAL)),
        held=tuple(held),
    )


def _differences(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Half the sum of the absolute differences, of each with each: tokens that another domain has."""
    found = []
    for mixture in some:
        differences = np.abs(others - mixture)
        found.append(differences.sum(1) / 2)
    return np.array(found)
