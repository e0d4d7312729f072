"""Progress on anything that takes more than a moment: a bar in a terminal, elsewhere at most a line every ten
seconds.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

QUIET = False  # set by the command line under --quiet and --json


REPORT_EVERY_S = 10  # in a log, whatever goes on at the same time
_last_line_s = 0.0  # when the last one was due


def line_is_due() -> bool:
    """Whether a log may have another line of progress now; who asks has to write it."""
    global _last_line_s
    now = time.monotonic()
    if now - _last_line_s < REPORT_EVERY_S:
        return False
    _last_line_s = now
    return True


class Advance(Protocol):
    """Reports that more is done."""

    def __call__(self, n: float = 1, note: str = "") -> None: ...


@contextlib.contextmanager
def progress(label: str, total: float | None, unit: str = "") -> Iterator[Advance]:
    """Yields `advance(n=1, note="")`. `total` may be None when nobody knows."""
    if QUIET:
        yield _ignore
    elif sys.stderr.isatty():
        with _bar(label, total) as advance:
            yield advance
    else:
        lines = _Lines(label, total, unit)
        yield lines.advance
        lines.finish()


def _ignore(n: float = 1, note: str = "") -> None:
    pass


@contextlib.contextmanager
def _bar(label: str, total: float | None) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=False) as bar:
        task = bar.add_task(label, total=total, note="")

        def advance(n: float = 1, note: str = "") -> None:
            bar.update(task, advance=n, note=note)

        yield advance


class _Lines:
    """Lines on standard error, for logs."""

    def __init__(self, label: str, total: float | None, unit: str):
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0.0
        self.began_s = time.monotonic()

    def advance(self, n: float = 1, note: str = "") -> None:
        self.done += n
        if self._is_due():
            self._print(f"{self._amount()}, {note}" if note else self._amount())

    def finish(self) -> None:
        if self._is_due():
            self._print(f"done, {self.done:,.0f} {self.unit}")

    def _is_due(self) -> bool:
        """Whether this takes long enough to be spoken of, and no other line was just written."""
        seconds = time.monotonic() - self.began_s
        return seconds >= REPORT_EVERY_S and line_is_due()

    def _amount(self) -> str:
        done = f"{self.done:,.0f}"
        if self.total:
            share = min(1.0, self.done / self.total)
            done = f"{share:.0%}, {done} of {self.total:,.0f}"
        return f"{done} {self.unit}".rstrip()

    def _print(self, text: str) -> None:
        line = f"{self.label}: {text}".rstrip()
        print(line, file=sys.stderr, flush=True)
