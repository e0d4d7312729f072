"""The section of a run report about what was read: planned and consumed tokens, to the token."""

from __future__ import annotations

from collections.abc import Mapping

from codemix.eval.pages.facts import RunFacts, SourceUse
from codemix.eval.pages.page import Block, Cell, Mark, Note, PageTable, Section
from codemix.eval.pages.palette import Shade

LEAD = (
    "The consumed side is counted from the batches that were trained on. "
    "An epoch is one pass over a source's training windows, "
    "counted along the whole run."
)


def ledger_section(facts: RunFacts, shades: Mapping[str, Shade]) -> Section:
    """Planned and consumed tokens of each source in each stage."""
    headings = ["stage", "source", "planned tokens", "consumed tokens", "difference", "epochs so far"]
    table = PageTable("Ledger", headings, "llrrrr", id="ledger")
    for stage in facts.stages:
        head: Cell = Mark(stage.name, "strong")
        for source, use in stage.sources.items():
            table.rows.append([head, Mark(source, swatch=shades[source]), *_cells(use)])
            head = ""  # once per stage
    blocks: list[Block] = [table]
    trained = [stage for stage in facts.stages if stage.training.trained]
    if trained and all(stage.training.ledger_equal for stage in trained):
        text = (
            f"Every one of the {len(trained)} trained stages consumed exactly the tokens that were planned."
        )
        blocks.insert(0, Note("good", text))
    for stage in trained:
        if stage.training.renamed:
            blocks.append(Note("plain", f"{stage.name}: {stage.training.renamed}"))
    return Section("tokens", "Tokens read", LEAD, blocks)


def _cells(use: SourceUse) -> list[Cell]:
    cells: list[Cell] = [
        f"{use.planned:,}",
        "–" if use.consumed is None else f"{use.consumed:,}",
        _difference(use),
        "unknown" if use.epochs_after is None else f"{use.epochs_after:.3f}",
    ]
    return cells


def _difference(use: SourceUse) -> Mark:
    if use.consumed is None:
        return Mark("not trained", "muted")
    difference = use.consumed - use.planned
    if difference == 0:
        return Mark("equal", "good")
    return Mark(f"{difference:+,}", "bad")
