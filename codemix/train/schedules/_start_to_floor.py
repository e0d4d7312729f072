"""What the schedules that fall from `start` to `floor` over the whole stage share: all but the curve."""

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


class StartToFloor(Schedule):
    """A rate that falls from `start` to `floor` over the stage, after an optional warm-up."""

    start: Rate | Previous = Field(
        "previous", description="rate at the start; `previous` continues from the parent's end"
    )
    floor: RateOrZero = Field(0.0, description="rate of the last step")
    warmup: LengthField = Field(Length(steps=0), description="linear warm-up from `warmup_from` to `start`")
    warmup_from: RateOrZero | Previous = Field(
        0.0, description="rate just before the first step, when there is a warm-up"
    )

    def fallen(self, start: float, x: float) -> float:
        """The rate after a share `x` of the way, in [0, 1)."""
        raise NotImplementedError

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
        return self.fallen(start, x)

    def problems(self, position: Position) -> list[Problem]:
        whole = position.stage_total
        warmup = position.in_tokens(self.warmup, whole)
        found = too_long({"warmup": warmup}, whole, "stage")
        return found + needs_previous(position, self.start, self.warmup_from)
