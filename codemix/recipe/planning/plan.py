"""What will happen, in whole numbers: the plan of a recipe, stage by stage, before anything runs.

The plan is exact: the loader reads what it says, and the ledger after training equals it.
recipe/planning/planner.py makes it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from codemix.errors import CodemixError, did_you_mean
from codemix.recipe.language import schema
from codemix.recipe.language.tags import FAMILIES, Family, family
from codemix.recipe.planning import stretches
from codemix.recipe.planning.stretches import Stretch


@dataclass(frozen=True)
class Pool:
    """What one epoch of a source holds: the tokens of its training shards, or the declared size of a source
    that is not built yet."""

    shard_tokens: tuple[int, ...]
    documents: Fraction | int | None = None  # of a share that a source declares, not a whole number
    exact: bool = True  # from a manifest, not declared
    fingerprint: str = ""  # of what the shards hold, or of the source's spec

    @property
    def tokens(self) -> int:
        return sum(self.shard_tokens)

    def windows(self, seq_len: int) -> int:
        """Windows of `seq_len` + 1 tokens at stride `seq_len`; none crosses a shard, the tails are left
        over."""
        strides = [max(0, tokens - 1) for tokens in self.shard_tokens]
        windows = [tokens // seq_len for tokens in strides]
        return sum(windows)


@dataclass(frozen=True)
class StageSource:
    """One source in one stage: `windows` are read from cursor `start` on.

    An epoch is `pool_windows`; None where the size is unknown.
    """

    source: str
    share: Fraction  # asked, mean over the stage
    windows: int
    start: int
    pool_windows: int | None
    tags: Mapping[str, str]
    epochs_before: Fraction = Fraction(0)  # over the whole lineage
    pool_fingerprint: str = ""  # of its `Pool`; of its spec where the size is unknown
    copy: int = 0  # which one of the lineage's sources of this content

    @property
    def key(self) -> str:
        """What the order, the cursors and the stage's identity know it by: what it holds, never its name."""
        return copy_key(self.pool_fingerprint, self.copy)

    @property
    def epochs_after(self) -> Fraction | None:
        if not self.pool_windows:
            return None
        epochs = Fraction(self.windows, self.pool_windows)
        return self.epochs_before + epochs


