"""What a larger run of the same mixture should come to, from runs of several sizes, with what they leave open.

Intervals are of the value that a run would have: residuals are drawn again, the laws fitted again (Efron and
Tibshirani 1993, 9.5), and a residual added. A law may also be wrong where nothing was run: fitted without the
largest models, it is asked for them, and where it misses by more than its intervals say, all are stretched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from codemix.errors import CodemixError, Problem
from codemix.eval.decide.ladder_runs import LadderRuns, Size, Sizes, find_baseline, ladder_runs, too_few
from codemix.eval.decide.scaling_laws import LossLaw, ScoreLaw, fit_loss, fit_score
from codemix.eval.evidence.rows import Row
from codemix.eval.stats import widening

RESAMPLES = 200
LEVEL = 0.95
QUANTILES = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_ROOM = 1e-9
FEWEST_HELD_OUT = 4  # models, of which the largest is held out
_WIDEST = 16.0  # logarithm of a gain in compute; more is none that a law can tell
_HALVINGS = 50


@dataclass(frozen=True)
class Prediction:
    """Of one metric at the target; `miss` and `stretch` are of the largest models, held out."""

    metric: str
    value: float
    low: float
    high: float
    runs: int
    misfit: float  # of the runs that the law was fitted to: mean error, as a part of the value
    miss: float | None  # root mean square error of the largest models, as a part of their values
    stretch: float  # of the interval

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Draws:
    """A prediction [sizes], and what resamples predict [resamples, sizes]."""

    value: np.ndarray
    resampled: np.ndarray

    def interval(self, stretch: float) -> tuple[float, float]:
        """The bounds for the first size."""
        value = self.value[0]
        resampled = self.resampled[:, 0]
        bounds = np.quantile(resampled, QUANTILES)
        low, high = value + stretch * (bounds - value)
        lowest = min(value, low)
        highest = max(value, high)
        return float(lowest), float(highest)


@dataclass(frozen=True)
class LossLadder:
    """Step 1: the law of a loss, that of its resamples, and the residuals of its logarithm."""

    sizes: Sizes
    law: LossLaw
    resampled: LossLaw
    residuals: np.ndarray

    @classmethod
    def of(cls, sizes: Sizes, losses: np.ndarray, seed: int) -> LossLadder:
        """`losses` are of the sizes."""
        law = fit_loss(sizes.n, sizes.d, losses[None])
        [fitted] = law(sizes.n, sizes.d)
        missed = np.log(losses / fitted)
        residuals = _scaled(missed, law.parameters)
        shape = (RESAMPLES, len(losses))
        noise = _drawn(residuals, shape, seed)
        again = fitted * np.exp(noise)
        resampled = fit_loss(
            sizes.n,
            sizes.d,
            losses=again,
            start=law,
        )
        return cls(sizes, law, resampled, residuals)

    @property
    def wider(self) -> float:
        """How much wider than a bootstrap's an interval by so few runs should be."""
        n_parameters = self.law.parameters.shape[-1]
        left = len(self.residuals) - n_parameters
        return widening(1 + left, LEVEL)

    def at(self, sizes: Sizes, seed: int) -> Draws:
        """The loss of runs of other sizes."""
        n = sizes.n
        d = sizes.d
        [value] = self.law(n, d)
        resampled = self.resampled(n, d)
        noise = _drawn(self.residuals, resampled.shape, seed + 1)
        factors = np.exp(noise)
        return Draws(value, resampled * factors)


@dataclass(frozen=True)
class ScoreLadder:
    """Step 2 after step 1: the law of a score over the loss."""

    losses: LossLadder
    law: ScoreLaw
    resampled: ScoreLaw
    residuals: np.ndarray

    @classmethod
    def of(
        cls,
        ladder: LossLadder,
        losses: np.ndarray,
        scores: np.ndarray,
        seed: int,
    ) -> ScoreLadder:
        """`losses` and `scores` are of single runs."""
        law = fit_score(losses, scores[None])
        [fitted] = law(losses)
        residuals = _scaled(scores - fitted, law.parameters)
        shape = (RESAMPLES, len(scores))
        again = fitted + _drawn(residuals, shape, seed)
        resampled = fit_score(losses, again, law)
        return cls(ladder, law, resampled, residuals)

    @property
    def wider(self) -> float:
        return self.losses.wider

    def at(self, sizes: Sizes, seed: int) -> Draws:
        """The score of runs of other sizes."""
        losses = self.losses.at(sizes, seed)
        [value] = self.law(losses.value)
        resampled = self.resampled(losses.resampled)
        noise = _drawn(self.residuals, resampled.shape, seed + 2)
        scores = np.clip(resampled + noise, 0, 1)
        return Draws(value, scores)


