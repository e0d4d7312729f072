"""Whether the runs of one setting can tell its candidates apart, metric by metric.

Signal and noise are those of arXiv 2508.13144, with the spread over seeds as the noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.special import fdtrc, stdtrit

LEVEL = 0.95
DECIDES = "decides"
CANNOT_DECIDE = "cannot decide"
UNKNOWN = "one seed each"
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True)
class Separation:
    """Of one metric in one setting. `noise` and what follows from it are None without repeated seeds."""

    metric: str
    candidates: int
    runs: int
    mean: float
    signal: float  # the largest difference between two candidates, as a part of the mean
    noise: float | None  # standard deviation over seeds, as a part of the mean
    freedom: int  # runs beyond the first of each candidate
    pairs: int
    told_apart: int | None  # pairs whose difference is beyond 95% of what seeds do
    p: float | None  # chance of differences like these between equal candidates (F test)
    first: str  # the candidate with the least
    second: str
    seeds_needed: int | None  # of each of these two, to tell them apart if they differ as seen

    @property
    def signal_to_noise(self) -> float | None:
        """None where the noise is unknown, or none."""
        if not self.noise:
            return None
        return self.signal / self.noise

    @property
    def verdict(self) -> str:
        if self.p is None:
            return UNKNOWN
        return DECIDES if self.p <= 1 - LEVEL else CANNOT_DECIDE

    def as_json(self) -> dict[str, Any]:
        content = asdict(self)
        content["signal_to_noise"] = self.signal_to_noise
        content["verdict"] = self.verdict
        return content


def separation(
    metric: str,
    values: Mapping[str, Sequence[float]],
) -> Separation:
    """`values` has the runs of each candidate, at least two candidates with a run each."""
    seeds = Seeds.of(list(values.values()))
    means = seeds.means
    mean = float(means.mean())
    unit = abs(mean) or 1.0
    ranked = sorted(zip(means.tolist(), values, strict=True))
    least, first = ranked[0]
    next_least, second = ranked[1]
    needed = None
    told_apart = None
    if seeds.sd is not None:
        needed = seeds_needed(seeds.sd, next_least - least)
        told_apart = len(seeds.pairs_apart())
    return Separation(
        metric=metric,
        candidates=len(means),
        runs=int(seeds.counts.sum()),
        mean=mean,
        signal=float(np.ptp(means)) / unit,
        noise=None if seeds.sd is None else seeds.sd / unit,
        freedom=seeds.freedom,
        pairs=math.comb(len(means), 2),
        told_apart=told_apart,
        p=seeds.chance(),
        first=first,
        second=second,
        seeds_needed=needed,
    )


def seeds_needed(sd: float, difference: float) -> int | None:
    """Of each of two candidates, for a 95% interval of their difference as wide as that difference:
    n >= 2 (z sd / d)^2; None where no number is enough."""
    if not difference:
        return None
    n = 2 * (_Z * sd / difference) ** 2
    return max(1, math.ceil(n))


@dataclass(frozen=True)
class Seeds:
    """The runs of some candidates."""

    means: np.ndarray  # [candidates]
    counts: np.ndarray  # [candidates]: runs of each
    freedom: int
    sd: float | None  # of runs around their candidate's mean, pooled; None where none is repeated

    @classmethod
    def of(cls, values: Sequence[Sequence[float]]) -> Seeds:
        means = []
        counts = []
        squares = 0.0
        for runs in values:
            of_candidate = np.asarray(runs)
            means.append(of_candidate.mean())
            counts.append(len(runs))
            squares += len(runs) * float(of_candidate.var())
        freedom = sum(counts) - len(counts)
        sd = math.sqrt(squares / freedom) if freedom else None
        return cls(np.array(means), np.array(counts), freedom, sd)

    def pairs_apart(self) -> list[tuple[int, int]]:
        """The pairs of candidates, the one with the lower mean first, whose difference excludes 0 at 95%."""
        if self.sd is None:
            return []
        t = stdtrit(self.freedom, (1 + LEVEL) / 2)
        variances = self.sd**2 / self.counts
        order = self.means.argsort()
        apart = []
        for a, b in combinations(order.tolist(), 2):
            difference = self.means[b] - self.means[a]
            standard_error = math.sqrt(variances[a] + variances[b])
            if difference > t * standard_error:
                apart.append((a, b))
        return apart

    def chance(self) -> float | None:
        """Of differences as large between candidates that do not differ: one-way analysis of variance."""
        if self.sd is None:
            return None
        centre = np.average(self.means, weights=self.counts)
        squares = float(self.counts @ np.square(self.means - centre))
        if not squares:
            return 1.0
        if not self.sd:
            return 0.0
        between = len(self.means) - 1
        ratio = squares / between / self.sd**2
        return float(fdtrc(between, self.freedom, ratio))
