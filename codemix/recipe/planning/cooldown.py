"""What a cooldown is: the end of training, when the learning rate falls and the mixture counts most."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan

COOLDOWN_SCHEDULES = ("linear", "exponential")


def cools_down(schedule: str, first_rate: float, last_rate: float) -> bool:
    """Whether a rate falls along a line or an exponential, to less than half."""
    falls_by_half = last_rate < first_rate / 2
    return falls_by_half and schedule in COOLDOWN_SCHEDULES


def is_cooldown(stage: StagePlan) -> bool:
    """Whether a stage continues another while its rate cools down. Raises CodemixError as `StagePlan.lr`
    does."""
    if stage.parent is None or not stage.steps:
        return False
    schedule = stage.spec.learning_rate.kind
    last_step = stage.steps - 1
    return cools_down(schedule, stage.lr(0), stage.lr(last_step))
