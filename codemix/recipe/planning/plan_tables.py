"""A plan as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from codemix.recipe.language.quantities import exact_share, show_share
from codemix.recipe.planning import cost_estimate
from codemix.recipe.planning.chips import chip_named
from codemix.recipe.planning.row_splits import leaves, row_of_ordinal, split_tree
from codemix.tables import Table

if TYPE_CHECKING:  # a plan shows itself as these tables
    from codemix.recipe.planning.plan import Plan, StagePlan


def plan_tables(plan: Plan, chip: str = "v5e", mfu: float = 0.4) -> list[Table]:
    """Stages, tokens by stage and source, and shares by axis where sources have tags."""
    tables = [stage_table(plan, chip, mfu), mixture_table(plan)]
    marginals = marginals_table(plan)
    if marginals is not None:
        tables.append(marginals)
    return tables


def first_wrap(stage: StagePlan, source: str) -> int | None:
    """The first step of the stage that reads a window of `source` for another time, or None."""
    i = next(i for i, s in enumerate(stage.sources) if s.source == source)
    s = stage.sources[i]
    if not s.pool_windows or s.windows == 0:
        return None
    ordinal = max(0, s.pool_windows - s.start)
    return None if ordinal >= s.windows else stage.step_of_row(row_of(stage, i, ordinal))


def row_of(stage: StagePlan, index: int, ordinal: int) -> int:
    """The row at which the stage reads the `ordinal`-th window of its `index`-th source (data/loader/order.py
    says why so)."""
    for segment in stage.segments:
        if ordinal < segment.counts[index]:
            break
        ordinal -= segment.counts[index]
    tree = split_tree(segment.counts)
    leaf = leaves(len(segment.counts)) + index
    return segment.first_row + row_of_ordinal(leaf, ordinal, tree.__getitem__)


def mixture_table(plan: Plan) -> Table:
    """Stage x source in whole tokens."""
    table = Table(
        "Tokens by stage and source",
        ["stage", "source", ">asked", ">exact", ">tokens", ">epochs so far", ">wraps at step"],
    )
    for stage in plan.stages:
        for i, s in enumerate(stage.sources):
            after, wrap = s.epochs_after, first_wrap(stage, s.source)
            given = stage.redistributed.get(s.source)
            asked = show_share(s.share) + (f" -> {show_share(given)}" if given is not None else "")
            table.rows.append(
                [
                    stage.name if i == 0 else "",
                    s.source,
                    asked,
                    show_share(Fraction(s.windows, stage.rows)),
                    f"{s.windows * stage.seq_len:,}",
                    "?" if after is None else f"{float(after):.3f}",
                    "" if wrap is None else f"{wrap:,}",
                ]
            )
    if any(s.pool_windows is None for stage in plan.stages for s in stage.sources):
        table.notes.append("? : the size is unknown until the source is built, or declared with `tokens:`")
    if any(stage.redistributed for stage in plan.stages):
        table.notes.append("-> : over `max_epochs`, so its siblings take the rest (`on_cap: redistribute`)")
    if any(stage.spec.by == "documents" for stage in plan.stages):
        table.notes.append("shares given `by: documents` are shown as the token shares that they imply")
    return table


def stage_table(plan: Plan, chip: str = "v5e", mfu: float = 0.4) -> Table:
    """One line a stage: tokens, steps, schedule, cost."""
    named = chip_named(chip)
    table = Table(
        "Stages",
        [
            "stage",
            "from",
            ">tokens",
            ">steps",
            ">batch",
            ">seq",
            ">learning rate",
            ">FLOP",
            f">{chip} hours",
            ">USD",
        ],
    )
    vocab, total = cost_estimate.vocabulary(plan), cost_estimate.NOTHING
    for stage in plan.stages:
        cost = cost_estimate.stage_cost(stage, vocab, named, mfu)
        total += cost
        batch = (
            f"{stage.batches[0][1]}"
            if len(stage.batches) == 1
            else f"{stage.batches[0][1]}..{stage.batches[-1][1]}"
        )
        parent = (
            "scratch"
            if stage.parent is None
            else f"{stage.parent.name}" + (" (weights)" if stage.load == "weights" else "")
        )
        table.rows.append(
            [
                stage.name,
                parent,
                f"{stage.tokens:,}",
                f"{stage.steps:,}",
                batch,
                f"{stage.seq_len:,}",
                _rates(stage),
                f"{cost.flops:.3g}",
                cost_estimate.show_amount(cost.chip_hours),
                cost_estimate.show_amount(cost.dollars),
            ]
        )
        if stage.asked_tokens != stage.tokens:
            table.notes.append(
                f"{stage.name}: {stage.asked_tokens:,} tokens asked, {stage.asked_tokens - stage.tokens:,} fewer are read, to end on a whole step"
            )
    model = plan.recipe.model
    table.notes.insert(
        0,
        f"model: {model.parameters(vocab):,} parameters"
        + ("" if vocab else " without the embedding (vocabulary known when built)"),
    )
    table.notes.append(
        f"estimated at {mfu:.0%} of {named.tflops:g} TFLOP/s and {named.usd_per_hour:g} USD an hour: {cost_estimate.show_amount(total.chip_hours)} chip-hours, {cost_estimate.show_amount(total.dollars)} USD in all; shards {cost_estimate.show_bytes(cost_estimate.shard_bytes(plan, vocab))}"
    )
    return table


def marginals_table(plan: Plan) -> Table | None:
    """Shares by each tag axis and stage, or None when no source has tags."""
    axes = sorted({axis for stage in plan.stages for s in stage.sources for axis in s.tags})
    if not axes:
        return None
    table = Table("Shares by axis", ["axis", "value", *(f">{stage.name}" for stage in plan.stages)])
    for axis in axes:
        values = sorted({s.tags.get(axis, "(untagged)") for stage in plan.stages for s in stage.sources})
        for i, value in enumerate(values):
            cells = [
                sum(s.windows for s in stage.sources if s.tags.get(axis, "(untagged)") == value)
                for stage in plan.stages
            ]
            table.rows.append(
                [
                    axis if i == 0 else "",
                    value,
                    *(
                        show_share(Fraction(c, stage.rows)) if stage.rows else ""
                        for c, stage in zip(cells, plan.stages, strict=True)
                    ),
                ]
            )
    return table


def as_json(
    plan: Plan, existing: Mapping[str, Any] | None = None, chip: str = "v5e", mfu: float = 0.4
) -> dict[str, Any]:
    """Everything the tables show, for programs."""
    vocab, named = cost_estimate.vocabulary(plan), chip_named(chip)
    stages = []
    for stage in plan.stages:
        cost = cost_estimate.stage_cost(stage, vocab, named, mfu)
        stages.append(
            {
                "name": stage.name,
                "fingerprint": stage.fingerprint,
                "parent": stage.parent.name if stage.parent else None,
                "load": stage.load,
                "tokens": stage.tokens,
                "asked_tokens": stage.asked_tokens,
                "steps": stage.steps,
                "rows": stage.rows,
                "seq_len": stage.seq_len,
                "batches": [list(b) for b in stage.batches],
                "seed": stage.seed,
                "doc_mask": stage.doc_mask,
                "reset_positions": stage.reset_positions,
                "learning_rate": {"first": stage.lr(0), "last": stage.lr(stage.steps - 1)}
                if stage.steps
                else None,
                "flops": cost.flops,
                "chip_hours": cost.chip_hours,
                "dollars": cost.dollars,
                "sources": [
                    {
                        "source": s.source,
                        "asked_share": exact_share(s.share),
                        "given_share": exact_share(stage.redistributed.get(s.source, s.share)),
                        "share": float(Fraction(s.windows, stage.rows)),
                        "windows": s.windows,
                        "tokens": s.windows * stage.seq_len,
                        "start_window": s.start,
                        "pool_windows": s.pool_windows,
                        "epochs_before": float(s.epochs_before),
                        "epochs_after": None if s.epochs_after is None else float(s.epochs_after),
                        "first_wrap_step": first_wrap(stage, s.source),
                        "tags": dict(s.tags),
                    }
                    for s in stage.sources
                ],
            }
        )
    return {
        "recipe": plan.recipe.name,
        "parameters": plan.recipe.model.parameters(vocab),
        "vocab_size": vocab or None,
        "tokens": sum(s.tokens for s in plan.stages),
        "chip": chip,
        "mfu": mfu,
        "shard_bytes": cost_estimate.shard_bytes(plan, vocab),
        "stages": stages,
        "existing": dict(existing or {}),
    }


def _rates(stage: StagePlan) -> str:
    if not stage.steps:
        return ""
    peak = max(
        stage.lr(step) for step in {0, *range(0, stage.steps, max(1, stage.steps // 200)), stage.steps - 1}
    )
    first, last = stage.lr(0), stage.lr(stage.steps - 1)
    return (
        f"{first:.2g} -> {last:.2g}"
        if peak <= max(first, last) * 1.0001
        else f"{first:.2g} -> {peak:.2g} -> {last:.2g}"
    )
