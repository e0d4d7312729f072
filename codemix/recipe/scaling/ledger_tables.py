"""Both ledgers side by side: what the target and its proxy read, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from codemix.recipe.planning.plan import Plan, StagePlan, StageSource
from codemix.recipe.scaling.scale_down import Proxy
from codemix.tables import Table


def ledger_tables(proxy: Proxy) -> list[Table]:
    """Stages, then epochs by stage and source."""
    stages = Table(
        "Stages of the target and of its proxy",
        [
            "stage",
            ">tokens",
            ">proxy's",
            ">steps",
            ">proxy's",
            ">batch",
            ">proxy's",
            ">peak rate",
            ">proxy's",
        ],
    )
    sources = Table(
        "Epochs of the target and of its proxy",
        ["stage", "source", ">tokens", ">proxy's", ">epochs so far", ">proxy's"],
    )
    for target, small in zip(proxy.target.stages, proxy.plan.stages, strict=True):
        stages.rows.append(_stage_row(target, small))
        pairs = zip(target.sources, small.sources, strict=True)
        for i, (whole, part) in enumerate(pairs):
            name = target.name if i == 0 else ""
            sources.rows.append([name, *_source_row(whole, part, target.seq_len)])
    sources.notes += [*_about_sizes(proxy.target), *proxy.notes]
    return [stages, sources]


def _stage_row(target: StagePlan, small: StagePlan) -> list[str]:
    return [
        target.name,
        f"{target.tokens:,}",
        f"{small.tokens:,}",
        f"{target.steps:,}",
        f"{small.steps:,}",
        _batch(target),
        _batch(small),
        f"{_peak(target):.3g}",
        f"{_peak(small):.3g}",
    ]


def _batch(stage: StagePlan) -> str:
    sizes = [str(size) for _, size in stage.batches]
    if len(sizes) == 1:
        return sizes[0]
    return f"{sizes[0]}..{sizes[-1]}"


def _peak(stage: StagePlan) -> float:
    stride = max(1, stage.steps // 200)
    rates = [stage.lr(step) for step in range(0, stage.steps, stride)]
    return max(rates)


def _source_row(whole: StageSource, part: StageSource, seq_len: int) -> list[str]:
    return [
        whole.source,
        f"{whole.windows * seq_len:,}",
        f"{part.windows * seq_len:,}",
        _epochs(whole),
        _epochs(part),
    ]


def _epochs(source: StageSource) -> str:
    after = source.epochs_after
    return "?" if after is None else f"{float(after):.4f}"


def _about_sizes(plan: Plan) -> Iterator[str]:
    unknown: dict[str, None] = {}
    for stage in plan.stages:
        for source in stage.sources:
            if source.pool_windows is None:
                unknown[source.source] = None
    if unknown:
        yield f"? : the size of {', '.join(unknown)} is unknown; its epochs are the target's all the same"


def as_json(proxy: Proxy) -> dict[str, Any]:
    """The same for programs."""
    rows: list[dict[str, Any]] = []
    for target, small in zip(proxy.target.stages, proxy.plan.stages, strict=True):
        for whole, part in zip(target.sources, small.sources, strict=True):
            rows.append(
                {
                    "stage": target.name,
                    "source": whole.source,
                    "target": _source_json(whole),
                    "proxy": _source_json(part),
                }
            )
    return {
        "target": proxy.target.recipe.name,
        "proxy": proxy.plan.recipe.name,
        "sources": rows,
        "notes": list(proxy.notes),
    }


def _source_json(source: StageSource) -> dict[str, Any]:
    after = source.epochs_after
    return {
        "windows": source.windows,
        "pool_windows": source.pool_windows,
        "epochs_after": None if after is None else float(after),
    }
