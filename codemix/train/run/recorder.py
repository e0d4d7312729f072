"""Where a stage's lines of metrics go: metrics.jsonl and the trackers, written by the first process only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.train.run import hosts
from codemix.train.run.context import RunContext
from codemix.train.run.metrics import Line, MetricsFile
from codemix.train.run.trackers import TrackedStage, Tracker, open_trackers

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan


class Recorder:
    """Writes nothing; the base, and what every process but the first has."""

    def write(self, line: Line) -> None:
        """One line, everywhere."""

    def sync(self) -> None:
        """Lines up to here survive a crash of the machine."""


class FileRecorder(Recorder):
    """Writes to the stage's folder and to trackers."""

    def __init__(self, metrics: MetricsFile, trackers: list[Tracker]):
        self._metrics = metrics
        self._trackers = trackers

    def write(self, line: Line) -> None:
        self._metrics.write(line)
        for tracker in self._trackers:
            tracker.write(line)

    def sync(self) -> None:
        self._metrics.sync()


@contextlib.contextmanager
def open_recorder(context: RunContext, stage: StagePlan, folder: Path, done: int) -> Iterator[Recorder]:
    """The recorder of a stage, metrics.jsonl cut back to the steps `done`."""
    if not hosts.is_first():
        yield Recorder()
        return
    (folder / "stopped.json").unlink(missing_ok=True)
    config = {
        "recipe": context.plan.recipe.name,
        "stage": stage.name,
        "steps": stage.steps,
        "seq_len": stage.seq_len,
    }
    config |= stage.model.model_dump(mode="json")
    with contextlib.ExitStack() as open_files:
        metrics = open_files.enter_context(contextlib.closing(MetricsFile(folder / "metrics.jsonl", done)))
        tracked = TrackedStage(folder, stage.name, stage.fingerprint, config, metrics.kept)
        trackers = open_trackers(context.options.track, tracked)
        for tracker in trackers:
            open_files.callback(tracker.close)
        yield FileRecorder(metrics, trackers)
