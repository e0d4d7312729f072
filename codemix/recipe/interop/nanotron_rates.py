"""The one learning-rate curve of a nanotron run, cut at its data stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codemix.errors import Problem
from codemix.recipe.interop.left_out import NUMBER
from codemix.recipe.interop.values import mapping, warning, whole, whole_or_none

SHAPES = {"linear": "linear", "cosine": "cosine", "1-sqrt": "sqrt"}  # its decay styles -> our names
WARMUPS = (None, "linear", "constant")

FIELDS: dict[str, Any] = {  # of its scheduler, with their types
    "learning_rate": float,
    "min_decay_lr": NUMBER,
    "lr_warmup_steps": int,
    "lr_warmup_style": str,
    "lr_decay_style": str,
    "lr_decay_starting_step": int,
    "lr_decay_steps": int,
}

Schedule = dict[str, Any]  # as a recipe writes it


@dataclass(frozen=True)
class LearningRates:
    """A schedule for each stage; None where a stage cannot express its part of the curve."""

    by_stage: Sequence[Schedule | None]
    why_none: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Curve:
    """What the file says: a warm-up, a level, and from `first_decay` on down to the floor."""

    peak: float
    floor: float
    warmup_steps: int
    rises: bool  # False: the warm-up is at the peak already
    style: str
    first_decay: int | None  # the step; None: after the warm-up
    decay_steps: Any  # None: as many as the run has, less those before

    @property
    def warmup(self) -> Schedule:
        if not self.rises or not self.warmup_steps:
            return {}
        return {"warmup": f"{self.warmup_steps} steps"}

    @property
    def level(self) -> Schedule:
        return {"kind": "constant", "value": self.peak}

    def falling(self, steps: int) -> Schedule:
        """A schedule that ends with a decay of `steps`."""
        return {
            "kind": "wsd",
            "peak": self.peak,
            "floor": self.floor,
            "decay": f"{steps} steps",
            "shape": SHAPES[self.style],
        }


@dataclass(frozen=True)
class _Part:
    """The steps of one stage, counted from the start of the run."""

    start: int
    end: int | None
    is_first: bool
    is_last: bool


def learning_rates(
    value: dict[str, Any],
    starts: Sequence[int],
    ends: Sequence[int | None],
) -> LearningRates:
    """The schedules of stages from their first steps up to their ends; an end is None where the run has no
    length.
    """
    described = mapping(mapping(value.get("optimizer")).get("learning_rate_scheduler"))
    why_none = "the file's curve has no form here" if described else "not in the file"
    curve = _read(described)
    if curve is None:
        return LearningRates([None] * len(starts), why_none)
    rates = []
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        part = _Part(start, end, is_first=i == 0, is_last=i == len(starts) - 1)
        rates.append(_schedule(curve, part))
    if None not in rates:
        return LearningRates(rates, why_none)
    problem = warning(
        "the learning-rate curve does not follow the data stages; those stages are left to fill in",
        "a stage here owns its own learning rate",
        rule="import-learning-rate",
    )
    return LearningRates(rates, why_none, (problem,))


def _read(described: dict[str, Any]) -> _Curve | None:
    """The curve; None without a peak, or with a warm-up of another form."""
    peak = described.get("learning_rate")
    rising = described.get("lr_warmup_style", "linear")
    if not isinstance(peak, float) or rising not in WARMUPS:
        return None
    floor = described.get("min_decay_lr")
    return _Curve(
        peak=peak,
        floor=peak if floor is None else floor,  # nanotron then takes the peak, so nothing decays
        warmup_steps=whole(described.get("lr_warmup_steps"), 0),
        rises=rising != "constant",
        style=described.get("lr_decay_style") or "linear",
        first_decay=whole_or_none(described.get("lr_decay_starting_step")),
        decay_steps=described.get("lr_decay_steps"),
    )


def _schedule(curve: _Curve, part: _Part) -> Schedule | None:
    """The curve over one stage; None where no schedule says it."""
    warmup = curve.warmup if part.is_first else {}
    first = curve.first_decay
    is_warming_up = curve.rises and part.start <= curve.warmup_steps
    if is_warming_up and not part.is_first:
        return None
    if first is not None and part.end is not None and part.end <= first:
        return curve.level | warmup
    if curve.floor == curve.peak:
        return curve.level | warmup
    if part.end is None:
        return None
    if part.is_first and part.is_last:
        schedule = _whole_run(curve, part.end - part.start)
        return None if schedule is None else schedule | warmup
    if first is None or not part.is_last or first < part.start:
        return None
    return _end_of_run(curve, first, part.start, part.end)


def _end_of_run(curve: _Curve, first: int, start: int, end: int) -> Schedule | None:
    """The curve over the last of several stages, in which the decay begins; None for others."""
    length = curve.decay_steps
    if length is None:
        steps = end - 1  # of the run, whose first step is 1
        length = steps - curve.warmup_steps - first
    if curve.style not in SHAPES or not _about(length, end - first) or length > end - start:
        return None
    if curve.style == "linear" and length == end - start:
        return {"kind": "linear", "start": "previous", "floor": curve.floor}
    return curve.falling(length)


def _whole_run(curve: _Curve, steps: int) -> Schedule | None:
    """The curve of a run of one stage: after the warm-up it stays, then decays to the end; None for others.

    Without `lr_decay_starting_step` nanotron begins to decay after the warm-up; without `lr_decay_steps` it
    decays for as many steps as the run has, less both.
    """
    after_warmup = steps - curve.warmup_steps
    first = curve.warmup_steps if curve.first_decay is None else curve.first_decay
    length = curve.decay_steps
    if length is None:
        length = after_warmup - (curve.first_decay or 0)
    shape = SHAPES.get(curve.style)
    if shape is None or not _about(length, steps - first):
        return None
    if first < curve.warmup_steps or length > after_warmup:
        return None
    at_peak_first = first > 0 and not curve.warmup
    if at_peak_first or length < after_warmup or shape == "sqrt":
        return curve.falling(length)
    if shape == "cosine":
        return {"kind": "cosine", "peak": curve.peak, "floor": curve.floor}
    return {"kind": "linear", "start": curve.peak, "floor": curve.floor}


def _about(length: Any, wanted: int) -> bool:
    """Whether a decay ends with the stage; nanotron's files count the last step in or not."""
    if not isinstance(length, int):
        return False
    return abs(length - wanted) <= 1
