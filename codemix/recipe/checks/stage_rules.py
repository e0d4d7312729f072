"""Rules of a stage as it is planned: limits on its marginals, its schedule, and what the literature found
harmful.

Judged on the final whole numbers, after all rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from codemix.errors import CodemixError
from codemix.recipe.checks import limits
from codemix.recipe.checks.limits import share_of
from codemix.recipe.language import schema
from codemix.recipe.language.finding import WARNINGS, Finding, finding
from codemix.recipe.language.quantities import show_share, show_tokens
from codemix.recipe.language.tags import CODE
from codemix.recipe.planning.cooldown import is_cooldown
from codemix.recipe.planning.plan import StagePlan, StageSource, lineage, with_ancestors

HIGH_CODE_SHARE = Fraction(3, 4)
MANY_EPOCHS = 4


def findings(recipe: schema.Recipe, stages: Sequence[StagePlan]) -> Iterator[Finding]:
    """What breaks these rules, stage by stage."""
    after_code = _after_code(stages)
    for stage in stages:
        yield from limits.findings(recipe, stage)
        yield from _positions(stage)
        schedule = list(_schedule(stage))
        yield from schedule
        if stage.sources:
            yield from _code_share(stage)
            if id(stage) in after_code and not schedule:
                yield from _cooldown_without_code(stage)
            for source in stage.sources:
                yield from _many_epochs(stage, source)


def _after_code(stages: Sequence[StagePlan]) -> set[int]:
    """The stages that read code or come after one that does, by their `id`."""
    after_code: set[int] = set()
    for stage in with_ancestors(stages):
        if id(stage.parent) in after_code or share_of(stage, CODE):
            after_code.add(id(stage))
    return after_code


def _schedule(stage: StagePlan) -> Iterator[Finding]:
    if not stage.steps:
        return
    schedule = stage.spec.learning_rate
    at = ("stages", stage.index, "learning_rate")
    try:
        position = schedule.at(stage, 0)
    except CodemixError:  # the parent's schedule has no rate; that is reported at the parent
        return
    for problem in schedule.problems(position):
        if problem.rule in WARNINGS:  # of the warm-up
            what = f"the warm-up is longer than stage `{stage.name}` ({stage.steps:,} steps)"
            yield finding((*at, "warmup"), problem.rule, what, *problem.hints)
        else:
            yield Finding(at, problem, True)


def _positions(stage: StagePlan) -> Iterator[Finding]:
    at = ("stages", stage.index)
    if stage.model.positions == "none":
        if stage.spec.rope_theta is not None:
            what = f"stage `{stage.name}` changes the base of angles that this model does not have"
            yield finding((*at, "rope_theta"), "rope-unused", what, "leave it out, or use `positions: rope`")
        return
    is_longer = stage.parent is not None and stage.seq_len > stage.parent.seq_len
    if not is_longer or stage.spec.rope_theta is not None:
        return
    longest = max(ancestor.seq_len for ancestor in lineage(stage)[:-1])
    if stage.seq_len > longest:
        what = f"stage `{stage.name}` reads {stage.seq_len:,} tokens per row, and no stage before it more than {longest:,}"
        theta = f"{stage.model.rope_theta:.15g}"
        hint = f"give it a larger base than {theta}, for example `rope_theta: {50 * stage.model.rope_theta:.15g}`"
        yield finding((*at, "seq_len"), "context-without-base", what, hint)


def _code_share(stage: StagePlan) -> Iterator[Finding]:
    code = share_of(stage, CODE)
    if code > HIGH_CODE_SHARE:
        what = f"stage `{stage.name}` is {show_share(code)} code"
        hint = "25% to 50% code kept language ability in the paper's sweep"
        yield finding(_mixture(stage), "code-share-high", what, hint, on_key=True)


def _cooldown_without_code(stage: StagePlan) -> Iterator[Finding]:
    try:
        cools = is_cooldown(stage)
    except CodemixError:  # the parent's schedule has no rate; that is reported at the parent
        return
    if cools and share_of(stage, CODE) == 0:
        what = f"the cooldown `{stage.name}` has no code, and earlier stages had"
        hint = "the paper's cooldown has 20% code"
        yield finding(_mixture(stage), "cooldown-without-code", what, hint, on_key=True)


def _many_epochs(stage: StagePlan, source: StageSource) -> Iterator[Finding]:
    after = source.epochs_after
    pool = source.pool_windows
    if after is None or pool is None:
        return
    if source.epochs_before <= MANY_EPOCHS < after:
        what = f"`{source.source}` is read {float(after):.1f} times by the end of stage `{stage.name}`"
        enough = show_tokens(MANY_EPOCHS * pool * stage.seq_len)
        hint = f"at {MANY_EPOCHS} epochs it gives {enough} tokens"
        at = (*_mixture(stage), source.source)
        yield finding(at, "many-epochs", what, hint, on_key=True)


def _mixture(stage: StagePlan) -> tuple:
    return ("stages", stage.index, "mixture")
