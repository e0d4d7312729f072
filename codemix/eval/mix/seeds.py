"""What the seeds of a swarm can tell apart: runs of one mixture differ in nothing else."""

from __future__ import annotations

import numpy as np

from codemix.eval.decide.separation import Separation, separation
from codemix.eval.decide.tables import SEEDS_NOTE, separation_table
from codemix.eval.evidence.table import Table
from codemix.eval.pages.page import PageTable, Section


def separations(evidence: Table) -> list[Separation]:
    """Of every metric, with the mixtures as candidates under the names of their first runs."""
    shares = evidence.shares.round(9)
    _, firsts, mixture = np.unique(
        shares,
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    names = [evidence.runs[first] for first in firsts]
    found = []
    for metric, losses in zip(evidence.metrics, evidence.losses.T, strict=True):
        values: dict[str, list[float]] = {name: [] for name in names}
        for place, loss in zip(mixture, losses, strict=True):
            of_mixture = values[names[place]]
            of_mixture.append(float(loss))
        found.append(separation(metric, values))
    return found


def seeds_section(evidence: Table) -> Section:
    """Signal, noise and verdict of each metric."""
    table = PageTable.of(separation_table("Signal and noise", separations(evidence)), "seeds-signal")
    table.notes.append(SEEDS_NOTE)
    lead = "Which metrics can decide between these mixtures at this size, and which cannot."
    return Section("seeds", "What the seeds can tell", lead, [table])
