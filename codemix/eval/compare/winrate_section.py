"""The section of a comparison about judged pairs of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codemix.eval.compare import charts, paper
from codemix.eval.compare.findings import Findings
from codemix.eval.pages.page import Block, Cell, Figure, Mark, Note, PageTable, Section, percent, signed

HEADINGS = (
    "A",
    "B",
    "judge",
    "A wins",
    "ties",
    "B wins",
    "invalid",
    "wins − losses",
    "95% interval",
    "at equal length",
    "first slot",
)


def winrate_section(findings: Findings) -> Section | None:
    """Judged pairs, where there are any."""
    winrates = findings.question.winrates
    if not winrates:
        return None
    table = PageTable("Win-rates", HEADINGS, "lllrrrrrrrr", [_cells(pair) for pair in winrates])
    table.notes.append(
        "Wins minus losses is the paper's figure; grey where the interval over prompts contains zero. "
        "First slot: 50% is a judge without position bias."
    )
    bars = [charts.WinBar(p["a"], p["b"], p["wins"], p["ties"], p["losses"]) for p in winrates]
    title = "Win-rates."
    words = "Prompts that a judge gave to A and to B in both orders; a disagreement is a tie."
    svg = charts.wins("wins", title, words, bars)
    blocks: list[Block] = []
    for pair in winrates:
        if pair["note"]:
            blocks.append(Note("warn", f"{pair['a']} against {pair['b']}: {pair['note']}."))
    blocks.append(Figure(title, svg, words, table, open=True))
    if findings.question.overlay_paper:
        blocks += paper.overlay("winrate")
    lead = "A judge's preference between the answers of two checkpoints."
    return Section("winrate", "Win-rates", lead, blocks)


def _cells(pair: Mapping[str, Any]) -> list[Cell]:
    cells: list[Cell] = [pair["a"], pair["b"], pair["judge"]]
    for count in ("wins", "ties", "losses", "invalid"):
        cells.append(str(pair[count]))
    cells += _gain(pair)
    for rate in ("length_controlled_rate", "first_slot_share"):
        cells.append(percent(pair[rate]))
    return cells


def _gain(pair: Mapping[str, Any]) -> list[Cell]:
    """Wins minus losses with its interval; nothing where too many verdicts could not be read."""
    if pair["difference"] is None:
        return ["no headline", "–"]
    low, high = pair["interval"]
    excludes_zero = low > 0 or high < 0
    tone = "strong" if excludes_zero else "muted"
    gain = Mark(signed(pair["difference"]), tone)
    interval = f"{signed(low)} … {signed(high)}"
    return [gain, interval]
