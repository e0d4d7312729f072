"""What makes two stages one, whatever their sources are called and in which order they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.planning.plan import StagePlan, sorting

# of the order in which a stage reads (data/loader/order.py). 2: sources enter by what they hold, not by name
ORDER = 2


def by_name(stage: StagePlan) -> StagePlan:
    """The same stage with its sources sorted by name, as tables and files list them."""
    names = [source.source for source in stage.sources]
    return arranged(stage, sorting(names))


def arranged(stage: StagePlan, order: Sequence[int]) -> StagePlan:
    """The same stage with its sources, and so the counts of its segments, in another order."""
    sources = [stage.sources[index] for index in order]
    segments = []
    for segment in stage.segments:
        counts = [segment.counts[index] for index in order]
        in_order = replace(segment, counts=tuple(counts))
        segments.append(in_order)
    return replace(stage, sources=tuple(sources), segments=tuple(segments))


def renamed(stage: StagePlan, names: Mapping[str, str]) -> StagePlan:
    """The same stage, its sources called by the names that `names` gives for theirs, and sorted by them."""
    sources = []
    for source in stage.sources:
        name = names[source.source]
        sources.append(replace(source, source=name))
    changed = replace(
        stage,
        sources=tuple(sources),
        fim=_called(stage.fim, names),
        redistributed=_called(stage.redistributed, names),
    )
    return by_name(changed)


def _called(by_source: Mapping[str, Fraction], names: Mapping[str, str]) -> dict[str, Fraction]:
    """What is there for each source, by the name that `names` gives for its own."""
    called = {}
    for name, value in by_source.items():
        now = names[name]
        called[now] = value
    return called


def stage_fingerprint(stage: StagePlan) -> str:
    """The identity of a stage by its effects: equal data, order, updates and start give an equal fingerprint,
    however they were written and whatever the sources are called."""
    schedule: Any = stage.spec.learning_rate
    stage = arranged(stage, stage.by_key)
    rates = [stage.fim.get(source.source, 0) for source in stage.sources]
    return fingerprint(
        {
            "parent": stage.start_identity,
            "init_seed": stage.init_seed if stage.start_identity is None else None,
            "model": stage.model.model_copy(update={"preset": None}),
            "training": stage.training.model_copy(update={"batch_size": 1}),
            "batches": stage.batches,
            "steps": stage.steps,
            "seed": stage.seed,
            "average_seeds": stage.spec.average_seeds,
            "learning_rate": schedule,
            "run_total": stage.run_total if schedule.needs_run_total else None,
            "fim": rates if stage.fim else None,
            "fim_spm": stage.spec.fim_spm if stage.fim else None,
            "order": ORDER,
            "sources": [[s.key, s.start, s.windows, s.pool_windows] for s in stage.sources],
            "segments": [[s.first_row, s.rows, s.counts] for s in stage.segments],
        }
    )
