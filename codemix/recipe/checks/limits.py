"""Limits on the marginals of a stage: what share of its windows may carry which tags."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from codemix.errors import did_you_mean
from codemix.recipe.language import schema
from codemix.recipe.language.finding import Finding, finding
from codemix.recipe.language.lists import one_or_several
from codemix.recipe.language.quantities import share_at_least, share_at_most, show_share, tokens_at_least
from codemix.recipe.planning.plan import StagePlan, StageSource

Tags = Mapping[str, str | list[str]]  # {axis: value, or any of several}


def matches(tags: Mapping[str, str], where: Tags) -> bool:
    """Whether a source's tags satisfy `{axis: value or list of values}`."""
    fits: list[bool] = []
    for axis, wanted in where.items():
        values = one_or_several(wanted)
        fits.append(tags.get(axis) in values)
    return all(fits)


@dataclass(frozen=True)
class Marginal:
    """The sources of a stage that carry some tags, `inside`, among those that count, `whole`."""

    whole: Sequence[StageSource]
    inside: Sequence[StageSource]

    @property
    def whole_windows(self) -> int:
        return sum(s.windows for s in self.whole)

    @property
    def windows(self) -> int:
        return sum(s.windows for s in self.inside)

    @property
    def share(self) -> Fraction:
        """The exact share of windows; 0 of nothing."""
        if not self.whole_windows:
            return Fraction(0)
        return Fraction(self.windows, self.whole_windows)


def marginal(
    stage: StagePlan,
    where: Tags,
    of: Tags | None = None,
) -> Marginal:
    """The sources tagged `where`, among all of the stage or those tagged `of`."""
    whole = stage.sources if of is None else _tagged(stage.sources, of)
    return Marginal(whole, _tagged(whole, where))


def _tagged(
    sources: Sequence[StageSource],
    where: Tags,
) -> list[StageSource]:
    return [s for s in sources if matches(s.tags, where)]


def share_of(stage: StagePlan, where: Tags) -> Fraction:
    """The exact share of a stage's windows whose source has these tags."""
    return marginal(stage, where).share


def findings(recipe: schema.Recipe, stage: StagePlan) -> Iterator[Finding]:
    """The limits of the recipe and of the stage that the stage breaks, or that name an unknown tag."""
    if not stage.sources:
        return
    for i, limit in enumerate(recipe.limits):
        yield from _judge(recipe, stage, limit, ("limits", i))
    for i, limit in enumerate(stage.spec.limits):
        yield from _judge(recipe, stage, limit, ("stages", stage.index, "limits", i))


def _judge(recipe: schema.Recipe, stage: StagePlan, limit: schema.Limit, at: tuple) -> Iterator[Finding]:
    yield from _unknown_axes(recipe, limit, at)
    part = marginal(stage, limit.where, limit.of)
    described = _describe(stage, limit, part)
    if limit.max is not None and part.share > limit.max:
        bound = show_share(limit.max)
        what = f"{described}, more than the limit of {bound}"
        remedy = _how_to_lower(stage, part, limit.max)
        yield finding((*at, "max"), "limit", what, remedy)
    if not part.whole_windows:
        return  # a part of nothing is never too small
    if limit.min is not None and part.share < limit.min:
        bound = show_share(limit.min)
        what = f"{described}, less than the limit of {bound}"
        remedy = _how_to_raise(stage, part, limit.min)
        yield finding((*at, "min"), "limit", what, remedy)


def _unknown_axes(recipe: schema.Recipe, limit: schema.Limit, at: tuple) -> Iterator[Finding]:
    known: set[str] = set()
    for source in recipe.sources.values():
        known.update(source.tags)
    for key, tags in (("where", limit.where), ("of", limit.of or {})):
        for axis in tags:
            if axis in known:
                continue
            what = f"no source has a tag `{axis}`"
            hints = did_you_mean(axis, known)
            yield finding((*at, key, axis), "unknown-tag", what, *hints, on_key=True)


def _describe(stage: StagePlan, limit: schema.Limit, part: Marginal) -> str:
    share = show_share(part.share)
    described = f"stage `{stage.name}` has {share} {_show_tags(limit.where)}"
    if limit.of:
        described += f" of {_show_tags(limit.of)}"
    return described


def _show_tags(tags: Tags) -> str:
    shown = []
    for axis, value in tags.items():
        values = value if isinstance(value, str) else " or ".join(value)
        shown.append(f"{axis} {values}")
    return ", ".join(shown)


def _how_to_lower(stage: StagePlan, part: Marginal, most: Fraction) -> str:
    allowed = int(most * part.whole_windows)
    excess = _amount(part.windows - allowed, stage)
    largest = max(part.inside, key=lambda s: s.windows)
    its_share = Fraction(largest.windows, part.whole_windows)
    shown = show_share(its_share)
    give = f"give {excess} of it to others (`{largest.source}` is the largest with {shown})"
    raised = share_at_least(part.share)
    return f"{give}, or raise the limit to {raised}"


def _how_to_raise(stage: StagePlan, part: Marginal, least: Fraction) -> str:
    needed = math.ceil(least * part.whole_windows)
    missing = _amount(needed - part.windows, stage)
    lowered = share_at_most(part.share)
    return f"give it {missing} more, or lower the limit to {lowered}"


def _amount(windows: int, stage: StagePlan) -> str:
    share = share_at_least(Fraction(windows, stage.rows))
    tokens = tokens_at_least(windows * stage.seq_len)
    return f"{share} of the stage ({tokens} tokens)"
