"""What a mixture page shows beside the proposal: effects of single shares, slices through all, the trade-off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codemix.eval.mix.measures import Measure
from codemix.eval.mix.moved_shares import MovedShare, moved
from codemix.eval.mix.prediction import Band, Fitted, predict
from codemix.eval.mix.proposal import Objective, Region, propose

LEVELS = 33  # of a share, from the least to the largest that a run had
STEPS = 30  # of a side of a slice
WEIGHTINGS = 11  # of code against text


@dataclass(frozen=True)
class Effect:
    """The gain over the prior when one share moves, the others in the prior's proportions."""

    share: MovedShare
    levels: np.ndarray  # [levels]
    gains: Mapping[str, Band]  # by measure
    at_prior: float
    of_runs: np.ndarray  # [runs]

    @property
    def range(self) -> float:
        """Between the worst and the best level, of the first measure."""
        first = next(iter(self.gains.values()))
        return first.range

    def as_json(self) -> dict[str, Any]:
        gains = {name: band.as_json() for name, band in self.gains.items()}
        return {
            "stage": self.share.stage,
            "share": self.share.name,
            "levels": self.levels.tolist(),
            "gains": gains,
        }


@dataclass(frozen=True)
class Slice:
    """The gain over two shares of a stage; the other domains keep the prior's proportions."""

    shares: tuple[MovedShare, MovedShare]
    third: str  # the name of the only other domain; nothing where there are several
    mixtures: np.ndarray  # [mixtures, domains]
    gain: np.ndarray  # [mixtures]

    def places(self, mixtures: np.ndarray) -> np.ndarray:
        """The two shares of each mixture [..., 2]."""
        first, second = self.shares
        across = first.of(mixtures)
        up = second.of(mixtures)
        return np.stack([across, up], axis=-1)

    def as_json(self) -> dict[str, Any]:
        first, second = self.shares
        return {
            "stage": first.stage,
            "shares": [first.name, second.name],
            "at": self.places(self.mixtures).tolist(),
            "gain": self.gain.tolist(),
        }


@dataclass(frozen=True)
class TradeOff:
    """What the proposal would be, from an objective of text metrics alone to one of code metrics alone."""

    weights: np.ndarray  # [weightings]: of code
    mixtures: np.ndarray  # [weightings, domains]
    code: Band
    text: Band

    def as_json(self) -> dict[str, Any]:
        return {
            "weight_of_code": self.weights.tolist(),
            "mixtures": self.mixtures.tolist(),
            "code": self.code.as_json(),
            "text": self.text.as_json(),
        }


@dataclass(frozen=True)
class Landscape:
    """Everything that figures show of the laws."""

    effects: Sequence[Effect]
    slices: Sequence[Slice]
    trade_off: TradeOff | None

    def as_json(self) -> dict[str, Any]:
        return {
            "effects": [effect.as_json() for effect in self.effects],
            "slices": [cut.as_json() for cut in self.slices],
            "trade_off": self.trade_off.as_json() if self.trade_off else None,
        }


def effects(
    fitted: Fitted,
    prior: np.ndarray,
    shares: Sequence[MovedShare],
    measures: Sequence[Measure],
) -> list[Effect]:
    """The effect of each share on each measure, over the levels that runs had of it."""
    found = []
    runs = fitted.evidence.shares
    paths = []
    for share in shares:
        of_runs = share.of(runs)
        levels = np.linspace(of_runs.min(), of_runs.max(), LEVELS)
        paths.append(levels)
    ways = [moved(prior, [share], path[:, None]) for share, path in zip(shares, paths, strict=True)]
    together = predict(fitted, prior, np.vstack(ways))
    for place, share in enumerate(shares):
        part = together.of(slice(place * LEVELS, (place + 1) * LEVELS))
        effect = Effect(
            share=share,
            levels=paths[place],
            gains={measure.name: part.gain(measure.weights) for measure in measures},
            at_prior=float(share.of(prior)),
            of_runs=share.of(runs),
        )
        found.append(effect)
    return found


def slices(
    fitted: Fitted,
    prior: np.ndarray,
    seen: Sequence[Effect],
    measure: Measure,
) -> list[Slice]:
    """A slice of each stage of at least three domains, over the two domains that matter most."""
    found = []
    for stage in fitted.evidence.stage_names:
        single = [effect for effect in seen if effect.share.stage == stage and effect.share.is_single]
        if len(single) < 3:
            continue
        by_range = sorted(single, key=lambda effect: -effect.range)
        first, second, *others = by_range
        levels = _triangle() if len(others) == 1 else _rectangle(first, second)
        pair = (first.share, second.share)
        mixtures = moved(prior, pair, levels)
        predicted = predict(fitted, prior, mixtures)
        third = others[0].share.name if len(others) == 1 else ""
        cut = Slice(pair, third, mixtures, predicted.gain(measure.weights).value)
        found.append(cut)
    return found


def _triangle() -> np.ndarray:
    """All pairs of shares that leave a third [pairs, 2]."""
    pairs = []
    for first in range(STEPS + 1):
        for second in range(STEPS + 1 - first):
            pairs.append((first, second))
    return np.array(pairs) / STEPS


def _rectangle(first: Effect, second: Effect) -> np.ndarray:
    """The pairs of shares that both lie where runs had them, and leave something to the others [pairs, 2]."""
    sides = []
    for effect in (first, second):
        least = effect.levels[0]
        largest = effect.levels[-1]
        side = np.linspace(least, largest, STEPS + 1)
        sides.append(side)
    grids = np.meshgrid(*sides)
    columns = [grid.ravel() for grid in grids]
    pairs = np.column_stack(columns)
    leaves_some = pairs.sum(1) <= 1
    return pairs[leaves_some]


def trade_off(
    fitted: Fitted,
    objective: Objective,
    region: Region,
    measures: Sequence[Measure],
) -> TradeOff | None:
    """What is proposed as the objective goes from text to code; None where it has not both."""
    by_name = {measure.name: measure.weights for measure in measures}
    if "code" not in by_name:
        return None
    code = by_name["code"]
    text = by_name["text"]
    shares_of_code = np.linspace(0, 1, WEIGHTINGS)
    mixtures = []
    for share in shares_of_code:
        weights = share * code + (1 - share) * text
        asked = replace(objective, weights=weights)
        mixtures.append(propose(fitted.laws, asked, region))
    proposed = np.array(mixtures)
    predicted = predict(fitted, region.prior, proposed)
    return TradeOff(shares_of_code, proposed, predicted.gain(code), predicted.gain(text))
