"""What every stage in a store is doing, read from its files: no jax, and nothing is changed or locked."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError
from codemix.train.run.metrics import read_metrics


@dataclass(frozen=True)
class StageStatus:
    """One stage in the store."""

    name: str
    fingerprint: str
    recipe: str
    state: Literal["done", "training", "stopped"]
    step: int  # of the newest metrics line; of the end when done
    steps: int
    checkpoint: int | None  # the step a stopped stage goes on from
    loss: float | None  # of the newest metrics line [nats/token]
    tokens_per_s: float | None
    age_s: int | None  # since that line was written
    process: int | None  # that trains it
    stopped_by: str  # the rule of what stopped it, when something was wrong
    folder: str


def status(store: Store) -> list[StageStatus]:
    """Every stage, those in work first, each group by name."""
    found = []
    for base in (
        store.root / ".building" / "stages",
        store.root / "stages",
    ):  # in this order: a stage that ends meanwhile is met again
        for folder in sorted(base.iterdir()) if base.is_dir() else ():
            if not (folder / "lineage.json").exists():  # a lock, or a stage that is only beginning
                continue
            try:
                found.append(_read(folder, store))
            except (CodemixError, FileNotFoundError):
                if folder.exists():
                    raise
    return sorted(
        found, key=lambda s: (("training", "stopped", "done").index(s.state), s.name, s.fingerprint)
    )


def _read(folder: Path, store: Store) -> StageStatus:
    lineage = read_json(folder / "lineage.json")
    lines = read_metrics(folder / "metrics.jsonl")
    last = lines[-1] if lines else {}
    checkpoints = folder / "checkpoints"
    saved = [int(p.name) for p in checkpoints.iterdir() if p.name.isdigit()] if checkpoints.is_dir() else []
    done = (folder / "done.json").exists() and folder.parent == store.root / "stages"
    process = None if done else holder(folder.with_name(folder.name + ".lock"))
    stopped = folder / "stopped.json"
    step = read_json(folder / "done.json")["steps"] if done else last.get("step", 0)
    return StageStatus(
        name=lineage["stage"],
        fingerprint=lineage["fingerprint"][:12],
        recipe=lineage["recipe"],
        folder=str(folder),
        process=process,
        state="done" if done else "training" if process else "stopped",
        step=step,
        steps=lineage["steps"],
        checkpoint=max(saved, default=None),
        loss=last.get("train/loss_nats_per_token"),
        tokens_per_s=last.get("tokens_per_s"),
        age_s=round(time.time() - last["time"]) if last else None,
        stopped_by=read_json(stopped)["rule"] if stopped.exists() else "",
    )


def holder(lock: Path) -> int | None:
    """The process that holds a lock of the store, None when nobody does."""
    try:
        written = lock.read_text()
        inode = lock.stat().st_ino
        process = int(written)
    except (OSError, ValueError):
        return None
    try:
        held = {
            line.split()[5].rsplit(":", 1)[1]
            for line in Path("/proc/locks").read_text().splitlines()
            if "FLOCK" in line
        }
        if held and str(inode) not in held:
            return None
    except (OSError, IndexError):
        pass  # no /proc: the process id has to do
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return process
