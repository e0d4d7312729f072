"""What a run was asked to do and what it did, as one plain value.

Reports and comparisons are made from this value, and their JSON twins hold it. Nothing here depends on where
the store is or on the time of day: equal folders give equal facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codemix.eval.pages.curves import Curves
from codemix.eval.pages.results import EvalFacts
from codemix.eval.stats import Difference
from codemix.recipe.language.tags import FAMILIES

FORMAT = 1


@dataclass(frozen=True)
class ModelFacts:
    """The model of a run; what depends on the vocabulary is unknown until a stage is trained."""

    parameters: int | None
    vocab_size: int | None
    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int


@dataclass(frozen=True)
class SplitFacts:
    """The size of one split of a source."""

    tokens: int
    documents: int
    bytes: int


@dataclass(frozen=True)
class DocumentCounts:
    """What happened to the documents of a source: read = kept + dropped by reason + unreadable."""

    read: int
    kept: int
    dropped: Mapping[str, int]
    unreadable: int

    @classmethod
    def of(cls, funnel: Mapping[str, Any]) -> DocumentCounts | None:
        """The counts of a funnel; None for one into which nothing was read."""
        if not funnel.get("read"):
            return None
        return cls(
            read=funnel["read"],
            kept=funnel["kept"],
            dropped=funnel["dropped"],
            unreadable=funnel["unreadable"],
        )

    @property
    def adds_up(self) -> bool:
        n_dropped = sum(self.dropped.values())
        accounted = self.kept + n_dropped + self.unreadable
        return self.read == accounted


@dataclass(frozen=True)
class SourceFacts:
    """What was built of a source."""

    fingerprint: str
    tokenizer: str  # the fingerprint of its folder; of its content where no folder is known
    tokenizer_sha256: str
    splits: Mapping[str, SplitFacts]
    funnel: Mapping[str, Any]
    environment: Mapping[str, Any]
    inputs: int

    @property
    def documents(self) -> DocumentCounts | None:
        """The funnel's counts; None for a source of which nothing was read."""
        return DocumentCounts.of(self.funnel)


@dataclass(frozen=True)
class ParentFacts:
    """The stage that another one continues."""

    stage: str
    fingerprint: str


@dataclass(frozen=True)
class Rates:
    """The learning rate of a stage at its first step, at its highest, at its last step."""

    first: float
    peak: float
    last: float


@dataclass(frozen=True)
class PlanFacts:
    """What a stage was asked to do."""

    parent: ParentFacts | None
    load: str | None
    pretrained: str | None  # the model of another trainer that it starts from
    tokens: int
    asked_tokens: int
    run_tokens_before: int
    steps: int
    seq_len: int
    batch_sizes: tuple[int, int]  # smallest and largest [rows per step]
    seed: int
    learning_rate: Mapping[str, Any]
    rates: Rates | None  # None for a stage without steps

    @property
    def end_tokens(self) -> int:
        """Tokens of the run at the end of this stage."""
        return self.run_tokens_before + self.tokens

    def as_json(self) -> dict[str, Any]:
        content = asdict(self)
        smallest, largest = content.pop("batch_sizes")
        is_constant = smallest == largest
        content["batch_size"] = smallest if is_constant else [smallest, largest]
        if self.rates is not None:
            content["rates"] = list(content["rates"].values())
        return content


@dataclass(frozen=True)
class TrainingFacts:
    """What training did."""

    trained: bool
    ledger_equal: (
        bool | None
    )  # whether exactly the planned tokens were consumed; None before the stage is done
    curves: Curves
    training_s: float | None
    lineage: Mapping[str, Any] | None
    renamed: str  # sources that had another name then: `docs (trained as old_docs)`

    @property
    def elsewhere(self) -> bool:
        """Whether another trainer trained it, whose log this is."""
        return self.lineage is not None and "trainer" in self.lineage

    def as_json(self) -> dict[str, Any]:
        content = dict(vars(self))
        content["curves"] = self.curves.as_json()
        return content


@dataclass(frozen=True)
class SourceUse:
    """The part of one source in one stage."""

    asked_share: float
    share: float
    planned: int  # tokens
    consumed: int | None  # tokens; None before the stage is trained
    epochs_before: float
    epochs_after: float | None

    @property
    def tokens(self) -> int:
        """Those consumed, or planned where nothing is trained yet."""
        return self.planned if self.consumed is None else self.consumed


@dataclass(frozen=True)
class StageFacts:
    """One stage: what was planned, what was trained, what it scores."""

    name: str
    fingerprint: str
    description: str
    sources: Mapping[str, SourceUse]
    plan: PlanFacts
    training: TrainingFacts
    scores: EvalFacts

    @property
    def is_scored(self) -> bool:
        return bool(self.scores.sources or self.scores.tasks)

    def has_bits(self) -> bool:
        """Whether bits per byte were measured."""
        return bool(self.scores.sources)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "description": self.description,
            "sources": {name: asdict(use) for name, use in self.sources.items()},
            **self.plan.as_json(),
            **self.training.as_json(),
            **self.scores.as_json(),
        }


@dataclass(frozen=True)
class RunFacts:
    """Everything that a report says about a run."""

    recipe: str
    description: str
    seed: int
    model: ModelFacts
    tags: Mapping[str, Mapping[str, str]]
    families: Mapping[str, str]  # source -> "text", "code" or "other"
    sources: Mapping[str, SourceFacts]
    max_epochs: Mapping[str, float]
    stages: Sequence[StageFacts]
    moves: Mapping[str, Difference]  # family -> bits per byte from the first to the last evaluation

    @property
    def scored_stages(self) -> list[StageFacts]:
        """The stages that have bits per byte."""
        return list(filter(StageFacts.has_bits, self.stages))

    @property
    def elsewhere(self) -> bool:
        """Whether another trainer trained any of its stages."""
        return any(stage.training.elsewhere for stage in self.stages)

    @property
    def used_sources(self) -> list[str]:
        """Every source of a stage, by family and name."""
        used: set[str] = set()
        for stage in self.stages:
            used.update(stage.sources)
        return by_family(used, self.families)

    def of_family(self, family: str, sources: Iterable[str]) -> list[str]:
        """Those of `sources` that belong to a family."""
        families = self.families
        return of_family(family, sources, families)

    def as_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "format": FORMAT,
            "model": asdict(self.model),
            "sources": {name: asdict(source) for name, source in self.sources.items()},
            "stages": [stage.as_json() for stage in self.stages],
            "moves": {family: move.as_json() for family, move in self.moves.items()},
        }


def by_family(sources: Iterable[str], families: Mapping[str, str]) -> list[str]:
    """Sources in the order of tables: text, code, others, each by name."""
    ordered = []
    remaining = sorted(sources)
    for family in FAMILIES:
        ordered += of_family(family, remaining, families)
    return ordered


def of_family(family: str, sources: Iterable[str], families: Mapping[str, str]) -> list[str]:
    """Those of `sources` that belong to a family; "other" is the family of those that have none."""
    members = []
    for source in sources:
        if families.get(source, "other") == family:
            members.append(source)
    return members
