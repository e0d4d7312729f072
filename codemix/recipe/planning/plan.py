"""What will happen, in whole numbers: the plan of a recipe, stage by stage, before anything runs.

The plan is exact: the loader reads what it says, and the ledger after training equals it. recipe/planning/planner.py makes it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from codemix.recipe.language import schema
from codemix.recipe.language.fingerprint import fingerprint


@dataclass(frozen=True)
class Pool:
    """What one epoch of a source holds: the tokens of its training shards, or a declared size for a source not built yet."""

    shard_tokens: tuple[int, ...]
    documents: int | None = None
    exact: bool = True  # from a manifest, not declared
    fingerprint: str = ""  # of what the shards hold, or of the source's spec

    @property
    def tokens(self) -> int:
        return sum(self.shard_tokens)

    def windows(self, seq_len: int) -> int:
        """Windows of `seq_len` + 1 tokens at stride `seq_len`; none crosses a shard, the tails are left over."""
        return sum(max(0, (n - 1) // seq_len) for n in self.shard_tokens)


@dataclass(frozen=True)
class StageSource:
    """One source in one stage. `windows` are read from cursor `start` on; an epoch is `pool_windows` (None: size unknown)."""

    source: str
    share: Fraction  # asked, mean over the stage
    windows: int
    start: int
    pool_windows: int | None
    tags: Mapping[str, str]
    epochs_before: Fraction = Fraction(0)  # over the whole lineage
    pool_fingerprint: str = ""  # of its `Pool`; of its spec where the size is unknown

    @property
    def epochs_after(self) -> Fraction | None:
        return self.epochs_before + Fraction(self.windows, self.pool_windows) if self.pool_windows else None


@dataclass(frozen=True)
class Segment:
    """Rows with constant shares: `counts` by source, in the order of `StagePlan.sources`; they sum to `rows`."""

    first_row: int
    rows: int
    counts: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class StagePlan:
    """One stage, resolved. Everything that decides its data and its updates is here or in `parent`."""

    name: str
    index: int  # in the recipe it stands in
    spec: schema.Stage
    model: schema.Model
    training: schema.Training  # with the stage's overrides
    seq_len: int
    batches: tuple[tuple[int, int], ...]  # (first step, rows a step), ascending
    steps: int
    rows: int
    asked_tokens: int
    seed: int
    init_seed: int
    sources: tuple[StageSource, ...]  # sorted by name
    segments: tuple[Segment, ...]
    fim: Mapping[str, Fraction]
    parent: StagePlan | None
    load: str | None  # "state" | "weights" | None (scratch)
    run_tokens: int  # of the lineage before this stage
    run_total: int  # of the lineage at the end of this recipe's last stage on it
    redistributed: Mapping[str, Fraction] = field(
        default_factory=dict
    )  # source -> share given, where `on_cap` changed it
    fingerprint: str = ""

    def __repr__(self) -> str:
        return (
            f"StagePlan({self.name}, {self.tokens:,} tokens in {self.steps:,} steps, {self.fingerprint[:12]})"
        )

    @property
    def tokens(self) -> int:
        return self.rows * self.seq_len

    @property
    def doc_mask(self) -> str:
        return self.training.doc_mask

    @property
    def reset_positions(self) -> bool:
        return self.training.reset_positions

    def batch_size(self, step: int) -> int:
        """Rows of a step."""
        return next(size for first, size in reversed(self.batches) if first <= step)

    def first_row(self, step: int) -> int:
        """Rows of the stage before a step."""
        total = 0
        for i, (first, size) in enumerate(self.batches):
            last = self.batches[i + 1][0] if i + 1 < len(self.batches) else step
            total += max(0, min(step, last) - first) * size
        return total

    def step_of_row(self, row: int) -> int:
        """The step that reads a row of the stage."""
        for i, (first, size) in enumerate(self.batches):
            last = self.batches[i + 1][0] if i + 1 < len(self.batches) else self.steps
            if row < self.first_row(last):
                return first + (row - self.first_row(first)) // size
        raise IndexError(f"row {row} is beyond the stage's {self.first_row(self.steps)} rows")

    def lr(self, step: int) -> float:
        """The learning rate of a step, by the stage's schedule."""
        schedule: Any = self.spec.learning_rate
        return schedule.lr(schedule.at(self, step))

    @functools.cached_property
    def last_lr(self) -> float:
        """The learning rate of the last step, from which a stage after it may go on. Raises CodemixError as `lr` does."""
        unknown: list[StagePlan] = []
        ancestor = self.parent
        while ancestor is not None and "last_lr" not in vars(ancestor):
            unknown.append(ancestor)
            ancestor = ancestor.parent
        for stage in reversed(unknown):  # the first first: a long lineage must not recurse
            if stage.steps:
                stage.last_lr  # noqa: B018 - kept
        return self.lr(self.steps - 1)

    def planned_tokens(self) -> dict[str, int]:
        """Tokens by source, the ledger's left side."""
        return {s.source: s.windows * self.seq_len for s in self.sources}


