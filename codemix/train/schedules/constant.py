"""`constant`: see the class."""

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


class Constant(Schedule):
    """One rate for the whole stage, after an optional warm-up."""

    kind: Literal["constant"] = "constant"
    value: Rate | Previous = Field(
        "previous", description="the rate; `previous` keeps the one at the parent's end"
    )
    warmup: LengthField = Field(Length(steps=0), description="linear warm-up from `warmup_from` to `value`")
    warmup_from: RateOrZero | Previous = Field(
        0.0, description="rate just before the first step, when there is a warm-up"
    )

    EXAMPLES = (
        {"kind": "constant", "value": 0.0003},
        {"kind": "constant", "value": "previous"},
        {"kind": "constant", "value": 0.001, "warmup": "2M tokens", "warmup_from": "previous"},
    )

    def lr(self, position: Position) -> float:
        now = position.tokens_after
        value = position.rate(self.value)
        warm = position.in_tokens(self.warmup, position.stage_total)
        if now < warm:
            start = position.rate(self.warmup_from)
            return between(start, value, now / warm)
        return value

    def problems(self, position: Position) -> list[Problem]:
        whole = position.stage_total
        return too_long({"warmup": position.in_tokens(self.warmup, whole)}, whole, "stage") + needs_previous(
            position, self.value, self.warmup_from
        )
