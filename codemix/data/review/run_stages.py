"""Steps of a run, which count from its lineage's first stage, and the stages that have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codemix.errors import CodemixError
from codemix.recipe.planning.plan import Plan, StagePlan, lineage


@dataclass(frozen=True)
class StageStep:
    """A step of a stage, counted from the stage's first."""

    stage: StagePlan
    step: int


def stages_of(plan: Plan) -> Iterator[StagePlan]:
    """Each stage that the plan trains or starts from, once, after the stages before it."""
    done: set[int] = set()
    for last in plan.stages:
        for stage in lineage(last):
            if id(stage) not in done:
                done.add(id(stage))
                yield stage


def find_step(plan: Plan, run_step: int, name: str | None) -> StageStep:
    """The stage that has a step of the run; `name` chooses where several have it.

    Raises CodemixError where none has it, or several.
    """
    stages = [stage for stage in stages_of(plan) if name in (None, stage.name)]
    holding = [stage for stage in stages if stage.run_steps <= run_step < stage.run_steps + stage.steps]
    if not holding:
        raise _no_such_step(stages, run_step, name)
    if len(holding) > 1:
        names = ", ".join(f"`{stage.name}`" for stage in holding)
        raise CodemixError(
            f"step {run_step:,} is in {len(holding)} stages that start from the same one: {names}",
            hints=["say which with `--stage NAME`"],
            rule="step-ambiguous",
        )
    (stage,) = holding
    return StageStep(stage, run_step - stage.run_steps)


def _no_such_step(stages: list[StagePlan], run_step: int, name: str | None) -> CodemixError:
    called = f" and is called `{name}`" if name else ""
    hints: list[str] = []
    for stage in stages:
        if stage.steps:
            last = stage.run_steps + stage.steps - 1
            hints.append(f"`{stage.name}` has steps {stage.run_steps:,} to {last:,}")
    return CodemixError(
        f"no stage of this recipe has step {run_step:,}{called}", hints=hints, rule="no-such-step"
    )