def _scaled(residuals: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Around 0, and as wide as errors are that no parameter has taken up."""
    n = len(residuals)
    n_parameters = parameters.shape[-1]
    left = max(1, n - n_parameters)
    centred = residuals - residuals.mean()
    return centred * math.sqrt(n / left)


def _drawn(
    residuals: np.ndarray,
    shape: tuple[int, ...],
    seed: int,
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice(residuals, size=shape)


def predict(
    runs: LadderRuns,
    target: Size,
    seed: int = 0,
) -> Iterator[Prediction]:
    """Of every metric that the runs have: losses, and scores of tasks whose right answers have a loss."""
    for metric in runs.losses:
        yield _prediction(runs, target, metric, "", seed)
    for metric, loss in runs.scores.items():
        yield _prediction(runs, target, loss, metric, seed)


def _prediction(
    runs: LadderRuns,
    target: Size,
    loss: str,
    score: str,
    seed: int,
) -> Prediction:
    ladder = _ladder(runs, loss, score, seed)
    predicted = ladder.at(Sizes.of([target]), seed)
    measured = runs.means(score or loss)
    fitted = ladder.at(runs.sizes, seed).value
    errors = np.abs(fitted - measured) / np.maximum(measured, _ROOM)
    miss = None
    stretch = 1.0
    smaller, largest = runs.without_largest()
    if len(runs.sizes.models) >= FEWEST_HELD_OUT:
        held_out = _ladder(smaller, loss, score, seed).at(largest.sizes, seed)
        actual = largest.means(score or loss)
        misses = held_out.value - actual
        miss = _root_mean_square(misses / np.maximum(actual, _ROOM))
        spread = held_out.resampled.std(0)
        stretch = max(1.0, _root_mean_square(misses / np.maximum(spread, _ROOM)))
    low, high = predicted.interval(stretch * ladder.wider)
    return Prediction(
        metric=score or loss,
        value=float(predicted.value[0]),
        low=max(0.0, low),
        high=min(1.0, high) if score else high,
        runs=len(runs.rows),
        misfit=float(errors.mean()),
        miss=miss,
        stretch=stretch,
    )


def _ladder(
    runs: LadderRuns,
    loss: str,
    score: str,
    seed: int,
) -> LossLadder | ScoreLadder:
    first = LossLadder.of(runs.sizes, runs.means(loss), seed)
    if not score:
        return first
    return ScoreLadder.of(first, runs.each(loss), runs.each(score), seed)


def _root_mean_square(values: np.ndarray) -> float:
    squares = np.square(values)
    return math.sqrt(squares.mean())


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
    noise = _drawn(ladder.residuals, (RESAMPLES,), seed + 1)
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


@dataclass(frozen=True)
class LadderReport:
    """What candidates should come to at the target, and gains over the baseline."""

    target: Size
    predictions: Mapping[str, Sequence[Prediction]]  # by candidate
    baseline: str
    gains: Sequence[Gain]
    notes: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        predictions = {}
        for candidate, of_candidate in self.predictions.items():
            predictions[candidate] = [prediction.as_json() for prediction in of_candidate]
        return {
            "target": asdict(self.target),
            "predictions": predictions,
            "baseline": self.baseline,
            "gains": [gain.as_json() for gain in self.gains],
            "notes": list(self.notes),
        }


def report(
    rows: Sequence[Row],
    target: Size,
    metrics: Sequence[str] = ("*",),
    baseline: str | None = None,
) -> LadderReport:
    """The ladders of all candidates that have enough runs. Raises CodemixError where the baseline has not."""
    found = ladder_runs(rows, metrics)
    base = find_baseline(found, baseline)
    reason = too_few(base)
    if reason:
        what = f"too few runs for a ladder of `{base.name}`: {reason}"
        raise CodemixError(Problem(what, rule="evidence-few"))
    predictions = {}
    others = []
    notes = []
    for runs in found:
        if runs is not base:
            others.append(runs)
        reason = too_few(runs)
        if reason:
            notes.append(f"No prediction of `{runs.name}`: {reason}.")
        else:
            predictions[runs.name] = tuple(predict(runs, target))
    largest = base.sizes.largest
    times = target.compute / largest.compute
    notes.append(f"{target.name} is {times:,.3g} times the compute of the largest run.")
    if len(base.sizes.models) < FEWEST_HELD_OUT:
        notes.append(f"With fewer than {FEWEST_HELD_OUT} models none is held out, so the law is not tested.")
    return LadderReport(target, predictions, base.name, tuple(gains(base, others)), tuple(notes))
