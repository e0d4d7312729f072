"""Signals that ask training to stop.
They are remembered, and acted on at the next step's edge, after a checkpoint.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interrupts:
    """While active, Ctrl-C and SIGTERM set `asked`; a second Ctrl-C stops at once.

    Only the main thread may set signal handlers; elsewhere this does nothing. `take_sigterm=False` leaves
    SIGTERM to jax's preemption service, which tells all processes of a run to stop at the same step.
    """

    def __init__(self, say: Callable[[str], None], *, take_sigterm: bool = True):
        self.asked: signal.Signals | None = None
        self._say = say
        self._signals = [signal.SIGINT]
        if take_sigterm:
            self._signals.append(signal.SIGTERM)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number)
        again = "; press Ctrl-C again to stop without it" if number == signal.SIGINT else ""
        self._say(f"stopping after this step, with a checkpoint{again}")
