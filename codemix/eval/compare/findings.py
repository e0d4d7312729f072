"""What the numbers of a comparison allow to say, as one plain value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from codemix.eval.compare.changes import Best, Change, LabelledChange, best, difference
from codemix.eval.compare.seeds_section import SeedFindings, seed_findings
from codemix.eval.compare.stage_roles import Sweep, SweepPoint, cooldowns, qualities, sweeps
from codemix.eval.compare.variants import Variant, VariantStage, equally_long

FORMAT = 2  # verdicts are better and worse
MEASURES = {"code": "held-out code", "text": "held-out text", "other": "the other held-out sources"}


@dataclass(frozen=True)
class QualityChange(LabelledChange):
    """A change by what the code is, at equal length and share of code."""

    reference_label: str
    tokens: int
    code_share: float

    def as_json(self) -> dict[str, Any]:
        return {
            **super().as_json(),
            "reference_label": self.reference_label,
            "tokens": self.tokens,
            "code_share": self.code_share,
        }


@dataclass(frozen=True)
class Question:
    """What the comparison was asked, and what is shown beside its own numbers."""

    text: str = ""
    overlay_paper: bool = False
    winrates: Sequence[Mapping[str, Any]] = ()  # as winrate.json holds them
    missing: Sequence[str] = ()  # recipes that belong here and are not trained


@dataclass(frozen=True)
class Findings:
    """Every number of the comparison."""

    question: Question
    base: Variant
    variants: Sequence[Variant]  # those that codemix trained
    last: Sequence[Change]  # of the last stages
    before_cooldown: Sequence[Change]
    cooldown: Sequence[LabelledChange]
    quality: Sequence[QualityChange]
    best: Mapping[str, Best | None]  # by measure
    sweeps: Sequence[Sweep]
    other_length: Sequence[str] = field(default_factory=tuple)  # variants that are not ranked
    seeds: SeedFindings = field(default_factory=SeedFindings)
    logged: Sequence[Variant] = ()  # those of which another trainer logged a stage

    @property
    def everything(self) -> list[Variant]:
        """All that is compared, those that codemix trained first."""
        return [*self.variants, *self.logged]

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "baseline": self.base.name,
            "question": self.question.text,
            "overlay_paper": self.question.overlay_paper,
            "winrates": self.question.winrates,
            "missing": self.question.missing,
            "variants": [_variant_json(variant) for variant in self.variants],
            "last": [change.as_json() for change in self.last],
            "before_cooldown": [change.as_json() for change in self.before_cooldown],
            "cooldown": [change.as_json() for change in self.cooldown],
            "quality": [change.as_json() for change in self.quality],
            "best": {measure: asdict(top) if top else {} for measure, top in self.best.items()},
            "sweep": [_sweep_json(sweep) for sweep in self.sweeps],
            "seeds": self.seeds.as_json(),
            "other_length": self.other_length,
            "logged": [_variant_json(variant) for variant in self.logged],
        }


def _variant_json(variant: Variant) -> dict[str, Any]:
    return {
        "name": variant.name,
        "seeds": variant.seeds,
        "runs": [run.facts.as_json() for run in variant.runs],
    }


def _sweep_json(sweep: Sweep) -> dict[str, Any]:
    points = [_point_json(point) for point in sweep.points]
    return {"tokens": sweep.tokens, "points": points}


def _point_json(point: SweepPoint) -> dict[str, Any]:
    about = {
        "share": point.share,
        "variant": point.stage.variant.name,
        "stage": point.stage.name,
    }
    return about | point_bits(point)


def point_bits(point: SweepPoint) -> dict[str, list[float]]:
    """Bits per byte of a point by measure, one value per seed."""
    bits = {}
    for measure in MEASURES:
        sources = point.stage.sources_of(measure)
        bits[measure] = point.stage.bits(sources)
    return bits


def compare_variants(
    variants: Sequence[Variant], base: Variant, question: Question | None = None
) -> Findings:
    """Every number of the comparison against a baseline. Those of which another trainer trained a stage,
    which has no scores, are set apart; the baseline is one of them only where all are.
    """
    question = question or Question()
    logged = [variant for variant in variants if variant.elsewhere]
    if base in logged:
        return Findings(question, base, (), (), (), (), (), {}, (), logged=logged)
    variants = [variant for variant in variants if variant not in logged]
    last = equally_long([variant.last for variant in variants], base.last)
    ranked = [base, *(stage.variant for stage in last)]
    scored = [m for m in MEASURES if any(stage.sources_of(m) for stage in last)]
    return Findings(
        question=question,
        base=base,
        variants=variants,
        last=_against(last, base.last),
        before_cooldown=_before_cooldown(variants, ranked, base),
        cooldown=list(_cooldown_changes(variants)),
        quality=list(_quality_changes(variants)),
        best={measure: best(ranked, measure) for measure in scored},
        sweeps=sweeps(variants),
        seeds=seed_findings(ranked, base),
        other_length=[variant.name for variant in variants if variant not in ranked],
        logged=logged,
    )


def _against(stages: Iterable[VariantStage], reference: VariantStage) -> list[Change]:
    """The change of each stage on each measure."""
    stages = list(stages)
    changes = []
    for measure in MEASURES:
        for stage in stages:
            change = difference(stage, reference, measure)
            if change is not None:
                changes.append(change)
    return changes


def _before_cooldown(variants: Sequence[Variant], ranked: Sequence[Variant], base: Variant) -> list[Change]:
    """The changes before any cooldown; none where no ranked variant has one."""
    cooled = [variant for variant in ranked if variant.before_cooldown.name != variant.last.name]
    if not cooled:
        return []
    earlier = [variant.before_cooldown for variant in variants]
    reference = base.before_cooldown
    return _against(equally_long(earlier, reference), reference)


def _cooldown_changes(variants: Sequence[Variant]) -> Iterable[LabelledChange]:
    """Each cooldown against the same run before it."""
    for cooldown in cooldowns(variants):
        name = cooldown.origin.variant.name
        for arm in cooldown.arms:
            label = f"{name}: {arm.label}"
            for change in _against([arm.stage], cooldown.origin):
                yield LabelledChange(label, change)


def _quality_changes(variants: Sequence[Variant]) -> Iterable[QualityChange]:
    """Each kind of code against the first kind in its group."""
    for quality in qualities(variants):
        reference, *others = quality.arms
        for arm in others:
            for change in _against([arm.stage], reference.stage):
                yield QualityChange(arm.label, change, reference.label, quality.tokens, quality.code_share)