@dataclass(frozen=True, repr=False)
class Plan:
    """A recipe's stages, planned. `stages` are the recipe's own; a stage's `parent` may belong to another recipe.

    In a notebook it is shown as the tables of `codemix plan`.
    """

    recipe: schema.Recipe
    stages: tuple[StagePlan, ...]

    def __repr__(self) -> str:
        stages = ", ".join(map(repr, self.stages))
        return f"Plan({self.recipe.name}: {stages})"

    def _repr_markdown_(self) -> str:
        from codemix.recipe.planning.plan_tables import plan_tables

        return "\n".join(table.markdown() for table in plan_tables(self))

    def _repr_html_(self) -> str:
        from codemix.recipe.planning.plan_tables import plan_tables

        return "\n".join(table.html() for table in plan_tables(self))

    def stage(self, name: str) -> StagePlan:
        return next(s for s in self.stages if s.name == name)


def lineage(stage: StagePlan) -> list[StagePlan]:
    """A stage and those before it, the first first."""
    out = [stage]
    while out[-1].parent is not None:
        out.append(out[-1].parent)
    return out[::-1]


def with_ancestors(stages: Iterable[StagePlan]) -> list[StagePlan]:
    """The stages and all those before them, each once, what is before first."""
    seen: set[int] = set()
    found: list[StagePlan] = []
    for stage in stages:
        unseen: list[StagePlan] = []
        ancestor: StagePlan | None = stage
        while ancestor is not None and id(ancestor) not in seen:
            seen.add(id(ancestor))
            unseen.append(ancestor)
            ancestor = ancestor.parent
        found += reversed(unseen)
    return found


def stage_fingerprint(stage: StagePlan) -> str:
    """The identity of a stage by its effects: equal data, order, updates and start give an equal fingerprint, however they were written."""
    schedule: Any = stage.spec.learning_rate
    return fingerprint(
        {
            "parent": None if stage.parent is None else [stage.parent.fingerprint, stage.load],
            "init_seed": stage.init_seed if stage.parent is None else None,
            "model": stage.model.model_copy(update={"preset": None}),
            "training": stage.training.model_copy(update={"batch_size": 1}),
            "batches": stage.batches,
            "steps": stage.steps,
            "seed": stage.seed,
            "average_seeds": stage.spec.average_seeds,
            "learning_rate": schedule,
            "run_total": stage.run_total if schedule.needs_run_total else None,
            "fim": dict(stage.fim),
            "fim_spm": stage.spec.fim_spm if stage.fim else None,
            "sources": [
                [s.source, s.pool_fingerprint, s.start, s.windows, s.pool_windows] for s in stage.sources
            ],
            "segments": [[s.first_row, s.rows, s.counts] for s in stage.segments],
        }
    )
