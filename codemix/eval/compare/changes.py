"""How much a variant differs from a reference, as values: differences with intervals, verdicts, who is best.

Two runs are compared on the same held-out documents; an interval comes from resampling those documents, the
spread from seeds. A difference is called only when the interval excludes zero and seeds alone never produced
as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codemix.eval import stats
from codemix.eval.compare.variants import Variant, VariantStage
from codemix.eval.pages.paired_bits import DocumentPair, bootstrap

NO_CALL = "no call"


@dataclass(frozen=True)
class Interval:
    """A difference on the documents that both sides scored, with its 95% interval over these documents."""

    difference: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    documents: int
    bytes: int
    level: float


@dataclass(frozen=True)
class Change:
    """Bits per byte of a variant's stage against a reference's, with an interval where there are records."""

    stage: VariantStage
    reference: VariantStage
    measure: str  # a family, or one source
    sources: list[str]
    value: float
    reference_value: float
    seeds: list[float]
    reference_seeds: list[float]
    interval: Interval | None = None
    verdict: str = NO_CALL  # or "better", "worse"

    @property
    def variant(self) -> str:
        return self.stage.variant.name

    @property
    def is_of_one_stage(self) -> bool:
        """Whether both sides are one stage, trained once, of which there is nothing to say but +0.0%."""
        ours = [stage.fingerprint for stage in self.stage.runs]
        theirs = [stage.fingerprint for stage in self.reference.runs]
        return ours == theirs

    def as_json(self) -> dict[str, Any]:
        interval = asdict(self.interval) if self.interval else {}
        return {
            "variant": self.variant,
            "stage": self.stage.name,
            "reference": self.reference.variant.name,
            "reference_stage": self.reference.name,
            "measure": self.measure,
            "sources": self.sources,
            "value": self.value,
            "reference_value": self.reference_value,
            "seeds": self.seeds,
            "reference_seeds": self.reference_seeds,
            "verdict": self.verdict,
            **interval,
        }


@dataclass(frozen=True)
class LabelledChange:
    """A change under a name of its own."""

    label: str
    change: Change

    def as_json(self) -> dict[str, Any]:
        return {**self.change.as_json(), "label": self.label}


def difference(stage: VariantStage, reference: VariantStage, measure: str) -> Change | None:
    """A variant's stage against a reference on documents that both scored; None when they share no source.

    Each document's bits are averaged over a variant's seeds first. `measure`: a family or one source.
    """
    common = set(reference.sources_of(measure))
    sources = [source for source in stage.sources_of(measure) if source in common]
    if not sources:
        return None
    seeds = stage.bits(sources)
    reference_seeds = reference.bits(sources)
    value = _mean(seeds)
    reference_value = _mean(reference_seeds)
    interval = None
    verdict = NO_CALL
    pairs = paired(stage, reference, sources)
    if len(pairs) > 1:
        sample = bootstrap(pairs)
        interval = _interval(sample, pairs)
        verdict = stats.verdict(sample, stats.seed_spread(reference_seeds), stats.seed_spread(seeds))
        if len(pairs) < _n_scored(stage, sources):
            value = sample.b
            reference_value = sample.a
    return Change(
        stage,
        reference,
        measure,
        sources,
        value,
        reference_value,
        seeds,
        reference_seeds,
        interval,
        verdict,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _interval(sample: stats.Difference, pairs: Sequence[DocumentPair]) -> Interval:
    return Interval(
        difference=sample.difference,
        low=sample.low,
        high=sample.high,
        relative=sample.relative,
        relative_low=sample.low / sample.a,
        relative_high=sample.high / sample.a,
        documents=len(pairs),
        bytes=sum(pair.bytes for pair in pairs),
        level=sample.level,
    )


def _n_scored(stage: VariantStage, sources: Sequence[str]) -> int:
    """Documents that a stage scored."""
    total = 0
    for source in sources:
        total += stage.facts.scores.sources[source].documents
    return total


def paired(stage: VariantStage, reference: VariantStage, sources: Sequence[str]) -> list[DocumentPair]:
    """Documents that every seed of both sides scored alike, their bits averaged over the seeds of a side."""
    pairs = []
    for source in sources:
        ours = [documents.get(source, {}) for documents in stage.documents]
        theirs = [documents.get(source, {}) for documents in reference.documents]
        common = set.intersection(*map(set, [*ours, *theirs]))
        for name in sorted(common):
            our_scores = [documents[name] for documents in ours]
            their_scores = [documents[name] for documents in theirs]
            sizes = {score.bytes for score in our_scores + their_scores}
            size = sizes.pop()
            if not sizes and size > 0:
                value = _mean([score.bits for score in our_scores])
                reference_value = _mean([score.bits for score in their_scores])
                pairs.append(DocumentPair(reference_value, value, size))
    return pairs


@dataclass(frozen=True)
class Best:
    """The variant with the lowest bits per byte, and all that it cannot be told from."""

    variant: str
    value: float
    not_told_apart: list[str]
    of: int  # variants that have a value


def best(variants: Sequence[Variant], measure: str) -> Best | None:
    """The variants that nothing beats on a measure after their last stages; None when none has a score."""
    means: dict[int, float] = {}
    for i, variant in enumerate(variants):
        values = variant.last.bits(variant.last.sources_of(measure))
        if values:
            means[i] = _mean(values)
    if not means:
        return None
    lowest, *others = sorted(means, key=means.__getitem__)
    reference = variants[lowest].last
    ties = []
    for i in others:
        change = difference(variants[i].last, reference, measure)
        if change is None or change.verdict == NO_CALL:
            ties.append(variants[i].name)
    return Best(variants[lowest].name, means[lowest], ties, len(means))
