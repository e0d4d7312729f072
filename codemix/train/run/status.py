"""What every stage in a store is doing, read from its files: no jax, and nothing is changed or locked."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError
from codemix.tables import Table
from codemix.train.run.metrics import read_metrics
from codemix.train.run.progress_view import show_time

State = Literal["done", "training", "stopped"]


@dataclass(frozen=True)
class StageStatus:
    """One stage in the store."""

    name: str
    fingerprint: str
    recipe: str
    state: State
    step: int  # of the newest metrics line; of the end when done
    steps: int
    run_steps_before: int  # of the stages that it continues from
    checkpoint: int | None  # the step a stopped stage resumes from
    loss: float | None  # of the newest metrics line [nats/token]
    tokens_per_s: float | None
    age_s: int | None  # since that line was written
    process: int | None  # that trains it
    stopped_by: str  # the rule of what stopped it, when something was wrong
    folder: str


_ORDER = ("training", "stopped", "done")


def status(store: Store) -> list[StageStatus]:
    """Every stage, those in work first; recipe by recipe, in the order of its run."""
    found = []
    # In this order: a stage that ends meanwhile is met again.
    for base in (store.root / ".building" / "stages", store.root / "stages"):
        for folder in sorted(base.iterdir()) if base.is_dir() else ():
            if not (folder / "lineage.json").exists():  # a lock, or a stage that is only beginning
                continue
            try:
                found.append(_read(folder, store))
            except (CodemixError, FileNotFoundError):
                if folder.exists():
                    raise
    return sorted(found, key=_place_in_list)


def _place_in_list(stage: StageStatus) -> tuple:
    return (
        _ORDER.index(stage.state),
        stage.recipe,
        stage.run_steps_before,
        stage.name,
        stage.fingerprint,
    )


def status_table(stages: Sequence[StageStatus]) -> Table:
    """The same for a terminal."""
    columns = ["stage", "recipe", "state", ">step", ">loss", ">tokens/s", ">written", "folder"]
    table = Table("Stages", columns)
    for stage in stages:
        table.rows.append(
            [
                stage.name,
                stage.recipe,
                _state_words(stage),
                f"{stage.step:,} of {stage.steps:,}",
                "" if stage.loss is None else f"{stage.loss:.4f}",
                "" if stage.tokens_per_s is None else f"{stage.tokens_per_s:,.0f}",
                "" if stage.age_s is None else f"{show_time(stage.age_s)} ago",
                stage.folder,
            ]
        )
    return table


def _state_words(stage: StageStatus) -> str:
    if stage.state == "done":
        return "done"
    if stage.state == "training":
        return f"training, process {stage.process}"
    resumes = "begins again" if stage.checkpoint is None else f"resumes from step {stage.checkpoint:,}"
    cause = f" by {stage.stopped_by}" if stage.stopped_by else ""
    return f"stopped{cause}, {resumes}"


def _read(folder: Path, store: Store) -> StageStatus:
    lineage = read_json(folder / "lineage.json")
    lines = read_metrics(folder / "metrics.jsonl")
    last = lines[-1] if lines else {}
    done = (folder / "done.json").exists() and folder.parent == store.root / "stages"
    process = None if done else holder(folder.with_name(folder.name + ".lock"))
    stopped = folder / "stopped.json"
    return StageStatus(
        name=lineage["stage"],
        fingerprint=lineage["fingerprint"][:12],
        recipe=lineage["recipe"],
        folder=str(folder),
        process=process,
        state=_state(done, process),
        step=read_json(folder / "done.json")["steps"] if done else last.get("step", 0),
        steps=lineage["steps"],
        run_steps_before=lineage["run_steps_before"],
        checkpoint=_newest_checkpoint(folder / "checkpoints"),
        loss=last.get("train/loss_nats_per_token"),
        tokens_per_s=last.get("tokens_per_s"),
        age_s=round(time.time() - last["time"]) if last else None,
        stopped_by=read_json(stopped)["rule"] if stopped.exists() else "",
    )


def _state(done: bool, process: int | None) -> State:
    if done:
        return "done"
    return "stopped" if process is None else "training"


def _newest_checkpoint(folder: Path) -> int | None:
    if not folder.is_dir():
        return None
    steps = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    return max(steps, default=None)


def holder(lock: Path) -> int | None:
    """The process that holds a lock of the store, None when nobody does."""
    try:
        process = int(lock.read_text())
        inode = lock.stat().st_ino
    except (OSError, ValueError):
        return None
    locked = _locked_inodes()
    if locked and inode not in locked:
        return None
    return process if _is_alive(process) else None


def _locked_inodes() -> set[int]:
    """Of the files that some process has locked; none where the system does not say (no /proc)."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
        devices = [line.split()[5] for line in lines if "FLOCK" in line]
        return {int(device.rpartition(":")[2]) for device in devices}
    except (OSError, IndexError, ValueError):
        return set()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # of another user
    return True
