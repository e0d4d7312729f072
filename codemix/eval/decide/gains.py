"""Gains of a mixture over another, in compute: how much less, or more, of it reaches the same loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from codemix.eval.decide.ladder_laws import QUANTILES, RESAMPLES, LossLadder, drawn
from codemix.eval.decide.ladder_runs import LadderRuns, Size
from codemix.eval.decide.scaling_laws import LossLaw

_WIDEST = 16.0  # logarithm of a gain in compute; more is none that a law can tell


_HALVINGS = 50


@dataclass(frozen=True)
class Gain:
    """The compute at which the baseline's law reaches a candidate's loss, over what the candidate spent; None for
    a loss that the law never reaches."""

    metric: str
    candidate: str
    size: Size
    gain: float | None
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def gains(
    baseline: LadderRuns,
    others: Sequence[LadderRuns],
    seed: int = 0,
) -> Iterator[Gain]:
    """Of the largest run of each other candidate, by each loss."""
    for metric in baseline.losses:
        ladder = LossLadder.of(baseline.sizes, baseline.means(metric), seed)
        for other in others:
            if metric in other.losses:
                yield _gain(ladder, other, metric, seed)


def _gain(
    ladder: LossLadder,
    other: LadderRuns,
    metric: str,
    seed: int,
) -> Gain:
    size = other.sizes.largest
    loss = other.loss_at(metric, size)
    [value] = _compute(ladder.law, size, np.array([loss]))
    noise = drawn(ladder.residuals, (RESAMPLES,), seed + 1)
    resampled = _compute(ladder.resampled, size, loss * np.exp(noise))
    bounds = np.quantile(resampled, QUANTILES, method="nearest")
    if math.isfinite(value):
        bounds = value * (bounds / value) ** ladder.wider
    low, high = bounds
    return Gain(
        metric=metric,
        candidate=other.name,
        size=size,
        gain=_finite(value),
        low=_finite(low),
        high=_finite(high),
    )


def _compute(law: LossLaw, size: Size, losses: np.ndarray) -> np.ndarray:
    """By what each fit's compute is to be multiplied to reach its loss [fits], parameters and tokens growing
    alike; infinite where no compute is enough. By halving: the law falls."""
    low = np.full(len(losses), -_WIDEST)
    high = np.full(len(losses), _WIDEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        grown = np.exp(middle / 2)[:, None]
        n = size.parameters * grown
        d = size.tokens * grown
        reached = law(n, d)[:, 0]
        too_little = reached > losses
        low = np.where(too_little, middle, low)
        high = np.where(too_little, high, middle)
    is_reached = high < _WIDEST
    compute = np.exp(high)
    return np.where(is_reached, compute, np.inf)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
