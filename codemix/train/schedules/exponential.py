"""`exponential`: see the class."""

from typing import Literal

from pydantic import Field

from codemix.train.schedule import Rate
from codemix.train.schedules._start_to_floor import StartToFloor


class Exponential(StartToFloor):
    """A rate that shrinks by the same factor every token, from `start` to `floor` over the stage."""

    kind: Literal["exponential"] = "exponential"
    floor: Rate = Field(description="rate of the last step, above 0")

    EXAMPLES = (
        {"kind": "exponential", "start": "previous", "floor": 0.000001},
        {"kind": "exponential", "start": 0.001, "floor": 0.00001, "warmup": "10 steps"},
    )

    def fallen(self, start: float, x: float) -> float:
        return start * (self.floor / start) ** x
