"""A schedule: the learning rate of a step."""

import math
from typing import ClassVar, Literal

from pydantic import Field

from codemix.train.schedule import Position, Rate, Schedule


class InverseSqrt(Schedule):
    """The peak over the square root of the tokens seen, flat for the first `hold` of them."""

    kind: Literal["inverse_sqrt"] = "inverse_sqrt"
    peak: Rate = Field(description="rate of the first steps")
    hold: int = Field(1_000_000, ge=1, description="tokens before the rate begins to fall [tokens]")

    EXAMPLES: ClassVar = ({"kind": "inverse_sqrt", "peak": 0.001, "hold": 500_000},)

    def lr(self, position: Position) -> float:
        return self.peak * math.sqrt(self.hold / max(self.hold, position.tokens_after))
