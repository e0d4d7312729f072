"""`cosine`: see the class."""

import math
from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.errors import Problem
from codemix.recipe.language.quantities import Length, LengthField, Tokens
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


class Cosine(Schedule):
    """Warm-up, then half a cosine from `peak` to `floor` over the stage, the run,
    or a given number of tokens.
    """

    kind: Literal["cosine"] = "cosine"
    peak: Rate | Previous = Field(description="highest rate; `previous` continues from the parent's end")
    floor: RateOrZero = Field(0.0, description="rate of the last step")
    warmup: LengthField = Field(Length(steps=0), description="linear warm-up from `warmup_from` to `peak`")
    warmup_from: RateOrZero | Previous = Field(
        0.0, description="rate just before the first step, when there is a warm-up"
    )
    over: Literal["stage", "run"] | Tokens = Field(
        "stage",
        description="what the cosine spans: this stage, the whole run to its last stage, or tokens from the start of the run",
    )

    EXAMPLES = (
        {"kind": "cosine", "peak": 0.0003, "floor": 0.00003, "warmup": "1325 steps"},
        {"kind": "cosine", "peak": 0.0003, "warmup": "1%", "over": "run"},
        {"kind": "cosine", "peak": "previous", "warmup": 0},
        {"kind": "cosine", "peak": 0.0003, "over": "400B"},
    )

    @model_validator(mode="after")
    def _one_peak(self):
        if self.over != "stage" and "previous" in (self.peak, self.warmup_from):
            raise PydanticCustomError(
                "schedule",
                "a cosine over more than its stage cannot start from `previous`",
                {"hints": ["give the peak of the whole cosine as a number", "or write `over: stage`"]},
            )
        if self.over == 0:
            raise PydanticCustomError(
                "schedule",
                "a cosine needs tokens to span",
                {"hints": ["for example `over: 400B`, or `over: stage`"]},
            )
        return self

    @property
    def needs_run_total(self) -> bool:
        return self.over == "run"

    def _span(self, position: Position) -> tuple[float, float, float]:
        """Now, the end of the warm-up and the end of the cosine [tokens], on one clock."""
        start, end = (
            (0, position.stage_total)
            if self.over == "stage"
            else (position.run_tokens, position.end_of_run if self.over == "run" else self.over)
        )
        return start + position.tokens_after, position.in_tokens(self.warmup, end), end

    def lr(self, position: Position) -> float:
        now, warm, end = self._span(position)
        peak = position.rate(self.peak)
        if now < warm:
            start = position.rate(self.warmup_from)
            return between(start, peak, now / warm)
        if now >= end:
            return self.floor
        x = (now - warm) / (end - warm)
        kept = 0.5 + 0.5 * math.cos(math.pi * x)
        return between(self.floor, peak, kept)

    def problems(self, position: Position) -> list[Problem]:
        _, warm, end = self._span(position)
        return too_long({"warmup": warm}, end, "cosine") + needs_previous(
            position, self.peak, self.warmup_from
        )
