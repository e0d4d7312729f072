"""The paper's own numbers beside ours, always marked as the paper's, with the places where they contradict its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codemix.eval.compare import charts, paper_numbers
from codemix.eval.pages.page import Figure, Note, PageTable, Section, signed

NOT_OURS = f"not ours ({paper_numbers.CITATION}, 470M parameters, %)"


def overlay(figure: str) -> list[Any]:
    """The paper's numbers for one of our figures, then the conflicts that bear on it."""
    made = {"init": _init, "sweep": _sweep, "quality": _quality, "cooldown": _cooldown, "winrate": _wins}[
        figure
    ]()
    notes = [
        Note("plain", f"The paper says that {c.claim}. Its numbers: {c.numbers}; {c.follows}.")
        for c in paper_numbers.conflicts(figure)
    ]
    return [*made, *notes]


def _scores(title: str, rows: Mapping[str, Sequence[float]], names: Sequence[str]) -> PageTable:
    """Scores in percent with their change against the first row."""
    table = PageTable(
        title, ["", *(column for name in names for column in (name, "change"))], "l" + "rr" * len(names)
    )
    first = next(iter(rows.values()))
    for label, values in rows.items():
        cells = [
            c
            for value, base in zip(values, first, strict=True)
            for c in (f"{value:.1f}", "–" if values is first else _change(value / base))
        ]
        table.rows.append([label, *cells])
    return table


def _change(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio > 3 else signed(ratio - 1)


def _init() -> list[Any]:
    rows = {}
    for row in paper_numbers.TABLE_2:
        if row.stage != "cooldown":
            rows[row.variant] = tuple(
                row.scores[i] for i in (0, 1, 3)
            )  # the last row before the cooldown stays
    return [_scores(f"The paper's figure 2, {NOT_OURS}", rows, ("Reason.", "Know.", "Code"))]


def _quality() -> list[Any]:
    return [
        _scores(f"The paper's figure 5a, {NOT_OURS}", paper_numbers.FIGURE_5A, ("Reason.", "Code")),
        _scores(f"The paper's figure 5b, {NOT_OURS}", paper_numbers.FIGURE_5B, ("Reason.", "Code")),
    ]


def _cooldown() -> list[Any]:
    return [
        _scores(f"The paper's figure 6, {NOT_OURS}", paper_numbers.FIGURE_6, ("Reason.", "Know.", "Code"))
    ]


def _sweep() -> list[Any]:
    names = ("Reason.", "Know.", "Code")
    table = PageTable("The paper's figure 4 [%], measured off the plot", ["share of code", *names], "rrrr")
    table.rows = [
        [f"{share}%", *(f"{v:.2f}" for v in values)] for share, values in paper_numbers.FIGURE_4.items()
    ]
    panels = {
        f"paper: {name}": [(share / 100, [values[i]]) for share, values in paper_numbers.FIGURE_4.items()]
        for i, name in enumerate(names)
    }
    title = "The paper's numbers, not ours."
    words = f"{paper_numbers.CITATION}, 470M parameters, 200B tokens: task scores in percent, higher is better, so its curves point the other way."
    return [Figure(title, charts.sweep("paper-sweep", title, words, panels, "%", "muted"), words, table)]


def _wins() -> list[Any]:
    columns = ["figure", "A", "B", "A wins", "ties", "B wins", "wins − losses"]
    table = PageTable("The paper's figures 7 to 9, not ours (199 prompts)", columns, "lllrrrr")
    for figure, a, b, won, lost, tied in paper_numbers.WIN_RATES:
        table.rows.append(
            [
                str(figure),
                a,
                b,
                *(f"{n / 199 * 100:.1f}%" for n in (won, tied, lost)),
                signed((won - lost) / 199),
            ]
        )
    return [table]


def care(found: Mapping[str, Any]) -> Section | None:
    """The paper's own contradictions, when its numbers are shown."""
    if not found["overlay_paper"]:
        return None
    table = PageTable("Claims and numbers", ["the paper says", "its numbers", "what follows"], "lll")
    table.rows = [[c.claim, c.numbers, c.follows] for c in paper_numbers.CONFLICTS]
    small = {
        row.variant: row.scores for row in paper_numbers.TABLE_2 if row.stage != "cooldown"
    }  # the last row before the cooldown stays
    scale = PageTable(
        "The paper's figure 3: from 470M to 2.8B parameters, before any cooldown [%]",
        ["", "Reason.", "Know.", "Code"],
        "lrrr",
    )
    for variant, large in paper_numbers.FIGURE_3.items():
        scale.rows.append(
            [variant, *(f"{small[variant][i]:.1f} → {b:.1f}" for i, b in zip((0, 1, 3), large, strict=True))]
        )
    lead = f"Places where {paper_numbers.CITATION} contradicts its own figures. {paper_numbers.NOISE}"
    return Section("paper", "Reading the paper with care", lead, [table, scale])
