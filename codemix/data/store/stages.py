"""Where the store holds a stage of training, and whether it is finished."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.store.store import Store

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan


def stage_dir(store: Store, stage: StagePlan) -> Path:
    """Where a stage is, or will be, in the store."""
    return store.path("stages", stage.name, stage.fingerprint)


def is_done(folder: Path) -> bool:
    """Whether a stage's folder holds a finished stage."""
    return (folder / "done.json").exists()
