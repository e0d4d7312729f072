"""A plan as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from codemix.recipe.language.quantities import exact_share, show_share
from codemix.recipe.language.subsample import subsampled
from codemix.recipe.planning import cost_estimate
from codemix.recipe.planning.chips import chip_named
from codemix.recipe.planning.row_splits import leaves, row_of_ordinal, split_tree
from codemix.tables import Table

if TYPE_CHECKING:  # a plan shows itself as these tables
    from codemix.recipe.planning.plan import Plan, StagePlan, StageSource


def plan_tables(plan: Plan, chip: str = "v5e", mfu: float = 0.4) -> list[Table]:
    """Stages, tokens by stage and source, and shares by axis where sources have tags."""
    tables = [stage_table(plan, chip, mfu), mixture_table(plan)]
    marginals = marginals_table(plan)
    if marginals is not None:
        tables.append(marginals)
    return tables


def first_wrap(stage: StagePlan, index: int) -> int | None:
    """The first step of the stage that reads a window of its `index`-th source another time, or None."""
    source = stage.sources[index]
    if not source.pool_windows:
        return None
    unread = max(0, source.pool_windows - source.start)
    if unread >= source.windows:
        return None
    row = row_of(stage, index, unread)
    return stage.step_of_row(row)


def row_of(stage: StagePlan, index: int, ordinal: int) -> int:
    """The row at which the stage reads the `ordinal`-th window of its `index`-th source (data/loader/order.py
    says why so)."""
    for segment in stage.segments:
        if ordinal < segment.counts[index]:
            break
        ordinal -= segment.counts[index]
    counts = [segment.counts[number] for number in stage.by_key]
    tree = split_tree(counts)
    leaf = leaves(len(counts)) + stage.by_key.index(index)
    return segment.first_row + row_of_ordinal(leaf, ordinal, tree.__getitem__)


def mixture_table(plan: Plan) -> Table:
    """Stage x source in whole tokens."""
    table = Table(
        "Tokens by stage and source",
        ["stage", "source", ">asked", ">exact", ">tokens", ">epochs so far", ">wraps at step"],
    )
    for stage in plan.stages:
        for i in range(len(stage.sources)):
            table.rows.append(_source_row(stage, i))
    table.notes += _mixture_notes(plan.stages)
    samples = subsampled(plan.recipe)
    if samples:
        listed = ", ".join(f"{name} {share}" for name, share in samples.items())
        table.notes.append(f"subsampled, and epochs are those of the sample: {listed}")
    return table


def _source_row(stage: StagePlan, index: int) -> list[str]:
    source = stage.sources[index]
    after = source.epochs_after
    wrap = first_wrap(stage, index)
    asked = show_share(source.share)
    if source.source in stage.redistributed:
        given = stage.redistributed[source.source]
        asked += f" -> {show_share(given)}"
    return [
        stage.name if index == 0 else "",
        source.source,
        asked,
        show_share(Fraction(source.windows, stage.rows)),
        f"{source.windows * stage.seq_len:,}",
        "?" if after is None else f"{float(after):.3f}",
        "" if wrap is None else f"{wrap:,}",
    ]


def _mixture_notes(stages: Sequence[StagePlan]) -> Iterator[str]:
    sizes = [source.pool_windows for stage in stages for source in stage.sources]
    if None in sizes:
        yield "? : the size is unknown until the source is built, or declared with `tokens:`"
    if any(stage.redistributed for stage in stages):
        yield "-> : over `max_epochs`, so its siblings take the rest (`on_cap: redistribute`)"
    if any(stage.spec.by == "documents" for stage in stages):
        yield "shares given `by: documents` are shown as the token shares that they imply"


def stage_table(plan: Plan, chip: str = "v5e", mfu: float = 0.4) -> Table:
    """One line per stage: tokens, steps, schedule, cost."""
    named = chip_named(chip)
    columns = ["stage", "from", ">tokens", ">steps", ">batch", ">seq", ">learning rate", ">FLOP"]
    table = Table("Stages", [*columns, f">{chip} hours", ">USD"])
    vocab = cost_estimate.vocabulary(plan)
    table.notes.append(_model_note(plan, vocab))
    total = cost_estimate.NOTHING
    for stage in plan.stages:
        cost = cost_estimate.stage_cost(stage, vocab, named, mfu)
        total += cost
        table.rows.append(_stage_row(stage, cost))
        if stage.spec.rope_theta is not None:
            table.notes.append(f"{stage.name}: rope_theta is {stage.model.rope_theta:.15g} from here on")
        fewer = stage.asked_tokens - stage.tokens
        if fewer:
            asked = f"{stage.name}: {stage.asked_tokens:,} tokens asked"
            table.notes.append(f"{asked}, {fewer:,} fewer are read, to end on a whole step")
    hours = cost_estimate.show_amount(total.chip_hours)
    dollars = cost_estimate.show_amount(total.dollars)
    shards = cost_estimate.show_bytes(cost_estimate.shard_bytes(plan, vocab))
    table.notes.append(
        f"estimated at {mfu:.0%} of {named.tflops:g} TFLOP/s and {named.usd_per_hour:g} USD per hour:"
        f" {hours} chip-hours, {dollars} USD in all; shards {shards}"
    )
    return table


def _model_note(plan: Plan, vocab: int) -> str:
    parameters = plan.recipe.model.parameters(vocab)
    unknown = "" if vocab else " without the embedding (vocabulary known when built)"
    return f"model: {parameters:,} parameters{unknown}"


def _stage_row(stage: StagePlan, cost: cost_estimate.Cost) -> list[str]:
    sizes = [f"{size}" for _, size in stage.batches]
    return [
        stage.name,
        _origin(stage),
        f"{stage.tokens:,}",
        f"{stage.steps:,}",
        sizes[0] if len(sizes) == 1 else f"{sizes[0]}..{sizes[-1]}",
        f"{stage.seq_len:,}",
        _rates(stage),
        f"{cost.flops:.3g}",
        cost_estimate.show_amount(cost.chip_hours),
        cost_estimate.show_amount(cost.dollars),
    ]


def _origin(stage: StagePlan) -> str:
    if stage.pretrained is not None:
        return f"{stage.pretrained.huggingface} (weights)"
    if stage.parent is None:
        return "scratch"
    weights_only = " (weights)" if stage.load == "weights" else ""
    return f"{stage.parent.name}{weights_only}"


def _rates(stage: StagePlan) -> str:
    """The first and last learning rate, and the peak where it is above both."""
    if not stage.steps:
        return ""
    last_step = stage.steps - 1
    first, last = stage.lr(0), stage.lr(last_step)
    stride = max(1, stage.steps // 200)
    sampled = [stage.lr(step) for step in range(0, stage.steps, stride)]
    peak = max(last, *sampled)
    if peak <= max(first, last) * 1.0001:
        return f"{first:.2g} -> {last:.2g}"
    return f"{first:.2g} -> {peak:.2g} -> {last:.2g}"


def marginals_table(plan: Plan) -> Table | None:
    """Shares by each tag axis and stage, or None when no source has tags."""
    sources = [source for stage in plan.stages for source in stage.sources]
    axes = sorted({axis for source in sources for axis in source.tags})
    if not axes:
        return None
    names = [f">{stage.name}" for stage in plan.stages]
    table = Table("Shares by axis", ["axis", "value", *names])
    for axis in axes:
        values = sorted({_tag(source, axis) for source in sources})
        for value in values:
            shares = [_share_of(stage, axis, value) for stage in plan.stages]
            table.rows.append([axis if value == values[0] else "", value, *shares])
    return table


def _tag(source: StageSource, axis: str) -> str:
    return source.tags.get(axis, "(untagged)")


def _share_of(stage: StagePlan, axis: str, value: str) -> str:
    """The share of a stage's windows that one tag has; empty for a stage that reads nothing."""
    if not stage.rows:
        return ""
    windows = sum(source.windows for source in stage.sources if _tag(source, axis) == value)
    return show_share(Fraction(windows, stage.rows))


