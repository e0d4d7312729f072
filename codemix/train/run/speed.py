"""How fast a stage trains, and how long it still takes.
The first step compiles; time is measured from its end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """A moment, and the tokens of the stage that were read by then."""

    time_s: float
    tokens: int


@dataclass(frozen=True)
class Rate:
    """Since the last line of metrics, and for the rest of the stage by the mean since the start: the rate of
    one interval would make the time left jump.
    """

    tokens_per_s: float
    left_s: float


class Speed:
    """The clock of one stage."""

    def __init__(self, stage_tokens: int):
        self._stage_tokens = stage_tokens
        self._start: Mark | None = None
        self._line: Mark | None = None
        self._tokens = 0

    def step(self, tokens: int) -> None:
        """A step has ended; `tokens` of the stage are read."""
        self._tokens = tokens
        if self._start is None:
            self._start = self._line = Mark(time.monotonic(), tokens)

    def line(self) -> Rate | None:
        """The rate since the line before; None where no step was measured since."""
        now = Mark(time.monotonic(), self._tokens)
        start, last = self._start, self._line
        self._line = now
        if start is None or last is None or now.tokens == last.tokens:
            return None
        left = self._stage_tokens - now.tokens
        return Rate(
            tokens_per_s=(now.tokens - last.tokens) / max(now.time_s - last.time_s, 1e-9),
            left_s=left * (now.time_s - start.time_s) / (now.tokens - start.tokens),
        )
