"""Learning-rate schedules: pure host arithmetic from a position in training to one rate. No jax, no numpy.

Every schedule runs on *tokens*: a length in steps means the tokens of those steps, so that a growing batch
bends nothing. The rate of a step is the curve's value at the *end* of that step: the first warm-up step
already learns, and the last step of a stage uses exactly the floor.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from codemix.errors import CodemixError, Problem
from codemix.recipe.language.component import Component
from codemix.recipe.language.quantities import Length
from codemix.recipe.planning.stretches import total_before

Rate = Annotated[float, Field(gt=0, lt=100)]
RateOrZero = Annotated[float, Field(ge=0, lt=100)]
Previous = Literal["previous"]


@dataclass(frozen=True)
class Position:
    """A place in training: one step of one stage, and where that stage lies in its run.

    `tokens_per_step` holds stretches of constant batch size as (first step, tokens per step); a plain stage
    has one. `run_tokens` are the lineage's tokens before the stage; `run_total` those at the end of the
    recipe's last stage of the same lineage (default: the end of this stage). `previous` is the rate of the
    parent's last step.

    >>> Position(step=2, steps=4, tokens_per_step=((0, 100), (3, 200))).tokens_after
    300
    """

    step: int
    steps: int
    tokens_per_step: tuple[tuple[int, int], ...]
    run_tokens: int = 0
    run_total: int | None = None
    previous: float | None = None

    def tokens_before(self, step: int) -> int:
        """Tokens of this stage before `step`; beyond the stage, as if its last stretch continued [tokens]."""
        return total_before(self.tokens_per_step, step)

    @property
    def tokens_after(self) -> int:
        """Tokens of this stage up to the end of this step: the clock of every schedule [tokens]."""
        return self.tokens_before(self.step + 1)

    @property
    def stage_total(self) -> int:
        return self.tokens_before(self.steps)

    @property
    def end_of_run(self) -> int:
        if self.run_total is None:
            return self.run_tokens + self.stage_total
        return self.run_total

    def in_tokens(self, length: Length, whole: int) -> float:
        """A recipe's length [tokens]; a share is a share of `whole`."""
        if length.steps is not None:
            return self.tokens_before(length.steps)
        if length.tokens is not None:
            return length.tokens
        assert length.share is not None  # a length is one of the three
        return float(length.share * whole)

    def rate(self, value: float | Previous) -> float:
        """A rate as the recipe gives it, `previous` replaced by the rate at the parent's end."""
        if value != "previous":
            return value
        if self.previous is None:
            raise CodemixError(NO_PREVIOUS)
        return self.previous


NO_PREVIOUS = Problem(
    "the learning rate starts from `previous`, and this stage has no stage before it",
    rule="previous-without-parent",
    hints=("give a number, for example `3e-4`", "or start this stage from another one"),
)


ZERO_PREVIOUS = Problem(
    "the learning rate starts from `previous`, and the stage before ends at 0, so nothing would be learnt",
    rule="previous-is-zero",
    hints=("give a number, for example `3e-4`", "or give the stage before a `floor:` above 0"),
)


class Schedule(Component):
    """A learning rate [1/step] as a function of the tokens seen."""

    family: ClassVar[str] = "schedule"

    def lr(self, position: Position) -> float:
        """The rate of one step."""
        raise NotImplementedError

    def at(self, stage: Any, step: int) -> Position:
        """The `Position` of a step of a `recipe.plan.StagePlan`."""
        parent = stage.parent
        return Position(
            step=step,
            steps=stage.steps,
            tokens_per_step=tuple((first, size * stage.seq_len) for first, size in stage.batches),
            run_tokens=stage.run_tokens,
            run_total=stage.run_total,
            previous=parent.last_lr if parent is not None and parent.steps else None,
        )

    def problems(self, position: Position) -> list[Problem]:
        """What cannot work at this stage; `position` is any step of it."""
        return []

    @property
    def needs_run_total(self) -> bool:
        """Whether stages that come later change the rate of this one; then they belong to its identity."""
        return False


def between(start: float, end: float, x: float) -> float:
    """From `start` at x = 0 to `end` at x = 1, exact at both and outside."""
    if x <= 0:
        return start
    if x >= 1:
        return end
    return start * (1 - x) + end * x


def too_long(parts: dict[str, float], whole: float, of: str) -> list[Problem]:
    """A problem when lengths that follow each other [tokens] exceed the `whole` [tokens]."""
    if sum(parts.values()) <= whole:
        return []
    rule = "warmup-longer-than-stage" if set(parts) == {"warmup"} else "schedule-longer-than-stage"
    named = " and ".join(f"`{name}` ({tokens:,.0f} tokens)" for name, tokens in parts.items() if tokens)
    return [
        Problem(
            f"{named} last longer than the {of} ({whole:,.0f} tokens)",
            rule=rule,
            hints=(f"together at most {whole:,.0f} tokens, or a longer {of}",),
        )
    ]


def needs_previous(
    position: Position, peak: float | Previous, warmup_from: float | Previous = 0.0
) -> list[Problem]:
    """A problem when a rate is `previous` and there is no stage before, or when the peak would be 0."""
    if "previous" in (peak, warmup_from) and position.previous is None:
        return [NO_PREVIOUS]
    return [ZERO_PREVIOUS] if peak == "previous" and position.previous == 0 else []
