"""The section of a run report about what was asked: the mixture and the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codemix.eval.pages.facts import PlanFacts, RunFacts, StageFacts
from codemix.eval.pages.page import Cell, Figure, Mark, PageTable, Section
from codemix.eval.pages.palette import Shade
from codemix.eval.report import charts
from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.language.tags import FAMILIES


def mixture_section(facts: RunFacts, shades: Mapping[str, Shade]) -> Section:
    """The mixture and the stages."""
    title = "Mixture by stage."
    words = "Each bar is a stage, as long as its tokens, divided by source."
    totals = {stage.name: stage.plan.tokens for stage in facts.stages}
    planned = {}
    for source in facts.used_sources:
        planned[source] = _planned_tokens(source, facts.stages)
    svg = charts.mixture("mixture", title, words, totals, planned, shades)
    figure = Figure(title, svg, words, _share_table(facts, shades))
    stages = _stage_table(facts.stages)
    return Section("asked", "What was asked", _lead(facts), [figure, stages])


def _planned_tokens(source: str, stages: Sequence[StageFacts]) -> list[int]:
    """A source's tokens in each stage."""
    tokens = []
    for stage in stages:
        use = stage.sources.get(source)
        tokens.append(use.planned if use else 0)
    return tokens


def _share_table(facts: RunFacts, shades: Mapping[str, Shade]) -> PageTable:
    headings = ["source"]
    headings += [stage.name for stage in facts.stages]
    align = "l" + "r" * len(facts.stages)
    table = PageTable("Share of each stage", headings, align, id="shares")
    for source in facts.used_sources:
        cells: list[Cell] = [Mark(source, swatch=shades[source])]
        for stage in facts.stages:
            use = stage.sources.get(source)
            cells.append(_share_text(use.share) if use else "–")
        table.rows.append(cells)
    return table


def _share_text(share: float) -> str:
    """A share in percent, with a second digit where one digit would hide something."""
    percent = share * 100
    needs_two = round(percent, 1) != round(percent, 2)
    return f"{percent:.2f}%" if needs_two else f"{percent:.1f}%"


def _stage_table(stages: Sequence[StageFacts]) -> PageTable:
    headings = ["stage", "starts from", "tokens", "steps", "batch × length", "learning rate"]
    table = PageTable("Stages", headings, "llrrrl", id="stages")
    for stage in stages:
        plan = stage.plan
        table.rows.append(
            [
                stage.name,
                _origin_text(plan),
                f"{plan.tokens:,}",
                f"{plan.steps:,}",
                f"{_batch_text(plan)} × {plan.seq_len:,}",
                _schedule_text(plan),
            ]
        )
    return table


def _origin_text(plan: PlanFacts) -> str:
    if plan.parent is None:
        return plan.pretrained or "scratch"
    return plan.parent.stage + (" (weights only)" if plan.load == "weights" else "")


def _batch_text(plan: PlanFacts) -> str:
    smallest, largest = plan.batch_sizes
    return f"{smallest}" if smallest == largest else f"{smallest}…{largest}"


def _schedule_text(plan: PlanFacts) -> str:
    kind = plan.learning_rate["kind"]
    rates = plan.rates
    if rates is None:
        return kind
    path = [rates.first, rates.last]
    if rates.peak > max(path) * 1.0001:
        path.insert(1, rates.peak)
    return f"{kind}: " + " → ".join(f"{rate:.2g}" for rate in path)


def _lead(facts: RunFacts) -> str:
    """Each stage with its tokens and the shares of its families."""
    parts = []
    for stage in facts.stages:
        shares = []
        for family in FAMILIES:
            share = sum(stage.sources[s].share for s in facts.of_family(family, stage.sources))
            if share:
                shares.append(f"{share * 100:.0f} {family}")
        parts.append(f"`{stage.name}` {show_tokens(stage.plan.tokens)} tokens ({' : '.join(shares)})")
    return "; then ".join(parts) + "."
