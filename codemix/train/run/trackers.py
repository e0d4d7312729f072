"""Writers beside metrics.jsonl: TensorBoard, Weights & Biases, Trackio. Each is imported only when asked for.

metrics.jsonl is the record; these repeat its lines. A tracker names the run by the stage's fingerprint, so
that a resumed stage continues in the same place, and takes `run_step` as its axis. Steps that are taken again
after an interruption appear once in TensorBoard and Weights & Biases (which ignores a step that it has), and
twice, with equal values, in Trackio.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.train.run.metrics import Line

_AXES = ("step", "run_step", "time")
_INSTEAD = "or leave it out: metrics.jsonl in the stage's folder holds every value"


@dataclass(frozen=True)
class TrackedStage:
    """What a tracker is told of a stage. `kept`: the lines that metrics.jsonl already holds."""

    folder: Path
    stage: str
    fingerprint: str
    config: Mapping[str, Any]
    kept: Sequence[Line]

    @property
    def name(self) -> str:
        return f"{self.stage}-{self.fingerprint[:12]}"

    @property
    def project(self) -> str:
        return f"codemix-{self.config['recipe']}"


class Tracker:
    """A writer."""

    module: ClassVar[str]  # that it imports
    package: ClassVar[str]  # that has it

    def __init__(self, module: ModuleType, tracked: TrackedStage):
        raise NotImplementedError

    def write(self, line: Line) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def values(line: Line) -> dict[str, float]:
    """What of a metrics line is plotted: everything but its axes."""
    plotted = dict(line)
    for axis in _AXES:
        plotted.pop(axis, None)
    return plotted


class TensorBoard(Tracker):
    """Event files in the stage's folder.
    They are written again from metrics.jsonl on resume, so nothing shows twice.
    """

    module = package = "tensorboardX"

    def __init__(self, module: ModuleType, tracked: TrackedStage):
        folder = tracked.folder / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = module.SummaryWriter(str(folder))
        for line in tracked.kept:
            self.write(line)

    def write(self, line: Line) -> None:
        step = line["run_step"]
        time = line["time"]
        for name, value in values(line).items():
            self._writer.add_scalar(name, value, step, walltime=time)

    def close(self) -> None:
        self._writer.close()


class WandB(Tracker):
    """A Weights & Biases run; account, project and mode come from its own environment variables."""

    module = package = "wandb"

    def __init__(self, module: ModuleType, tracked: TrackedStage):
        self._run = module.init(
            project=tracked.project,
            name=tracked.name,
            id=tracked.fingerprint[:32],
            resume="allow",
            config=dict(tracked.config),
            dir=str(tracked.folder),
        )

    def write(self, line: Line) -> None:
        self._run.log(values(line), step=line["run_step"])

    def close(self) -> None:
        self._run.finish()


class Trackio(Tracker):
    """A Trackio run, kept locally unless its own environment says otherwise."""

    module = package = "trackio"

    def __init__(self, module: ModuleType, tracked: TrackedStage):
        self._run = module.init(
            project=tracked.project, name=tracked.name, resume="allow", config=dict(tracked.config)
        )

    def write(self, line: Line) -> None:
        self._run.log(values(line), step=line["run_step"])

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB, "trackio": Trackio}


def check_trackers(names: Sequence[str]) -> dict[str, ModuleType]:
    """The module of each tracker. Raises CodemixError, before training,
    for all that are unknown or not installed.
    """
    modules: dict[str, ModuleType] = {}
    problems: list[Problem] = []
    for name in names:
        if name not in TRACKERS:
            hints = did_you_mean(name, TRACKERS)
            problems.append(Problem(f"there is no tracker `{name}`", hints=hints, rule="unknown-tracker"))
            continue
        package = TRACKERS[name].package
        try:
            modules[name] = importlib.import_module(TRACKERS[name].module)
        except ImportError as error:
            what = f"`--track {name}` needs the package `{package}`: {error}"
            hints = (f"`pip install {package}`", _INSTEAD)
            problems.append(Problem(what, hints=hints, rule="tracker-missing"))
    if problems:
        raise CodemixError(*problems)
    return modules


def open_trackers(names: Sequence[str], tracked: TrackedStage) -> list[Tracker]:
    """The writers of one stage. Raises CodemixError where one does not start."""
    trackers = []
    for name, module in check_trackers(names).items():
        tracker = _opened(name, module, tracked)
        trackers.append(tracker)
    return trackers


def _opened(name: str, module: ModuleType, tracked: TrackedStage) -> Tracker:
    """One writer. What its package raises (no account, no network, a version without an option that we use)
    is passed on in the package's own words.
    """
    try:
        return TRACKERS[name](module, tracked)
    except Exception as error:
        package = TRACKERS[name].package
        raise CodemixError(
            f"`--track {name}` does not start: {type(error).__name__}: {error}",
            hints=[
                f"`pip install --upgrade {package}`, if the one here is old; set up its account, if it asks for one",
                _INSTEAD,
            ],
            rule="tracker-failed",
        ) from error
