"""`wsd`: see the class."""

import math
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.errors import Problem
from codemix.recipe.language.quantities import Length, LengthField
from codemix.train.schedule import (
    Position,
    Previous,
    Rate,
    RateOrZero,
    Schedule,
    between,
    needs_previous,
    too_long,
)


class Wsd(Schedule):
    """Warm-up, a stable rate, and a decay to `floor` at the end of the stage."""

    kind: Literal["wsd"] = "wsd"
    version: ClassVar[int] = 2
    peak: Rate | Previous = Field(description="the stable rate; `previous` continues from the parent's end")
    floor: RateOrZero = Field(0.0, description="rate of the last step")
    warmup: LengthField = Field(Length(steps=0), description="linear warm-up from `warmup_from` to `peak`")
    warmup_from: RateOrZero | Previous = Field(
        0.0, description="rate just before the first step, when there is a warm-up"
    )
    decay: LengthField = Field(description="length of the decay, which ends with the stage")
    shape: Literal["linear", "exponential", "cosine", "sqrt"] = Field(
        "linear", description="of the decay; sqrt is 1 - sqrt(x)"
    )

    EXAMPLES = (
        {"kind": "wsd", "peak": 0.001, "warmup": "100 steps", "decay": "20%"},
        {"kind": "wsd", "peak": "previous", "floor": 0.000001, "decay": "40B tokens", "shape": "sqrt"},
        {"kind": "wsd", "peak": 0.001, "floor": 0.00001, "decay": "10%", "shape": "exponential"},
    )

    @model_validator(mode="after")
    def _reachable(self):
        if self.shape == "exponential" and not self.floor:
            raise PydanticCustomError(
                "schedule",
                "an exponential decay never reaches 0",
                {"hints": ["give `floor:`, for example 1e-6"]},
            )
        return self

    def _decay(self, position: Position) -> float:
        """The length of the decay [tokens]: in steps it is the stage's last steps,
        which a growing batch makes longer than its first.
        """
        steps = self.decay.steps
        if steps is None or steps > position.steps:
            return position.in_tokens(self.decay, position.stage_total)
        return position.stage_total - position.tokens_before(position.steps - steps)

    def lr(self, position: Position) -> float:
        now = position.tokens_after
        whole = position.stage_total
        peak = position.rate(self.peak)
        warm = position.in_tokens(self.warmup, whole)
        decay = self._decay(position)
        if now < warm:
            start = position.rate(self.warmup_from)
            return between(start, peak, now / warm)
        stable = whole - decay
        if now <= stable:
            return peak
        x = (now - stable) / decay
        if x >= 1:
            return self.floor
        return self._decayed(peak, x)

    def _decayed(self, peak: float, x: float) -> float:
        """The rate after a share `x` of the decay."""
        if self.shape == "exponential":
            return peak * (self.floor / peak) ** x
        kept = {
            "linear": 1 - x,
            "cosine": 0.5 + 0.5 * math.cos(math.pi * x),
            "sqrt": 1 - math.sqrt(x),
        }
        return between(self.floor, peak, kept[self.shape])

    def problems(self, position: Position) -> list[Problem]:
        whole = position.stage_total
        warmup = position.in_tokens(self.warmup, whole)
        parts = {"warmup": warmup, "decay": self._decay(position)}
        found = too_long(parts, whole, "stage")
        return found + needs_previous(position, self.peak, self.warmup_from)
