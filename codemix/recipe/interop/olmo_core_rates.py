"""The learning rate of an OLMo-core run, from its configuration (`train_module.scheduler`, `train_module.optim.lr`).

As `olmo_core.optim.scheduler` 3.0.0 computes it: at step n, counted from 1, from n and the steps of the run, or from
the tokens until then where its `units` are tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from codemix.recipe.interop.left_out import NUMBER, Patterns
from codemix.recipe.interop.values import at_path, find_key, whole, whole_or_none

SCHEDULERS = {  # its names, those of its classes, and our kind
    "constant": ("ConstantScheduler", "constant"),
    "constant_with_warmup": ("ConstantWithWarmup", "constant"),
    "linear_with_warmup": ("LinearWithWarmup", "linear"),
    "cos_with_warmup": ("CosWithWarmup", "cosine"),
    "wsd": ("WSD", "wsd"),
}
RATE_NAMES = {"constant": "value", "linear": "start", "cosine": "peak", "wsd": "peak"}

Schedule = dict[str, Any]  # as a recipe writes it


@dataclass(frozen=True)
class RunLength:
    """How long a run is: `tokens` as the file says, in `steps` of `batch_tokens`."""

    tokens: int
    batch_tokens: int

    @property
    def steps(self) -> int:
        return math.ceil(self.tokens / self.batch_tokens)


@dataclass(frozen=True)
class LearningRate:
    """A stage's schedule; without one, why. `read` are the places in the file that it follows from."""

    schedule: Schedule | None
    why_none: str = "not in the file"
    read: Patterns = field(default_factory=dict)


class _NoForm(Exception):
    """Why a recipe has no schedule that is equal."""


def learning_rate(value: Any, length: RunLength | None) -> LearningRate:
    """The schedule of the one stage of an OLMo-core file."""
    at = find_key(value, "scheduler")
    described = at_path(value, at) if at else None
    if at is None or not isinstance(described, dict):
        return LearningRate(None)
    reader = _Reader(value, at, described)
    try:
        schedule = reader.schedule(length)
    except _NoForm as why:
        return LearningRate(None, str(why))
    return LearningRate(schedule, read=reader.read)


class _Reader:
    """Reads the fields of a scheduler, and remembers which."""

    def __init__(self, value: Any, at: tuple, described: dict[str, Any]):
        self._value = value
        self._at = at
        self._described = described
        self.read: Patterns = {}

    def schedule(self, length: RunLength | None) -> Schedule:
        """Raises _NoForm."""
        kind = self._kind()
        peak = self._peak()
        schedule: Schedule = {"kind": kind, RATE_NAMES[kind]: peak}
        if self._name() == "constant":
            return schedule
        if length is None:
            raise _NoForm("the file does not say how many steps the run has")
        clock = self._clock(length)
        warmup = self._part("warmup", clock)
        if warmup is None or warmup >= clock.end:
            raise _NoForm("its warm-up does not end within the run")
        if warmup:
            schedule["warmup"] = f"{warmup} {clock.unit}"
            schedule |= self._warmup_from(peak)
        if kind == "wsd":
            schedule |= self._decay(clock, warmup, peak)
        elif kind != "constant":
            schedule |= self._fall(kind, peak, clock, warmup)
        return schedule

    def _name(self) -> str | None:
        given = self._described.get("type")
        if given is not None:
            self._note("type", str)
            return given if given in SCHEDULERS else None
        called = str(self._described.get("_CLASS_")).rpartition(".")[2]
        for name, (of_class, _) in SCHEDULERS.items():
            if called == of_class:
                self._note("_CLASS_", str)
                return name
        return None

    def _kind(self) -> str:
        name = self._name()
        if name is None:
            shown = self._described.get("type") or self._described.get("_CLASS_")
            raise _NoForm(f"the scheduler {shown} has no form here")
        return SCHEDULERS[name][1]

    def _peak(self) -> float:
        at = find_key(self._value, "optim")
        optimizer = at_path(self._value, at) if at else None
        rate = optimizer.get("lr") if isinstance(optimizer, dict) else None
        if at is None or not isinstance(rate, float) or rate <= 0:
            raise _NoForm("the file has no `optim.lr`")
        self.read[*at, "lr"] = float
        return rate

    def _clock(self, length: RunLength) -> _Clock:
        units = self._described.get("units", "steps")
        if "units" in self._described:
            self._note("units", str)
        if units == "steps":
            return _Clock("steps", length.steps, length.batch_tokens)
        whole_steps = length.tokens % length.batch_tokens == 0
        if units != "tokens" or not whole_steps:
            raise _NoForm("its clock of tokens ends inside a step")
        return _Clock("tokens", length.tokens, 1)

    def _part(self, name: str, clock: _Clock) -> int | None:
        """The length of the warm-up or decay; None where it is not said."""
        for key in (name, f"{name}_steps"):
            given = whole_or_none(self._described.get(key))
            if given is not None and given >= 0:
                self._note(key, int)
                return given
        share = self._described.get(f"{name}_fraction")
        if share is None or not _is_share(share):
            return None
        self._note(f"{name}_fraction", NUMBER)
        return round(clock.end * share)

    def _warmup_from(self, peak: float) -> Schedule:
        lowest = self._lowest("warmup_min_lr", peak)
        return {"warmup_from": lowest} if lowest else {}

    def _decay(self, clock: _Clock, warmup: int, peak: float) -> Schedule:
        decay = self._part("decay", clock)
        if decay is None and "decay_fraction" not in self._described:
            decay = round(clock.end * 0.1)  # its default
        if not decay or warmup + decay > clock.end:
            raise _NoForm("its decay does not fit between the warm-up and the end")
        floor = self._lowest("decay_min_lr", peak)
        return {"floor": floor, "decay": f"{decay} {clock.unit}"}

    def _fall(self, kind: str, peak: float, clock: _Clock, warmup: int) -> Schedule:
        share = self._described.get("alpha_f", 0.1)
        if not _is_share(share):
            raise _NoForm("its `alpha_f` is not a share")
        if "alpha_f" in self._described:
            self._note("alpha_f", NUMBER)
        falling: Schedule = {"floor": peak * share}
        end = self._described.get("t_max")
        if end is None or end == clock.end:
            return falling
        span = whole(end, 0)
        if kind != "cosine" or span <= warmup or "warmup_fraction" in self._described:
            raise _NoForm("it spans another time than the run (`t_max`)")
        self._note("t_max", int)
        tokens = span * clock.tokens
        return falling | {"over": tokens}

    def _lowest(self, key: str, peak: float) -> float:
        rate = self._described.get(key, 0.0)
        if not isinstance(rate, NUMBER) or not 0 <= rate < peak:
            raise _NoForm(f"its `{key}` is not a rate below the highest")
        if key in self._described:
            self._note(key, NUMBER)
        return float(rate)

    def _note(self, key: str, kind: Any) -> None:
        place = (*self._at, key)
        self.read[place] = kind


@dataclass(frozen=True)
class _Clock:
    """What a scheduler counts, and where the run ends on it."""

    unit: str
    end: int
    tokens: int  # of one unit


def _is_share(value: Any) -> bool:
    is_number = isinstance(value, NUMBER) and not isinstance(value, bool)
    return is_number and 0 <= value <= 1
