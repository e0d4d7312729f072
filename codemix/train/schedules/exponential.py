"""`exponential`: see the class."""

from typing import Literal

from pydantic import Field

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


class Exponential(Schedule):
    """A rate that shrinks by the same factor every token, from `start` to `floor` over the stage."""

    kind: Literal["exponential"] = "exponential"
    start: Rate | Previous = Field(
        "previous", description="rate at the start; `previous` continues from the parent's end"
    )
    floor: Rate = Field(description="rate of the last step, above 0")
    warmup: LengthField = Field(Length(steps=0), description="linear warm-up from `warmup_from` to `start`")
    warmup_from: RateOrZero | Previous = Field(
        0.0, description="rate just before the first step, when there is a warm-up"
    )

    EXAMPLES = (
        {"kind": "exponential", "start": "previous", "floor": 0.000001},
        {"kind": "exponential", "start": 0.001, "floor": 0.00001, "warmup": "10 steps"},
    )

    def lr(self, position: Position) -> float:
        now = position.tokens_after
        whole = position.stage_total
        warm = position.in_tokens(self.warmup, whole)
        start = position.rate(self.start)
        if now < warm:
            first = position.rate(self.warmup_from)
            return between(first, start, now / warm)
        if now >= whole:
            return self.floor
        x = (now - warm) / (whole - warm)
        return start * (self.floor / start) ** x

    def problems(self, position: Position) -> list[Problem]:
        whole = position.stage_total
        return too_long({"warmup": position.in_tokens(self.warmup, whole)}, whole, "stage") + needs_previous(
            position, self.start, self.warmup_from
        )
