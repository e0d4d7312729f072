"""The numbers of "To Code, or Not To Code?" (arXiv 2408.10914 v1) as data, for the overlay of a comparison.

Percent scores of 470M models unless noted. `FIGURE_4` was measured off an unlabelled plot (± 0.05);
everything else is printed in the paper. `CONFLICTS` are places where the paper's numbers contradict its own
text.
"""

from __future__ import annotations

from dataclasses import dataclass

CITATION = "arXiv 2408.10914 v1"
Groups = tuple[float, float, float]  # reasoning, knowledge, code
SCORES = ("Reason.", "Know.", "NL avg", "Code", "Total")


@dataclass(frozen=True)
class Row:
    """A row of Table 2: tokens in billions (None: the paper's dash), scores in the order of `SCORES`."""

    variant: str
    stage: str
    text: int | None
    code: int | None
    scores: tuple[float, float, float, float, float]

    @property
    def groups(self) -> Groups:
        """The scores that are not means of the others."""
        reasoning, knowledge, _, code, _ = self.scores
        return reasoning, knowledge, code


TABLE_2 = (
    Row("text-only", "pre-training", 400, None, (49.0, 9.5, 29.2, 0.4, 19.6)),
    Row("text-only", "cooldown", 32, 8, (54.1, 11.1, 32.6, 4.4, 23.2)),
    Row("balanced-only", "pre-training", 200, 200, (51.8, 8.1, 30.0, 9.0, 23.0)),
    Row("balanced-only", "cooldown", 32, 8, (53.2, 11.1, 32.1, 8.4, 24.2)),
    Row("balanced-to-text", "init", 100, 100, (52.0, 7.4, 29.6, 7.8, 22.4)),
    Row("balanced-to-text", "continue", 180, 20, (53.0, 9.9, 31.5, 4.8, 22.6)),
    Row("balanced-to-text", "cooldown", 32, 8, (54.9, 10.9, 32.9, 5.8, 23.9)),
    Row("code-to-text", "init", None, 200, (44.7, 1.5, 23.1, 15.5, 20.6)),
    Row("code-to-text", "continue", 180, 20, (53.3, 9.5, 31.4, 4.1, 22.3)),
    Row("code-to-text", "cooldown", 32, 8, (52.1, 10.3, 31.2, 7.5, 23.3)),
)

FIGURE_3 = {  # scale: reasoning, knowledge, code at 2.8B
    "balanced-only": (54.5, 23.6, 21.8),
    "balanced-to-text": (55.8, 27.1, 12.4),
    "code-to-text": (57.9, 25.6, 11.7),
}
FIGURE_4 = {  # proportion of code [%] -> reasoning, knowledge, code; 200B tokens from scratch
    0: (50.19, 9.13, 0.20),
    25: (51.93, 8.82, 4.13),
    50: (51.71, 7.58, 5.85),
    75: (50.90, 6.30, 8.46),
    90: (46.22, 4.65, 9.56),
    100: (41.01, 1.28, 10.67),
}
FIGURE_5A = {
    "web code": (39.9, 12.7),
    "+ markup": (41.0, 10.7),
    "+ adjacent": (42.4, 11.5),
    "+ synthetic": (44.7, 15.5),
}  # reasoning, code
FIGURE_5B = {"balanced-to-text": (52.0, 3.4), "balanced + synthetic to text": (53.0, 4.8)}  # reasoning, code
FIGURE_6 = {
    "no cooldown": (53.0, 9.9, 4.8),
    "without code": (52.9, 10.2, 4.8),
    "with code": (54.9, 10.9, 5.8),
}  # reasoning, knowledge, code


@dataclass(frozen=True)
class WinRate:
    """Prompts that A won, B won and that were ties, of the paper's 199."""

    figure: int
    a: str
    b: str
    wins: int
    losses: int
    ties: int


PROMPTS = 199
WIN_RATES = (
    WinRate(9, "text-only", "code-to-text", 51, 64, 84),
    WinRate(9, "text-only", "balanced-to-text", 56, 69, 74),
    WinRate(7, "no cooldown", "cooldown without code", 44, 96, 59),
    WinRate(7, "no cooldown", "cooldown with code", 37, 104, 58),
    WinRate(8, "text-only", "balanced-only", 71, 65, 63),
    WinRate(8, "text-only", "balanced-to-text", 69, 75, 55),
    WinRate(8, "text-only", "code-to-text", 67, 73, 59),
)


