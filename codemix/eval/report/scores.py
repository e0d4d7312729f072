"""Sections of a run report about scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codemix.eval.pages.page import Figure, Mark, Section, signed
from codemix.eval.pages.score_tables import bits_table, task_tables
from codemix.eval.report import charts


def bits(facts: Mapping[str, Any], shades: Mapping[str, str]) -> Section | None:
    """Bits per byte by source and stage."""
    stages = [s for s in facts["stages"] if s["bits_per_byte"]]
    if not stages:
        return None
    table = bits_table({s["name"]: [s] for s in stages}, facts["families"], shades)
    if len(stages) > 1:
        table.columns, table.align = [*table.columns, "change"], table.align + "r"
        for row in table.rows:
            known = [float(cell) for cell in row[4:] if cell != "–"]
            row.append(
                Mark(signed(known[-1] / known[0] - 1), "good" if known[-1] < known[0] else "")
                if len(known) > 1
                else "–"
            )
    names = [
        n
        for n in sorted(shades, key=lambda n: (facts["families"][n] != "text", facts["families"][n], n))
        if any(n in s["bits_per_byte"] for s in stages)
    ]
    values = {n: [s["bits_per_byte"].get(n, {}).get("bits_per_byte") for s in stages] for n in names}
    title, words = (
        "Bits per byte by stage.",
        "Lower is better. One group of bars a source, one bar a stage, paler for earlier stages.",
    )
    drawn = charts.scores("bits", title, words, values, [s["name"] for s in stages], shades, "bits per byte")
    lead = "How many bits the model needs for a byte of text that it was never trained on: bits summed over documents, divided once by their bytes."
    return Section("bits-per-byte", "Bits per byte", lead, [Figure(title, drawn, words, table, open=True)])


def tasks(facts: Mapping[str, Any]) -> Section | None:
    """Task scores by stage, most trusted measure first."""
    stages = [s for s in facts["stages"] if s["tasks"]]
    if not stages:
        return None
    return Section(
        "tasks",
        "Tasks",
        "Most trusted measure first; accuracy of small models is noisy.",
        task_tables({s["name"]: [s] for s in stages}),
    )
