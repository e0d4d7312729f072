"""A plan as a page: what is read when, how often, what it costs, and what the store has of it already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from codemix.eval.pages.facts import DocumentCounts, by_family
from codemix.eval.pages.page import Cell, Figure, Mark, Note, Page, PageTable, Section, Tile
from codemix.eval.pages.palette import Shade, shades
from codemix.eval.plan import charts
from codemix.eval.plan.charts import SourceEpochs
from codemix.eval.report.data import funnel_figure
from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.language.tags import family
from codemix.recipe.planning import cost_estimate, plan_tables
from codemix.recipe.planning.chips import chip_named

if TYPE_CHECKING:
    from codemix.data.workspace import Workspace
    from codemix.recipe.planning.plan import Plan, StagePlan
    from codemix.tables import Table

FOOTER = "Made by codemix from a recipe and a store, before any compute. Token counts are exact, costs are estimates."


def page(workspace: Workspace, in_store: Table, chip: str, mfu: float) -> Page:
    """The plan of a recipe against what a store holds; `in_store` says what is re-used and what is made."""
    plan = workspace.plan
    looks = source_shades(plan)
    sections = [
        _mixture_section(plan, looks),
        _epochs_section(plan, looks),
        _sources_section(workspace, looks),
        _cost_section(plan, chip, mfu),
        Section("store", "What is re-used and what is made", "", [PageTable.of(in_store)]),
    ]
    return Page(
        kind="plan",
        title=plan.recipe.name,
        answer=_answer(workspace),
        remark=" ".join(plan.recipe.description.split()),
        tiles=_tiles(plan, chip, mfu),
        notes=[Note("warn", warning.what) for warning in workspace.checked.warnings],
        sections=sections,
        footer=FOOTER,
    )


def source_shades(plan: Plan) -> dict[str, Shade]:
    """A shade for each source that a stage reads, text first, then code, then the others."""
    tags = {}
    for stage in plan.stages:
        for source in stage.sources:
            tags[source.source] = source.tags
    looks = shades(tags)
    families = {name: family(tags[name]) for name in tags}
    return {name: looks[name] for name in by_family(tags, families)}


def _answer(workspace: Workspace) -> list[str]:
    plan = workspace.plan
    stages = "; then ".join(map(_stage_sentence, plan.stages))
    untrained = [stage for stage in plan.stages if not workspace.is_trained(stage)]
    unbuilt = [name for name, state in workspace.found.items() if not state.built]
    n_sources = len(workspace.found)
    n_stages = len(plan.stages)
    store = (
        f"Of {n_sources} sources {len(unbuilt)} are still to build, "
        f"of {n_stages} stages {len(untrained)} are still to train."
    )
    return [f"{stages}.", store]


def _stage_sentence(stage: StagePlan) -> str:
    shares = []
    for kind, n in stage.windows_by_family().items():
        if n:
            percent = n / stage.rows * 100
            shares.append(f"{percent:.0f} {kind}")
    mixture = " : ".join(shares)
    return f"`{stage.name}` {show_tokens(stage.tokens)} tokens ({mixture})"


def _tiles(plan: Plan, chip: str, mfu: float) -> list[Tile]:
    vocab = cost_estimate.vocabulary(plan)
    named = chip_named(chip)
    total = cost_estimate.NOTHING
    for stage in plan.stages:
        total += cost_estimate.stage_cost(stage, vocab, named, mfu)
    hours = cost_estimate.show_amount(total.chip_hours)
    dollars = cost_estimate.show_amount(total.dollars)
    shards = cost_estimate.shard_bytes(plan, vocab)
    tokens = sum(stage.tokens for stage in plan.stages)
    parameters = plan.recipe.model.parameters(vocab)
    return [
        Tile("tokens to read", show_tokens(tokens), f"{tokens:,} in {len(plan.stages)} stages"),
        Tile("parameters", show_tokens(parameters), "" if vocab else "without the embedding"),
        Tile(f"{chip} hours", hours, f"{dollars} USD, at {mfu:.0%} of the peak"),
        Tile("token shards", cost_estimate.show_bytes(shards)),
    ]


def _mixture_section(plan: Plan, looks: Mapping[str, Shade]) -> Section:
    tokens = plan_tables.mixture_table(plan)
    table = PageTable.of(tokens, id="mixture-table")
    svg = charts.mixture(plan, looks)
    figure = Figure(charts.MIXTURE_TITLE, svg, charts.MIXTURE_WORDS, table)
    return Section("mixture", "What is read when", "", [figure])


def _epochs_section(plan: Plan, looks: Mapping[str, Shade]) -> Section:
    title = "Epochs by source."
    words = "How often each source is read by the end of the plan; the line is its `max_epochs`."
    headings = ["source", "tokens read", "tokens of an epoch", "epochs", "limit"]
    table = PageTable("Epochs", headings, "lrrrr", id="epochs")
    sources = []
    for name, shade in looks.items():
        source = _source_epochs(plan, name)
        sources.append(source)
        of_an_epoch = _epoch_tokens(plan, name)
        cells: list[Cell] = [Mark(name, swatch=shade), f"{_tokens_read(plan, name):,}"]
        cells.append("unknown" if of_an_epoch is None else f"{of_an_epoch:,}")
        cells.append("unknown" if source.epochs is None else f"{source.epochs:.3f}")
        cells.append(f"{source.cap:g}")
        table.rows.append(cells)
    svg = charts.epochs("epochs", title, words.replace("`", ""), sources, looks)
    return Section("repeats", "How often each source is read", "", [Figure(title, svg, words, table)])


def _source_epochs(plan: Plan, name: str) -> SourceEpochs:
    epochs = []
    for stage in plan.stages:
        for source in stage.sources:
            if source.source == name and source.epochs_after is not None:
                epochs.append(float(source.epochs_after))
    cap = plan.recipe.sources[name].max_epochs
    return SourceEpochs(name, max(epochs, default=None), cap)


def _tokens_read(plan: Plan, name: str) -> int:
    total = 0
    for stage in plan.stages:
        total += stage.planned_tokens().get(name, 0)
    return total


def _epoch_tokens(plan: Plan, name: str) -> int | None:
    """The tokens of an epoch in the last stage that reads the source; None where its size is unknown."""
    tokens = None
    for stage in plan.stages:
        for source in stage.sources:
            if source.source == name and source.pool_windows:
                tokens = source.pool_windows * stage.seq_len
    return tokens


def _sources_section(workspace: Workspace, looks: Mapping[str, Shade]) -> Section:
    """What each source is made from, and what its ops dropped where it is built."""
    table = PageTable(
        "Sources and their ops", ["source", "read", "ops", "documents", "kept"], "lllrr", id="ops"
    )
    counts: dict[str, DocumentCounts] = {}
    for name, spec in workspace.plan.recipe.sources.items():
        state = workspace.found[name]
        count = DocumentCounts.of(state.funnel) if state.built else None
        ops = ", ".join(op.kind for op in spec.ops) or "none"
        cells: list[Cell] = [Mark(name, swatch=looks.get(name)), spec.read.kind, ops]
        if count is None:
            cells += ["not built", "–"]
        else:
            cells += [f"{count.read:,}", f"{count.kept / count.read:.1%}"]
            if name in looks:
                counts[name] = count
        table.rows.append(cells)
    section = Section("sources", "Where it comes from", "", [table])
    if counts:
        section.blocks.append(funnel_figure(counts, looks))
    return section


def _cost_section(plan: Plan, chip: str, mfu: float) -> Section:
    stages = plan_tables.stage_table(plan, chip, mfu)
    # Rates are several numbers: aligned as text, they may be broken over lines.
    stages.columns = [name.replace(">learning rate", "learning rate") for name in stages.columns]
    table = PageTable.of(stages, id="stages")
    return Section("cost", "What it costs", "", [table])
