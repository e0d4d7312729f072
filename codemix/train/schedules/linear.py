"""`linear`: see the class."""

from typing import Literal

from codemix.train.schedule import between
from codemix.train.schedules._start_to_floor import StartToFloor


class Linear(StartToFloor):
    """A straight line from `start` to `floor` over the stage:
    the paper's cooldown, which ends at 1e-6 (section 3.5).
    """

    kind: Literal["linear"] = "linear"

    EXAMPLES = (
        {"kind": "linear", "start": "previous", "floor": 0.000001},
        {"kind": "linear", "start": 0.0003, "floor": 0.00001, "warmup": "1%"},
    )

    def fallen(self, start: float, x: float) -> float:
        return between(start, self.floor, x)