def as_json(
    plan: Plan,
    existing: Mapping[str, Any] | None = None,
    chip: str = "v5e",
    mfu: float = 0.4,
) -> dict[str, Any]:
    """Everything the tables show, for programs."""
    vocab = cost_estimate.vocabulary(plan)
    named = chip_named(chip)
    costs = [cost_estimate.stage_cost(stage, vocab, named, mfu) for stage in plan.stages]
    return {
        "recipe": plan.recipe.name,
        "parameters": plan.recipe.model.parameters(vocab),
        "vocab_size": vocab or None,
        "tokens": sum(stage.tokens for stage in plan.stages),
        "subsample": {name: exact_share(share) for name, share in subsampled(plan.recipe).items()},
        "chip": chip,
        "mfu": mfu,
        "shard_bytes": cost_estimate.shard_bytes(plan, vocab),
        "stages": [_stage_json(stage, cost) for stage, cost in zip(plan.stages, costs, strict=True)],
        "existing": dict(existing or {}),
    }


def _stage_json(stage: StagePlan, cost: cost_estimate.Cost) -> dict[str, Any]:
    rates = None
    if stage.steps:
        rates = {"first": stage.lr(0), "last": stage.lr(stage.steps - 1)}
    return {
        "name": stage.name,
        "fingerprint": stage.fingerprint,
        "parent": stage.parent.name if stage.parent else None,
        "load": stage.load,
        "pretrained": stage.pretrained.model_dump() if stage.pretrained else None,
        "tokens": stage.tokens,
        "asked_tokens": stage.asked_tokens,
        "steps": stage.steps,
        "rows": stage.rows,
        "seq_len": stage.seq_len,
        "rope_theta": stage.model.rope_theta,
        "batches": [list(stretch) for stretch in stage.batches],
        "seed": stage.seed,
        "doc_mask": stage.doc_mask,
        "reset_positions": stage.reset_positions,
        "learning_rate": rates,
        "flops": cost.flops,
        "chip_hours": cost.chip_hours,
        "dollars": cost.dollars,
        "sources": [_source_json(stage, i) for i in range(len(stage.sources))],
    }


def _source_json(stage: StagePlan, index: int) -> dict[str, Any]:
    source = stage.sources[index]
    given = stage.redistributed.get(source.source, source.share)
    after = source.epochs_after
    return {
        "source": source.source,
        "asked_share": exact_share(source.share),
        "given_share": exact_share(given),
        "share": float(Fraction(source.windows, stage.rows)),
        "windows": source.windows,
        "tokens": source.windows * stage.seq_len,
        "start_window": source.start,
        "pool_windows": source.pool_windows,
        "epochs_before": float(source.epochs_before),
        "epochs_after": None if after is None else float(after),
        "first_wrap_step": first_wrap(stage, index),
        "tags": dict(source.tags),
    }
