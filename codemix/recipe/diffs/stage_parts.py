"""What decides a stage, in parts that a reviewer knows: its data, order, model, rate and start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codemix.recipe.diffs.identical_data import fim_settings
from codemix.recipe.language.component import identity
from codemix.recipe.planning.plan import StagePlan

Names = Mapping[str, str]  # of renamed sources, what both sides call them here: `docs = old_docs`


Parts = dict[str, Any]  # what decides a source or a stage, by the name that a reviewer reads


def differing_keys(mine: Parts, theirs: Parts) -> tuple[str, ...]:
    differing = []
    for key in mine:
        if mine[key] != theirs[key]:
            differing.append(key)
    return tuple(differing)


def stage_parts(stage: StagePlan, names: Names) -> Parts:
    model = stage.model.model_copy(update={"preset": None})
    training = stage.training.model_copy(update={"batch_size": 1, "seq_len": 8})  # they are in the budget
    return {
        "start": stage.start_identity or stage.init_seed,
        "model": identity(model),
        "training": identity(training),
        "budget": (stage.steps, stage.batches, stage.seq_len),
        "mixture": _mixture(stage, names),
        "data": _order(stage, names),
        "learning rate": _rate(stage),
        "fill-in-the-middle": fim_settings(stage),
        "seeds to average": stage.spec.average_seeds,
    }


def _mixture(stage: StagePlan, names: Names) -> Any:
    """Counts by source: the same name, or the same data under another."""
    counts = []
    for index, source in enumerate(stage.sources):
        name = source.source
        called = names.get(name, name)
        of_segments = [segment.counts[index] for segment in stage.segments]
        counts.append((called, of_segments))
    return sorted(counts)


def _order(stage: StagePlan, names: Names) -> Any:
    pools = []
    for source in stage.sources:
        name = source.source
        called = names.get(name, name)
        pool = (called, source.key, source.pool_windows, source.start)
        pools.append(pool)
    return stage.seed, sorted(pools)


def _rate(stage: StagePlan) -> Any:
    schedule = stage.spec.learning_rate
    run_total = stage.run_total if schedule.needs_run_total else None
    return identity(schedule), run_total