@dataclass(frozen=True)
class Conflict:
    """A claim of the paper, what its own numbers give, what follows for a reader, and figures it bears on."""

    claim: str
    numbers: str
    follows: str
    figures: tuple[str, ...] = ()


CONFLICTS = (
    Conflict(
        "balanced-to-text is +8.2% in reasoning and 12 times better at code than text-only",
        "53.0 / 49.0 and 4.8 / 0.4",
        (
            "that balanced-to-text contains synthetic code (figure 5b: 53.0, 4.8); "
            "without it 52.0 / 49.0 is +6.1%, and code 8.5 times"
        ),
        ("table-2", "init"),
    ),
    Conflict(
        "code-to-text starts with 80 code : 20 markup",
        "44.7 and 15.5 equal figure 5a's code + synthetic, not 41.0 and 10.7",
        "Table 2's code start contains synthetic code",
        ("table-2", "quality"),
    ),
    Conflict(
        "the balanced start is plain code",
        "code 7.8 against 5.85 at 50% in figure 4",
        "it looks like the start with synthetic code",
        ("table-2", "sweep"),
    ),
    Conflict(
        "synthetic code is +9% and +44.9% over web code only",
        "44.7 / 41.0 and 15.5 / 10.7",
        "the baseline is code + markup; over web code only it is +12.0% and +22.0%",
        ("quality",),
    ),
    Conflict(
        "balanced + synthetic to text is +2% and +35%",
        "53.0 / 52.0 and 4.8 / 3.4",
        "+1.9% and +41%",
        ("quality",),
    ),
    Conflict(
        "balanced-only is +3.2% in reasoning over the baseline",
        "51.8 / 50.19",
        (
            "that baseline read 200B tokens of text, not 400B (49.0, which gives +5.7%): "
            "about one point of noise shows"
        ),
        ("table-2", "init"),
    ),
    Conflict("balanced-to-text beats code-to-text in knowledge by 21%", "9.9 / 9.5", "+4.2%", ("init",)),
    Conflict(
        "balanced-only is 46.7% and 54.5% better at code",
        "4.8 / 9.0 and 4.1 / 9.0",
        "these are drops of the others; the gains are 87% and 120%",
        ("init",),
    ),
    Conflict(
        "at 2.8B the gains are 33.1% for balanced-to-text and 31.7% for code-to-text",
        "41.45 / 31.45 and 41.75 / 31.4",
        "31.8% and 33.0%: the labels are exchanged",
        ("scale",),
    ),
    Conflict(
        "the best recipe wins 37.7 against 33.7 over text-only",
        "37.7 against 34.7 in figure 8",
        "33.7 belongs to code-to-text",
        ("winrate",),
    ),
    Conflict(
        "a cooldown helps every recipe",
        "code-to-text reasoning falls from 53.3 to 52.1",
        (
            "with the cooldown, "
            "text-only (54.1) is within 0.8 points of the best (54.9) and above it in knowledge"
        ),
        ("cooldown", "table-2"),
    ),
)
NOISE = (
    "The paper gives no seeds, variances or tests; "
    "two of its own runs that should agree differ by about one point."
)


def conflicts(figure: str) -> list[Conflict]:
    """The conflicts that bear on one of our figures."""
    bearing = []
    for conflict in CONFLICTS:
        if figure in conflict.figures:
            bearing.append(conflict)
    return bearing


def paper_variant(name: str) -> str | None:
    """The paper's variant that a run is named after, or None."""
    words = name.lower()
    for separator, word in (("_", "-"), ("→", "-to-"), ("->", "-to-")):
        words = words.replace(separator, word)
    matching = []
    for variant in before_cooldown():
        is_end = words == variant or words.endswith(f"-{variant}")
        if is_end or words.startswith(f"{variant}-"):
            matching.append(variant)
    return max(matching, key=len, default=None)


def before_cooldown() -> dict[str, Row]:
    """The last row of Table 2 before the cooldown, by variant."""
    rows = {}
    for row in TABLE_2:
        if row.stage != "cooldown":
            rows[row.variant] = row
    return rows