@dataclass(frozen=True)
class Segment:
    """Rows with constant shares: `counts` by source, in the order of `StagePlan.sources`; they sum to
    `rows`."""

    first_row: int
    rows: int
    counts: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class StagePlan:
    """One stage, resolved. Everything that decides its data and its updates is here or in `parent`."""

    name: str
    index: int  # among the stages of its recipe
    spec: schema.Stage
    model: schema.Model
    training: schema.Training  # with the stage's overrides
    seq_len: int
    batches: tuple[Stretch, ...]  # rows per step, ascending by first step
    steps: int
    rows: int
    asked_tokens: int
    seed: int
    init_seed: int
    sources: tuple[StageSource, ...]  # sorted by name
    segments: tuple[Segment, ...]
    fim: Mapping[str, Fraction]
    parent: StagePlan | None
    load: Literal["state", "weights"] | None  # of the parent or of `pretrained`; None: from scratch
    run_tokens: int  # of the lineage before this stage
    run_total: int  # of the lineage at the end of this recipe's last stage on it
    # source -> the share it is given where `on_cap` changed it
    redistributed: Mapping[str, Fraction] = field(default_factory=dict)
    fingerprint: str = ""

    def __repr__(self) -> str:
        return (
            f"StagePlan({self.name}, {self.tokens:,} tokens in {self.steps:,} steps, {self.fingerprint[:12]})"
        )

    @functools.cached_property
    def by_key(self) -> tuple[int, ...]:
        """The indices of its sources in the order of their keys, which no name changes."""
        keys = [source.key for source in self.sources]
        return sorting(keys)

    @property
    def pretrained(self) -> schema.Pretrained | None:
        """The model of another trainer whose weights it starts from."""
        start = self.spec.init_from
        return start if isinstance(start, schema.Pretrained) else None

    @property
    def start_identity(self) -> list[str | None] | None:
        """What decides the weights that it starts from; None: `init_seed` does."""
        if self.pretrained is not None:
            return ["huggingface", self.pretrained.sha256]
        if self.parent is not None:
            return [self.parent.fingerprint, self.load]
        return None

    @property
    def tokens(self) -> int:
        return self.rows * self.seq_len

    def windows_by_family(self) -> dict[Family, int]:
        """How many windows are text, code, and neither."""
        windows = dict.fromkeys(FAMILIES, 0)
        for source in self.sources:
            kind = family(source.tags)
            windows[kind] += source.windows
        return windows

    @property
    def doc_mask(self) -> str:
        return self.training.doc_mask

    @property
    def reset_positions(self) -> bool:
        return self.training.reset_positions

    def batch_size(self, step: int) -> int:
        """Rows of a step."""
        return stretches.size_of(self.batches, step)

    def first_row(self, step: int) -> int:
        """Rows of the stage before a step."""
        return stretches.total_before(self.batches, step)

    def step_of_row(self, row: int) -> int:
        """The step that reads a row of the stage."""
        return stretches.step_holding(self.batches, self.steps, row)

    def lr(self, step: int) -> float:
        """The learning rate of a step, by the stage's schedule."""
        schedule: Any = self.spec.learning_rate
        return schedule.lr(schedule.at(self, step))

    @functools.cached_property
    def last_lr(self) -> float:
        """The learning rate of the last step, from which the next stage may start. Raises CodemixError as
        `lr` does."""
        unknown: list[StagePlan] = []
        ancestor = self.parent
        while ancestor is not None and "last_lr" not in vars(ancestor):
            unknown.append(ancestor)
            ancestor = ancestor.parent
        for stage in reversed(unknown):  # oldest first: a long lineage must not recurse
            if stage.steps:
                stage.last_lr  # noqa: B018 - kept
        return self.lr(self.steps - 1)

    @property
    def run_steps(self) -> int:
        """Steps of the lineage before this stage."""
        ancestors = lineage(self)[:-1]
        return sum(stage.steps for stage in ancestors)

    def planned_tokens(self) -> dict[str, int]:
        """Tokens by source, the planned side of the ledger."""
        tokens = {}
        for source in self.sources:
            tokens[source.source] = source.windows * self.seq_len
        return tokens


@dataclass(frozen=True, repr=False)
class Plan:
    """A recipe's stages, planned. `stages` are the recipe's own; a stage's `parent` may belong to another
    recipe.

    In a notebook it is shown as the tables of `codemix plan`."""

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
        """The stage of that name. Raises CodemixError (`unknown-stage`)."""
        by_name = {stage.name: stage for stage in self.stages}
        if name not in by_name:
            hints = did_you_mean(name, by_name)
            raise CodemixError(f"there is no stage `{name}`", hints=hints, rule="unknown-stage")
        return by_name[name]


def lineage(stage: StagePlan) -> list[StagePlan]:
    """The stage's lineage, oldest first; the stage itself is the last."""
    newest_first = [stage]
    while stage.parent is not None:
        stage = stage.parent
        newest_first.append(stage)
    return newest_first[::-1]


def with_ancestors(stages: Iterable[StagePlan]) -> list[StagePlan]:
    """The stages and all those before them, each once and after its parent."""
    seen: set[int] = set()
    ordered: list[StagePlan] = []
    for stage in stages:
        unseen: list[StagePlan] = []
        ancestor: StagePlan | None = stage
        while ancestor is not None and id(ancestor) not in seen:
            seen.add(id(ancestor))
            unseen.append(ancestor)
            ancestor = ancestor.parent
        ordered += reversed(unseen)
    return ordered


def copy_key(content: str, copy: int) -> str:
    """The key of a source by its content: the first one of a lineage is `content`, the next `content#1`."""
    return f"{content}#{copy}" if copy else content


def sorting(values: Sequence[str]) -> tuple[int, ...]:
    """The indices that sort values."""
    indices = range(len(values))
    in_order = sorted(indices, key=values.__getitem__)
    return tuple(in_order)
