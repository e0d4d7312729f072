"""What training a stage has come to, and where it starts:
from its own newest checkpoint, its parent, a model of another trainer, or fresh weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codemix.train.run import lineage, pretrained
from codemix.train.run.checkpoint import Checkpoints, restore_final
from codemix.train.run.context import RunContext
from codemix.train.run.ledger import Ledger
from codemix.train.run.metrics import Sums
from codemix.train.step.step import TrainState

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan


@dataclass
class StageState:
    """Everything that a checkpoint holds. `ledger.steps` says how far it is."""

    arrays: TrainState
    ledger: Ledger
    sums: Sums  # since the last line of metrics

    def meta(self) -> dict[str, Any]:
        """What a checkpoint says beside the arrays."""
        return {
            "step": self.ledger.steps,
            "rows": self.ledger.rows,
            "sums": self.sums.as_json(),
        }


def start_state(
    context: RunContext, stage: StagePlan, checkpoints: Checkpoints, belongs_to: dict[str, Any]
) -> StageState:
    """The state at which a stage starts or resumes.
    Raises CodemixError where a checkpoint belongs to something else.
    """
    saved = checkpoints.latest()
    if saved is None:
        arrays = _first_arrays(context, stage)
        return StageState(arrays, Ledger(stage), Sums())
    meta = checkpoints.meta(saved)
    place = checkpoints.folder / str(saved)
    lineage.refuse_other(place, meta["belongs_to"], belongs_to)
    arrays = TrainState(**checkpoints.restore(saved, context.step(stage).shapes()))
    ledger = Ledger(stage, meta["rows"], saved)
    return StageState(arrays, ledger, Sums(**meta["sums"]))


def _first_arrays(context: RunContext, stage: StagePlan) -> TrainState:
    step = context.step(stage)
    if stage.pretrained is not None:
        return step.fresh_optimizer(pretrained.load(context, stage, stage.pretrained))
    if stage.parent is None:
        return step.init(stage.init_seed)
    folder = lineage.parent_dir(context.store, stage, stage.parent, context.tokenizer)
    if stage.load == "state":
        return TrainState(**restore_final(folder, step.shapes()))
    return step.fresh_optimizer(restore_final(folder, step.shapes(), parts=("model",))["model"])
