"""Which stages of several variants belong together: sweeps over the share of code, kinds of code, cooldowns.

Roles come from the structure (parents, mixtures, schedules), never from names: the proportion sweep is a set of first
stages that differ in their share of code, a cooldown is a last stage whose learning rate falls away from its parent's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
            if stage.facts.plan.parent is None and stage.facts.scores.sources:
                by_fingerprint.setdefault(stage.facts.fingerprint, stage)
    return list(by_fingerprint.values())


def sweeps(variants: Sequence[Variant]) -> list[Sweep]:
    """Stages with at least three shares of code, by length.

    Where stages differ in what their code is made of, only the commonest kind is on the curve.
    """
    by_tokens: dict[int, list[VariantStage]] = {}
    for stage in first_stages(variants):
        by_tokens.setdefault(stage.facts.plan.tokens, []).append(stage)
    curves = [Sweep(tokens, _curve(stages)) for tokens, stages in sorted(by_tokens.items())]
    return [curve for curve in curves if len({point.share for point in curve.points}) >= LEAST_POINTS]


def _curve(stages: Sequence[VariantStage]) -> list[SweepPoint]:
    """Stages without code, and those whose code is of the commonest kind, by share of code."""
    points = [SweepPoint(round(stage.code_share, 6), stage) for stage in stages]
    kinds = [point.stage.code_composition for point in points if point.share]
    commonest = max(sorted(set(kinds)), key=kinds.count, default="")
    on_curve = [p for p in points if not p.share or p.stage.code_composition == commonest]
    return sorted(on_curve, key=lambda point: (point.share, point.stage.variant.name))


def qualities(variants: Sequence[Variant]) -> list[Quality]:
    """Groups of first stages that are alike in length and share of code, but whose code is not the same."""
    groups: dict[tuple[int, float], dict[str, Arm]] = {}
    for stage in first_stages(variants):
        share = round(stage.code_share, 3)
        if share > 0:
            arms = groups.setdefault((stage.facts.plan.tokens, share), {})
            arms.setdefault(stage.code_composition, Arm(stage.code_composition, stage))
    return [
        Quality(tokens, share, list(arms.values()))
        for (tokens, share), arms in sorted(groups.items())
        if len(arms) > 1
    ]


def cooldowns(variants: Sequence[Variant]) -> list[Cooldown]:
    """Every scored stage that has a cooldown, with all of its scored cooldowns."""
    origins: dict[str, VariantStage] = {}
    arms: dict[str, dict[str, Arm]] = {}
    for variant in variants:
        for stage in variant.stages:
            origin = _parent(stage)
            if origin is None or not _is_scored_cooldown(stage, origin):
                continue
            key = origin.facts.fingerprint
            origins.setdefault(key, origin)
            arms.setdefault(key, {}).setdefault(stage.facts.fingerprint, Arm(_code_label(stage), stage))
    return [Cooldown(origin, _by_label(arms[key])) for key, origin in origins.items()]


def _parent(stage: VariantStage) -> VariantStage | None:
    """The stage of the same variant that a stage continues."""
    parent = stage.facts.plan.parent
    if parent is None:
        return None
    candidates = [s for s in stage.variant.stages if s.facts.fingerprint == parent.fingerprint]
    return candidates[0] if candidates else None


def _is_scored_cooldown(stage: VariantStage, origin: VariantStage) -> bool:
    is_scored = bool(stage.facts.scores.sources and origin.facts.scores.sources)
    return is_scored and is_cooldown(stage.facts)


def _code_label(stage: VariantStage) -> str:
    share = stage.code_share
    return "without code" if share < NO_CODE else f"with {share * 100:.0f}% code"


def _by_label(arms: dict[str, Arm]) -> list[Arm]:
    return sorted(arms.values(), key=lambda arm: arm.label, reverse=True)
