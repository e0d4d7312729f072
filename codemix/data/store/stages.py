"""Where the store holds a stage of training, whether it is finished, and what it calls its sources.

A stage is found by what its sources hold, and its files call them by the names that they had when it was
begun: a source renamed since has two names.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store import digests
from codemix.data.store.store import Store, in_the_way, read_json

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan


def stage_dir(store: Store, stage: StagePlan) -> Path:
    """Where a stage is, or will be, in the store."""
    return store.path("stages", stage.name, stage.fingerprint)


def is_done(folder: Path) -> bool:
    """Whether a stage's folder holds a finished stage. Raises CodemixError (`store-damaged`) where it has lost a
    file since."""
    if missing := digests.lacking(folder):
        raise in_the_way(folder, missing)
    return (folder / "done.json").exists()


def finished_facts(stage: StagePlan) -> dict[str, Any]:
    """What done.json says of every stage."""
    return {
        "stage": stage.name,
        "fingerprint": stage.fingerprint,
        "steps": stage.steps,
        "tokens": stage.tokens,
        "finished": round(time.time(), 1),
    }


def names_in_folder(folder: Path, stage: StagePlan) -> dict[str, str]:
    """For each source of a stage its name in the files of the stage's folder; today's in one not begun."""
    path = folder / "lineage.json"
    by_key: dict[str, str] = {}
    if path.exists():
        lineage = read_json(path)
        for name, read in lineage["sources"].items():
            by_key[read.get("key")] = name
    names = {}
    for source in stage.sources:
        now = source.source
        names[now] = by_key.get(source.key, now)
    return names


def renamed_since(folder: Path, stage: StagePlan) -> str:
    """Which sources have another name in a stage's folder: `docs (trained as old_docs)`; empty for none."""
    renamed = []
    for now, then in names_in_folder(folder, stage).items():
        if now != then:
            renamed.append(f"{now} (trained as {then})")
    return ", ".join(renamed)


def read_ledger(folder: Path, stage: StagePlan) -> dict[str, Any]:
    """What a finished stage was planned to read and did, by today's names of its sources."""
    ledger = read_json(folder / "ledger.json")
    names = names_in_folder(folder, stage)
    today = {then: now for now, then in names.items()}
    for side in ("planned", "consumed"):
        tokens = {}
        for then, n in ledger[side].items():
            now = today.get(then, then)
            tokens[now] = n
        ledger[side] = tokens
    return ledger
