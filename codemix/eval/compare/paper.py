"""The paper's own numbers beside ours, always marked as such, and where they contradict the paper's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codemix.eval.compare import charts, paper_numbers
from codemix.eval.pages.page import Block, Cell, Figure, Note, PageTable, Section, signed

NOT_OURS = f"not ours ({paper_numbers.CITATION}, 470M parameters, %)"
GROUPS = ("Reason.", "Know.", "Code")


def overlay(figure: str) -> list[Block]:
    """The paper's numbers for one of our figures, then the conflicts that bear on it."""
    blocks = OVERLAYS[figure]()
    for conflict in paper_numbers.conflicts(figure):
        text = f"The paper says that {conflict.claim}. Its numbers: {conflict.numbers}; {conflict.follows}."
        blocks.append(Note("plain", text))
    return blocks


def _score_table(title: str, rows: Mapping[str, Sequence[float]], names: Sequence[str]) -> PageTable:
    """Scores in percent with their change against the first row."""
    headings = [""]
    for name in names:
        headings += [name, "change"]
    table = PageTable(f"{title}, {NOT_OURS}", headings, "l" + "rr" * len(names))
    first = next(iter(rows.values()))
    for label, values in rows.items():
        cells: list[Cell] = [label]
        for value, base in zip(values, first, strict=True):
            change = "–" if values is first else _change(value / base)
            cells += [f"{value:.1f}", change]
        table.rows.append(cells)
    return table


def _change(ratio: float) -> str:
    if ratio > 3:
        return f"{ratio:.1f} times"
    return signed(ratio - 1)


def _initialisation() -> list[Block]:
    rows = {}
    for name, row in paper_numbers.before_cooldown().items():
        rows[name] = row.groups
    return [_score_table("The paper's figure 2", rows, GROUPS)]


def _quality() -> list[Block]:
    names = ("Reason.", "Code")
    return [
        _score_table("The paper's figure 5a", paper_numbers.FIGURE_5A, names),
        _score_table("The paper's figure 5b", paper_numbers.FIGURE_5B, names),
    ]


def _cooldown() -> list[Block]:
    return [_score_table("The paper's figure 6", paper_numbers.FIGURE_6, GROUPS)]


def _sweep() -> list[Block]:
    headings = ["share of code", *GROUPS]
    table = PageTable("The paper's figure 4 [%], measured off the plot", headings, "rrrr")
    panels: dict[str, list[charts.SweepPoint]] = {f"paper: {name}": [] for name in GROUPS}
    for share, values in paper_numbers.FIGURE_4.items():
        table.rows.append([f"{share}%", *(f"{value:.2f}" for value in values)])
        for points, value in zip(panels.values(), values, strict=True):
            points.append(charts.SweepPoint(share / 100, [value]))
    title = "The paper's numbers, not ours."
    words = (
        f"{paper_numbers.CITATION}, 470M parameters, 200B tokens: task scores in percent, higher is better, "
        "so its curves point the other way."
    )
    svg = charts.sweep("paper-sweep", title, words, panels, charts.PAPER_SCORES)
    return [Figure(title, svg, words, table)]


def _winrates() -> list[Block]:
    n = paper_numbers.PROMPTS
    headings = ["figure", "A", "B", "A wins", "ties", "B wins", "wins − losses"]
    title = f"The paper's figures 7 to 9, not ours ({n} prompts)"
    table = PageTable(title, headings, "lllrrrr")
    for pair in paper_numbers.WIN_RATES:
        cells: list[Cell] = [str(pair.figure), pair.a, pair.b]
        for count in (pair.wins, pair.ties, pair.losses):
            percent = count / n * 100
            cells.append(f"{percent:.1f}%")
        gain = (pair.wins - pair.losses) / n
        table.rows.append([*cells, signed(gain)])
    return [table]


OVERLAYS = {
    "init": _initialisation,
    "sweep": _sweep,
    "quality": _quality,
    "cooldown": _cooldown,
    "winrate": _winrates,
}


def care_section(overlay_paper: bool) -> Section | None:
    """The paper's own contradictions, when its numbers are shown."""
    if not overlay_paper:
        return None
    claims = PageTable("Claims and numbers", ["the paper says", "its numbers", "what follows"], "lll")
    for conflict in paper_numbers.CONFLICTS:
        claims.rows.append([conflict.claim, conflict.numbers, conflict.follows])
    title = "The paper's figure 3: from 470M to 2.8B parameters, before any cooldown [%]"
    scale = PageTable(title, ["", *GROUPS], "lrrr")
    small = paper_numbers.before_cooldown()
    for variant, large in paper_numbers.FIGURE_3.items():
        cells: list[Cell] = [variant]
        for before, after in zip(small[variant].groups, large, strict=True):
            cells.append(f"{before:.1f} → {after:.1f}")
        scale.rows.append(cells)
    lead = f"Places where {paper_numbers.CITATION} contradicts its own figures. {paper_numbers.NOISE}"
    return Section("paper", "Reading the paper with care", lead, [claims, scale])
