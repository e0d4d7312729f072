"""Progress on anything that takes more than a moment: a bar in a terminal, a line every few seconds
elsewhere.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

QUIET = False  # set by the command line under --quiet and --json


REPORT_EVERY_S = 5


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
    """A line on standard error every few seconds, for logs."""

    def __init__(self, label: str, total: float | None, unit: str):
        self.label = label
        self.of_total = f" of {total:,.0f}" if total else ""
        self.unit = unit
        self.done = 0.0
        self.last_report = time.monotonic()

    def advance(self, n: float = 1, note: str = "") -> None:
        self.done += n
        now = time.monotonic()
        if now - self.last_report >= REPORT_EVERY_S:
            self.last_report = now
            self._print(f"{self.done:,.0f}{self.of_total} {self.unit} {note}".rstrip())

    def finish(self) -> None:
        amount = f"{self.done:,.0f} {self.unit}".rstrip()
        self._print(f"done ({amount})")

    def _print(self, text: str) -> None:
        print(f"{self.label}: {text}", file=sys.stderr, flush=True)
