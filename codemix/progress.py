"""Progress on anything that takes more than a moment: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

QUIET = False  # set by the command line under --quiet and --json


@contextlib.contextmanager
def progress(label: str, total: float | None, unit: str = "") -> Iterator[Callable[..., None]]:
    """Yields `advance(n=1, note="")`. `total` may be None when nobody knows."""
    if QUIET:
        yield lambda n=1, note="": None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
            task = bar.add_task(label, total=total, note="")
            yield lambda n=1, note="": bar.update(task, advance=n, note=note)
    else:
        done, said = 0.0, time.monotonic()

        def advance(n: float = 1, note: str = "") -> None:
            nonlocal done, said
            done += n
            if time.monotonic() - said >= 5:
                said = time.monotonic()
                print(
                    f"{label}: {done:,.0f}{f' of {total:,.0f}' if total else ''} {unit} {note}".rstrip(),
                    file=sys.stderr,
                    flush=True,
                )

        yield advance
        print(f"{label}: done ({done:,.0f} {unit})".replace(" )", ")"), file=sys.stderr, flush=True)
