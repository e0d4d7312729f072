"""Writers beside metrics.jsonl: TensorBoard, Weights & Biases, Trackio. Each is imported only when asked for.

metrics.jsonl is the record; these repeat its lines. A tracker names the run by the stage's fingerprint, so that a resumed
stage goes on in the same place, and takes `run_step` as its axis. Steps that are taken again after an interruption stand once
in TensorBoard and Weights & Biases (which ignores a step that it has), and twice, with equal values, in Trackio.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from codemix.errors import CodemixError, Problem, did_you_mean


class Tracker(Protocol):
    """What a writer can do."""

    def write(self, line: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


def values(line: Mapping[str, Any]) -> dict[str, float]:
    """What of a metrics line is plotted: everything but its two axes."""
    return {name: value for name, value in line.items() if name not in ("step", "run_step", "time")}


class TensorBoard:
    """Event files in the stage's folder. They are written anew from metrics.jsonl on resume, so nothing shows twice."""

    needs = ("tensorboardX", "tensorboardX")

    def __init__(
        self,
        module: Any,
        folder: Path,
        stage: str,
        fingerprint: str,
        config: Mapping[str, Any],
        kept: Sequence[Mapping[str, Any]],
    ):
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        self._writer = module.SummaryWriter(str(folder / "tensorboard"))
        for line in kept:
            self.write(line)

    def write(self, line: Mapping[str, Any]) -> None:
        for name, value in values(line).items():
            self._writer.add_scalar(name, value, line["run_step"], walltime=line["time"])

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A Weights & Biases run; account, project and mode come from its own environment variables."""

    needs = ("wandb", "wandb")

    def __init__(
        self,
        module: Any,
        folder: Path,
        stage: str,
        fingerprint: str,
        config: Mapping[str, Any],
        kept: Sequence[Mapping[str, Any]],
    ):
        name = f"{stage}-{fingerprint[:12]}"
        self._run = module.init(
            project=_project(config),
            name=name,
            id=fingerprint[:32],
            resume="allow",
            config=dict(config),
            dir=str(folder),
        )

    def write(self, line: Mapping[str, Any]) -> None:
        self._run.log(values(line), step=line["run_step"])

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """A Trackio run, kept locally unless its own environment says otherwise."""

    needs = ("trackio", "trackio")

    def __init__(
        self,
        module: Any,
        folder: Path,
        stage: str,
        fingerprint: str,
        config: Mapping[str, Any],
        kept: Sequence[Mapping[str, Any]],
    ):
        self._run = module.init(
            project=_project(config), name=f"{stage}-{fingerprint[:12]}", resume="allow", config=dict(config)
        )

    def write(self, line: Mapping[str, Any]) -> None:
        self._run.log(values(line), step=line["run_step"])

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WandB, "trackio": Trackio}


def check_trackers(names: Sequence[str]) -> dict[str, Any]:
    """The module of each tracker. Raises CodemixError, before training, for all that are unknown or not installed."""
    modules, problems = {}, []
    for name in names:
        if name not in TRACKERS:
            problems.append(
                Problem(
                    f"there is no tracker `{name}`",
                    hints=did_you_mean(name, TRACKERS),
                    rule="unknown-tracker",
                )
            )
            continue
        module, package = TRACKERS[name].needs
        try:
            modules[name] = importlib.import_module(module)
        except ImportError as error:
            what = f"`--track {name}` needs the package `{package}`: {error}"
            instead = "or leave it out: metrics.jsonl in the stage's folder holds every value"
            problems.append(
                Problem(what, hints=(f"`pip install {package}`", instead), rule="tracker-missing")
            )
    if problems:
        raise CodemixError(*problems)
    return modules


def open_trackers(
    names: Sequence[str],
    folder: Path,
    stage: str,
    fingerprint: str,
    config: Mapping[str, Any],
    kept: Sequence[Mapping[str, Any]],
) -> list[Tracker]:
    """The writers of one stage. `kept`: the lines that metrics.jsonl already holds. Raises CodemixError where one does not start."""
    return [
        _opened(name, module, folder, stage, fingerprint, config, kept)
        for name, module in check_trackers(names).items()
    ]


def _opened(name: str, module: Any, *about: Any) -> Tracker:
    """One writer. What its package raises (no account, no network, a version without a word that we use) is told as its own words."""
    try:
        return TRACKERS[name](module, *about)
    except Exception as error:
        _, package = TRACKERS[name].needs
        raise CodemixError(
            f"`--track {name}` does not start: {type(error).__name__}: {error}",
            hints=[
                f"`pip install --upgrade {package}`, if the one here is old; set up its account, if it asks for one",
                "or leave it out: metrics.jsonl in the stage's folder holds every value",
            ],
            rule="tracker-failed",
        ) from error


def _project(config: Mapping[str, Any]) -> str:
    return f"codemix-{config['recipe']}"
