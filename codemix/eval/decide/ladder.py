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
from codemix.eval.decide.gains import Gain, gains
from codemix.eval.decide.ladder_laws import LossLadder, ScoreLadder
from codemix.eval.decide.ladder_runs import LadderRuns, Size, Sizes, find_baseline, ladder_runs, too_few
from codemix.eval.evidence.rows import Row

_ROOM = 1e-9
FEWEST_HELD_OUT = 4  # models, of which the largest is held out


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
