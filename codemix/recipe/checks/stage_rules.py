"""Rules of a stage as it is planned: limits on its marginals, its schedule, and what the literature found harmful.

Judged on the final whole numbers, after all rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.language.quantities import (
    share_at_least,
    share_at_most,
    show_share,
    show_tokens,
    tokens_at_least,
)
from codemix.recipe.language.tags import CODE
from codemix.recipe.planning.plan import StagePlan, with_ancestors


def findings(recipe: schema.Recipe, stages: Sequence[StagePlan]) -> list[Finding]:
    """All of them, of every stage."""
    found: list[Finding] = []
    after_code = _after_code(stages)
    for stage in stages:
        schedule = list(_schedule(stage))
        falls = not schedule and _falls(stage)
        found += [*_limits(recipe, stage), *schedule, *_literature(stage, falls and id(stage) in after_code)]
    return found


def _after_code(stages: Sequence[StagePlan]) -> set[int]:
    """The stages that read code or come after one that does, by their `id`."""
    found: set[int] = set()
    for stage in with_ancestors(stages):
        if stage.parent is not None and id(stage.parent) in found or share_of(stage, CODE):
            found.add(id(stage))
    return found


def matches(tags: Mapping[str, str], where: Mapping[str, str | list[str]]) -> bool:
    """Whether a source's tags satisfy `{axis: value or list of values}`."""
    return all(
        tags.get(axis) in ([value] if isinstance(value, str) else value) for axis, value in where.items()
    )


def share_of(
    stage: StagePlan, where: Mapping[str, str | list[str]], of: Mapping[str, str | list[str]] | None = None
) -> Fraction:
    """The exact share of a stage's windows whose source has these tags, of all windows or of those tagged `of`."""
    whole = sum(s.windows for s in stage.sources if of is None or matches(s.tags, of))
    part = sum(
        s.windows for s in stage.sources if matches(s.tags, where) and (of is None or matches(s.tags, of))
    )
    return Fraction(part, whole) if whole else Fraction(0)


def _limits(recipe: schema.Recipe, stage: StagePlan) -> Iterator[Finding]:
    if not stage.sources:
        return
    axes = {axis for s in recipe.sources.values() for axis in s.tags}
    own = [(("stages", stage.index, "limits", i), x) for i, x in enumerate(stage.spec.limits)]
    for at, limit in [(("limits", i), x) for i, x in enumerate(recipe.limits)] + own:
        for key, axis in [("where", axis) for axis in limit.where] + [
            ("of", axis) for axis in limit.of or ()
        ]:
            if axis not in axes:
                yield finding(
                    (*at, key, axis),
                    "unknown-tag",
                    f"no source has a tag `{axis}`",
                    *did_you_mean(axis, axes),
                    on_key=True,
                )
        whole = [s for s in stage.sources if limit.of is None or matches(s.tags, limit.of)]
        inside = [s for s in whole if matches(s.tags, limit.where)]
        n, part = sum(s.windows for s in whole), sum(s.windows for s in inside)
        share = Fraction(part, n) if n else Fraction(0)
        said = f"stage `{stage.name}` has {show_share(share)} {_named(limit.where)}{f' of {_named(limit.of)}' if limit.of else ''}"
        if limit.max is not None and share > limit.max:
            excess, largest = part - int(limit.max * n), max(inside, key=lambda s: s.windows)
            hint = f"give {_amount(excess, stage)} of it to others (`{largest.source}` is the largest with {show_share(Fraction(largest.windows, n))})"
            what = f"{said}, more than the limit of {show_share(limit.max)}"
            yield finding(
                (*at, "max"), "limit", what, f"{hint}, or raise the limit to {share_at_least(share)}"
            )
        if limit.min is not None and n and share < limit.min:  # a part of nothing is never too small
            missing = -int(-limit.min * n // 1) - part
            what = f"{said}, less than the limit of {show_share(limit.min)}"
            yield finding(
                (*at, "min"),
                "limit",
                what,
                f"give it {_amount(missing, stage)} more, or lower the limit to {share_at_most(share)}",
            )


def _named(tags: Mapping[str, str | list[str]]) -> str:
    return ", ".join(f"{k} {v if isinstance(v, str) else ' or '.join(v)}" for k, v in tags.items())


def _amount(windows: int, stage: StagePlan) -> str:
    return f"{share_at_least(Fraction(windows, stage.rows))} of the stage ({tokens_at_least(windows * stage.seq_len)} tokens)"


def _schedule(stage: StagePlan) -> Iterator[Finding]:
    if not stage.steps:
        return
    schedule = stage.spec.learning_rate
    at = ("stages", stage.index, "learning_rate")
    try:
        position = schedule.at(stage, 0)
    except CodemixError:  # the parent's schedule has no rate; that is told at the parent
        return
    for problem in schedule.problems(position):
        if problem.rule == "schedule-longer-than-stage" and not hasattr(schedule, "decay"):
            what = f"the warm-up is longer than stage `{stage.name}` ({stage.steps:,} steps)"
            yield finding((*at, "warmup"), "warmup-longer-than-stage", what, *problem.hints)
        else:
            yield Finding(at, problem, True)


def _literature(stage: StagePlan, cools_after_code: bool) -> Iterator[Finding]:
    if not stage.sources:
        return
    at = ("stages", stage.index, "mixture")
    code = share_of(stage, CODE)
    if code > Fraction(3, 4):
        what = f"stage `{stage.name}` is {show_share(code)} code"
        yield finding(
            at,
            "code-share-high",
            what,
            "25% to 50% code kept language ability in the paper's sweep",
            on_key=True,
        )
    if code == 0 and cools_after_code:
        what = f"the cooldown `{stage.name}` has no code, and earlier stages had"
        yield finding(at, "cooldown-without-code", what, "the paper's cooldown has 20% code", on_key=True)
    for s in stage.sources:
        if s.epochs_after is not None and s.epochs_after > 4 >= s.epochs_before:
            what = (
                f"`{s.source}` is read {float(s.epochs_after):.1f} times by the end of stage `{stage.name}`"
            )
            hint = f"at 4 epochs it gives {show_tokens(4 * s.pool_windows * stage.seq_len)} tokens"
            yield finding((*at, s.source), "many-epochs", what, hint, on_key=True)


def _falls(stage: StagePlan) -> bool:
    """Whether the stage is a cooldown: its learning rate falls along a line or an exponential, by half or more."""
    try:
        kind = stage.spec.learning_rate.kind
        return (
            stage.steps > 0
            and kind in ("linear", "exponential")
            and stage.lr(stage.steps - 1) < stage.lr(0) / 2
        )
    except CodemixError:  # the parent's schedule has no rate; that is told at the parent
        return False
