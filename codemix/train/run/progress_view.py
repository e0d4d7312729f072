"""What a person sees while a stage trains: a live panel in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codemix import progress
from codemix.train.run.metrics import Line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import TaskID


Seconds = float | None  # None: not known


@dataclass(frozen=True)
class Beginning:
    """A stage that begins, or resumes after `done` of its steps."""

    name: str
    index: int
    n_stages: int  # of the run
    steps: int
    done: int


class View:
    """Says nothing; the base of the other two, and what every process but the first has."""

    def begin(self, stage: Beginning) -> None:
        """A stage begins, or resumes."""

    def step(self, done: int) -> None:
        """This number of steps is done."""

    def line(self, line: Line, left_s: Seconds) -> None:
        """A new line of metrics."""

    def note(self, text: str) -> None:
        """Something that deserves a line of its own."""

    def close(self) -> None:
        """The run ends or stops."""


class Lines(View):
    """Plain lines on stderr, at most one in `every_s` seconds, and the last of each stage."""

    def __init__(self, every_s: float = progress.REPORT_EVERY_S):
        self.every_s = every_s
        self._name = ""
        self._steps = 0
        self._last_s = 0.0

    def begin(self, stage: Beginning) -> None:
        self._name = stage.name
        self._steps = stage.steps
        self._last_s = time.monotonic()
        number = stage.index + 1
        place = f"{number} of {stage.n_stages}"
        resumed = f", resuming after step {stage.done:,}" if stage.done else ""
        self.note(f"train {stage.name} ({place}): {stage.steps:,} steps{resumed}")

    def line(self, line: Line, left_s: Seconds) -> None:
        now = time.monotonic()
        step = line["step"]
        is_early = now - self._last_s < self.every_s
        if is_early and step < self._steps:
            return
        self._last_s = now
        left = f"  {show_time(left_s)} left" if left_s else ""
        place = f"step {step:,} of {self._steps:,}"
        self.note(f"train {self._name}: {place}  {describe(line)}{left}")

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Panel(View):
    """A progress bar with the losses under it, kept in place at the foot of the terminal."""

    def __init__(self):
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._console = Console(stderr=True)
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Progress(*columns, auto_refresh=False)
        self._line: Line = {}
        self._task: TaskID | None = None  # none before the first stage
        self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._render)
        self._live.start()

    def begin(self, stage: Beginning) -> None:
        self._line = {}
        number = stage.index + 1
        title = f"{stage.name} ({number}/{stage.n_stages})"
        self._task = self._bar.add_task(title, total=stage.steps, completed=stage.done, left="")

    def step(self, done: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done)

    def line(self, line: Line, left_s: Seconds) -> None:
        self._line = line
        done = line["step"]
        left = f"{show_time(left_s)} left" if left_s else ""
        if self._task is not None:
            self._bar.update(self._task, completed=done, left=left)

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for name, value in source_losses(self._line).items():
            table.add_row(Text(f"  {name}"), Text(f"{value:.3f} nats/token"))
        if not self._line:
            return self._bar
        return Group(self._bar, Text("  " + describe(self._line)), table)


def open_view(live: bool | None = None) -> View:
    """The view that fits: silent under --quiet and --json, a panel in a terminal, lines elsewhere."""
    if progress.QUIET:
        return View()
    if live is None:
        live = sys.stderr.isatty()
    return Panel() if live else Lines()


def source_losses(line: Line) -> dict[str, float]:
    """Source -> loss [nats/token] of a metrics line."""
    losses = {}
    for key, value in line.items():
        parts = key.split("/")
        if len(parts) == 3 and parts[0] == "train":
            losses[parts[1]] = value
    return losses


def describe(line: Line) -> str:
    """One line of text for one line of metrics."""
    parts = [f"loss {line['train/loss_nats_per_token']:.3f}"]
    sources = source_losses(line)
    if 1 < len(sources) <= 4:
        by_source = ", ".join(f"{name} {value:.3f}" for name, value in sources.items())
        parts.append(f"({by_source})")
    parts.append(f"lr {line['lr']:.3g}")
    if "tokens_per_s" in line:
        parts.append(f"{line['tokens_per_s']:,.0f} tokens/s")
    if "mfu" in line:
        parts.append(f"MFU {line['mfu']:.1%}")
    if "data/requests_per_step" in line:
        requests = line["data/requests_per_step"]
        waited_s = line["data/wait_s_per_step"]
        parts.append(f"{requests:,.1f} requests and {waited_s:.3f} s of waiting a step")
    return "  ".join(parts)


def show_time(seconds: float) -> str:
    """A length of time as people say it: `42 s`, `3 min 05 s`, `2 h 10 min`, `5 d 3 h`."""
    minutes, seconds_left = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    if hours:
        return f"{hours} h {minutes_left:02d} min"
    if minutes:
        return f"{minutes} min {seconds_left:02d} s"
    return f"{seconds_left} s"
