"""How far two runs read identical data: the same rows of the same shards in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codemix.recipe.planning.plan import Plan, StagePlan, lineage
from codemix.recipe.planning.stage_identity import arranged


@dataclass(frozen=True)
class Prefix:
    """Whole steps from the start that read identical data, and the tokens in them."""

    steps: int
    tokens: int
    whole: bool  # to the end of both runs


def identical_data(a: Plan, b: Plan) -> Prefix:
    """Of the two runs, which are the lineages of their last stages."""
    stages = lineage(a.stages[-1])
    others = lineage(b.stages[-1])
    steps = 0
    tokens = 0
    for stage, other in zip(stages, others, strict=False):
        same = _identical_steps(stage, other)
        rows = stage.first_row(same)
        steps += same
        tokens += rows * stage.seq_len
        if same < max(stage.steps, other.steps):
            return Prefix(steps, tokens, whole=False)
    return Prefix(steps, tokens, whole=len(stages) == len(others))


def _identical_steps(stage: StagePlan, other: StagePlan) -> int:
    """Whole steps of two stages that read the same, whatever the sources are called."""
    stage = arranged(stage, stage.by_key)
    other = arranged(other, other.by_key)
    if _reading(stage) != _reading(other):
        return 0
    rows = _identical_rows(stage, other)

    def agree(step: int) -> bool:
        """Whether all rows before a step are read alike, and are as many."""
        first_row = stage.first_row(step)
        return first_row <= rows and first_row == other.first_row(step)

    fewest = 0
    most = _steps_of_equal_batches(stage, other)
    while fewest < most:
        middle = (fewest + most + 1) // 2
        if agree(middle):
            fewest = middle
        else:
            most = middle - 1
    return fewest


def _reading(stage: StagePlan) -> tuple[Any, ...]:
    """Everything but counts that decides what a row is."""
    sources = []
    for s in stage.sources:
        source = (s.key, s.pool_windows, s.start)
        sources.append(source)
    seeds = stage.spec.average_seeds or (stage.seed,)
    return sources, stage.seq_len, seeds, fim_settings(stage)


def fim_settings(stage: StagePlan) -> tuple[Any, ...]:
    """How documents are rearranged for fill-in-the-middle; empty where none are."""
    if not stage.fim:
        return ()
    rates = {source.key: stage.fim.get(source.source) for source in stage.sources}
    return rates, stage.spec.fim_spm


def _identical_rows(stage: StagePlan, other: StagePlan) -> int:
    """Rows in the segments that both begin with; the order inside a segment depends on all of its counts."""
    rows = 0
    for mine, theirs in zip(stage.segments, other.segments, strict=False):
        if mine != theirs:
            break
        rows = mine.first_row + mine.rows
    return rows


def _steps_of_equal_batches(stage: StagePlan, other: StagePlan) -> int:
    """Steps before the first whose batch sizes differ."""
    steps = min(stage.steps, other.steps)
    for mine, theirs in zip(stage.batches, other.batches, strict=False):
        first_step, size = mine
        other_first_step, other_size = theirs
        if size != other_size:
            steps = min(steps, first_step, other_first_step)
        elif first_step != other_first_step:
            steps = min(steps, max(first_step, other_first_step))
    return steps
