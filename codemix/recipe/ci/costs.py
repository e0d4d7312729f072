"""What recipes cost together: a stage that several train counts once, and so do shards that several read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from codemix.recipe.planning import cost_estimate
from codemix.recipe.planning.chips import chip_named
from codemix.recipe.planning.cost_estimate import NOTHING, Cost
from codemix.recipe.planning.plan import Plan, with_ancestors
from codemix.recipe.planning.source_identity import spec_fingerprints

_Made = TypeVar("_Made")


@dataclass
class Costs:
    """Estimates: of each stage by its fingerprint, of each source's shards by theirs [bytes]."""

    chip: str
    mfu: float
    stages: dict[str, Cost] = field(default_factory=dict)
    shards: dict[str, int] = field(default_factory=dict)

    def add(self, plans: Iterable[Plan]) -> None:
        """Count what plans train and build, with what they start from."""
        for plan in plans:
            self._add_stages(plan)
            self._add_shards(plan)

    def _add_stages(self, plan: Plan) -> None:
        vocab_size = cost_estimate.vocabulary(plan)
        chip = chip_named(self.chip)
        for stage in with_ancestors(plan.stages):
            if stage.fingerprint not in self.stages:
                self.stages[stage.fingerprint] = cost_estimate.stage_cost(stage, vocab_size, chip, self.mfu)

    def _add_shards(self, plan: Plan) -> None:
        vocab_size = cost_estimate.vocabulary(plan)
        for name, fingerprint in spec_fingerprints(plan.recipe).items():
            self.shards[fingerprint] = cost_estimate.shard_bytes(plan, vocab_size, {name})

    def without(self, other: Costs) -> Costs:
        """What is not in another as well: what has to be made once that is there."""
        stages = _not_in(self.stages, other.stages)
        shards = _not_in(self.shards, other.shards)
        return Costs(self.chip, self.mfu, stages, shards)

    @property
    def training(self) -> Cost:
        return sum(self.stages.values(), NOTHING)

    @property
    def shard_bytes(self) -> int:
        return sum(self.shards.values())


def _not_in(mine: dict[str, _Made], theirs: dict[str, _Made]) -> dict[str, _Made]:
    """In the order of `mine`: sums of floats depend on it."""
    kept = {}
    for fingerprint, made in mine.items():
        if fingerprint not in theirs:
            kept[fingerprint] = made
    return kept
