"""Sections of a run report about scores."""

from __future__ import annotations

from collections.abc import Mapping

from codemix.eval.pages.bits_table import bits_table
from codemix.eval.pages.facts import RunFacts, by_family
from codemix.eval.pages.page import Figure, Section
from codemix.eval.pages.palette import Shade
from codemix.eval.pages.score_tables import task_tables
from codemix.eval.report import charts


def bits_section(facts: RunFacts, shades: Mapping[str, Shade]) -> Section | None:
    """Bits per byte by source and stage."""
    stages = facts.scored_stages
    if not stages:
        return None
    columns = {stage.name: [stage.scores] for stage in stages}
    table = bits_table(columns, facts.families, shades, with_change=len(stages) > 1)
    scored = {source for stage in stages for source in stage.scores.sources}
    values: dict[str, list[float | None]] = {}
    for source in by_family(scored & set(shades), facts.families):
        scores = [stage.scores.sources.get(source) for stage in stages]
        values[source] = [score.bits_per_byte if score else None for score in scores]
    title = "Bits per byte by stage."
    words = "Lower is better. One group of bars per source, one bar per stage, paler for earlier stages."
    svg = charts.scores("bits", title, words, values, list(columns), shades, "bits per byte")
    lead = (
        "How many bits the model needs for a byte of text that it was never trained on: "
        "bits summed over documents, "
        "divided once by their bytes."
    )
    return Section("bits-per-byte", "Bits per byte", lead, [Figure(title, svg, words, table, open=True)])


def tasks_section(facts: RunFacts) -> Section | None:
    """Task scores by stage, most trusted measure first."""
    columns = {stage.name: [stage.scores] for stage in facts.stages if stage.scores.tasks}
    if not columns:
        return None
    lead = "Most trusted measure first; accuracy of small models is noisy."
    return Section("tasks", "Tasks", lead, [*task_tables(columns)])
