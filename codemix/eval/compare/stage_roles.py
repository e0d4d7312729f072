"""Which stages of several variants belong together: sweeps over the share of code, kinds of code, cooldowns.

Roles come from the structure (parents, mixtures, schedules), never from names: the proportion sweep is a set
of first stages that differ in their share of code, a cooldown is a last stage whose learning rate falls away
from its parent's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codemix.eval.compare.code_shares import code_composition, code_share
from codemix.eval.compare.variants import Variant, VariantStage, is_cooldown

LEAST_POINTS = 3  # shares of code that make a curve
NO_CODE = 0.0005  # a smaller share of code rounds to 0.0%


@dataclass(frozen=True)
class SweepPoint:
    """A first stage on the curve over the share of code."""

    share: float
    stage: VariantStage


@dataclass(frozen=True)
class Sweep:
    """Scored first stages of equal length with different shares of code."""

    tokens: int
    points: list[SweepPoint]

    @property
    def is_curve(self) -> bool:
        shares = {point.share for point in self.points}
        return len(shares) >= LEAST_POINTS


@dataclass(frozen=True)
class Arm:
    """One of several stages that differ in one thing, and what that is."""

    label: str
    stage: VariantStage


@dataclass(frozen=True)
class Quality:
    """Scored first stages of equal length and share of code that differ in what the code is."""

    tokens: int
    code_share: float
    arms: list[Arm]


@dataclass(frozen=True)
class Cooldown:
    """A scored stage with every cooldown that continues it."""

    origin: VariantStage
    arms: list[Arm]


def first_stages(variants: Iterable[Variant]) -> list[VariantStage]:
    """Scored stages from scratch, each once: variants share a stage whose fingerprint is the same."""
    by_fingerprint: dict[str, VariantStage] = {}
    for variant in variants:
        for stage in variant.stages:
            facts = stage.facts
            if facts.plan.load is None and facts.has_bits():
                by_fingerprint.setdefault(facts.fingerprint, stage)
    return list(by_fingerprint.values())


def sweeps(variants: Sequence[Variant]) -> list[Sweep]:
    """Stages with at least three shares of code, by length.

    Where stages differ in what their code is made of, only the commonest kind is on the curve.
    """
    by_tokens: dict[int, list[VariantStage]] = {}
    for stage in first_stages(variants):
        group = by_tokens.setdefault(stage.facts.plan.tokens, [])
        group.append(stage)
    curves = []
    for tokens in sorted(by_tokens):
        sweep = Sweep(tokens, _points(by_tokens[tokens]))
        if sweep.is_curve:
            curves.append(sweep)
    return curves


def _points(stages: Sequence[VariantStage]) -> list[SweepPoint]:
    """Stages without code, and those whose code is of the commonest kind, by share of code."""
    points = [SweepPoint(round(code_share(stage), 6), stage) for stage in stages]
    kinds = [code_composition(point.stage) for point in points if point.share]
    commonest = max(sorted(kinds), key=kinds.count, default="")
    on_curve = []
    for point in points:
        kind = code_composition(point.stage)
        if not point.share or kind == commonest:
            on_curve.append(point)
    on_curve.sort(key=lambda point: point.stage.variant.name)
    return sorted(on_curve, key=lambda point: point.share)


def qualities(variants: Sequence[Variant]) -> list[Quality]:
    """Groups of first stages that are alike in length and share of code, but whose code is not the same."""
    groups: dict[tuple[int, float], dict[str, Arm]] = {}
    for stage in first_stages(variants):
        share = round(code_share(stage), 3)
        if share > 0:
            arms = groups.setdefault((stage.facts.plan.tokens, share), {})
            kind = code_composition(stage)
            arms.setdefault(kind, Arm(kind, stage))
    qualities = []
    for (tokens, share), arms in sorted(groups.items()):
        if len(arms) > 1:
            qualities.append(Quality(tokens, share, list(arms.values())))
    return qualities


def cooldowns(variants: Sequence[Variant]) -> list[Cooldown]:
    """Every scored stage that has a cooldown, with all of its scored cooldowns."""
    by_origin: dict[str, Cooldown] = {}
    seen: set[str] = set()
    for variant in variants:
        for stage in variant.stages:
            origin = _cooled_down_from(stage)
            if origin is None or stage.facts.fingerprint in seen:
                continue
            seen.add(stage.facts.fingerprint)
            cooldown = by_origin.setdefault(origin.facts.fingerprint, Cooldown(origin, []))
            cooldown.arms.append(Arm(_code_label(stage), stage))
    for cooldown in by_origin.values():
        cooldown.arms.sort(key=lambda arm: arm.label, reverse=True)
    return list(by_origin.values())


def _cooled_down_from(stage: VariantStage) -> VariantStage | None:
    """The scored stage of the same variant that a scored cooldown continues; None for any other stage."""
    parent = stage.facts.plan.parent
    if parent is None or not is_cooldown(stage.facts) or not stage.facts.has_bits():
        return None
    for origin in stage.variant.stages:
        if origin.facts.fingerprint == parent.fingerprint and origin.facts.has_bits():
            return origin
    return None


def _code_label(stage: VariantStage) -> str:
    share = code_share(stage)
    if share < NO_CODE:
        return "without code"
    return f"with {share * 100:.0f}% code"
