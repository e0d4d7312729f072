"""Sections of a comparison about relative changes of bits per byte."""

from __future__ import annotations

from collections.abc import Sequence

from codemix.eval.compare import charts, paper
from codemix.eval.compare.changes import Change, LabelledChange
from codemix.eval.compare.findings import Findings
from codemix.eval.pages.page import Cell, Figure, Mark, PageTable, Section, signed
from codemix.recipe.language.quantities import show_tokens

TONES = {"better": "good", "worse": "bad"}
HEADINGS = (
    "recipe",
    "measure",
    "bits per byte",
    "reference",
    "change",
    "95% interval",
    "verdict",
    "seeds (range)",
    "documents",
)


def against_baseline(findings: Findings) -> Section | None:
    """The headline: every variant's last stage against the baseline's."""
    base = findings.base.name
    lead = (
        f"Relative change of bits per byte after the last stage, against `{base}`. "
        "Negative is better. Pale bars are "
        "inside the noise: no call."
    )
    section = Section("against", "Against the baseline", lead)
    axis = f"against {base}, after the last stage"
    return _filled(section, "Change of bits per byte.", _by_variant(findings.last), axis)


def initialisation(findings: Findings) -> Section | None:
    """The paper's figure 2: initialisations, before any cooldown."""
    lead = "The same before any cooldown, as the paper compares initialisations (its figure 2)."
    section = Section("init", "Initialisation", lead)
    axis = f"against {findings.base.name}, before any cooldown"
    changes = _by_variant(findings.before_cooldown)
    return _with_paper(_filled(section, "Change before the cooldown.", changes, axis), findings)


def quality(findings: Findings) -> Section | None:
    """The paper's figure 5: what the code is."""
    if not findings.quality:
        return None
    first = findings.quality[0]
    lead = (
        f"First stages of {show_tokens(first.tokens)} tokens with {first.code_share * 100:.0f}% "
        "code that differ in what the "
        f"code is; against {first.reference_label} (% of the code)."
    )
    section = Section("quality", "Quality of the code", lead)
    axis = f"against {first.reference_label}"
    return _with_paper(_filled(section, "Change by what the code is.", findings.quality, axis), findings)


def cooldown(findings: Findings) -> Section | None:
    """The paper's figure 6: what a cooldown changes, with and without code."""
    lead = (
        "Each cooldown against the same run without it. It reads more tokens at a falling rate, "
        "so part of any gain is just that."
    )
    section = Section("cooldown", "Cooldown", lead)
    axis = "against the run before its cooldown"
    return _with_paper(_filled(section, "Change by the cooldown.", findings.cooldown, axis), findings)


def _by_variant(changes: Sequence[Change]) -> list[LabelledChange]:
    """Changes under the names of their variants, without those of a stage against itself."""
    labelled = []
    for change in changes:
        if change.is_of_one_stage:
            continue
        labelled.append(LabelledChange(change.variant, change))
    return labelled


def _with_paper(section: Section | None, findings: Findings) -> Section | None:
    """The section with the paper's numbers for the same figure, where they were asked for."""
    if section is not None and findings.question.overlay_paper:
        section.blocks += paper.overlay(section.id)
    return section


def _filled(section: Section, caption: str, rows: Sequence[LabelledChange], axis: str) -> Section | None:
    """The section with its changes as a figure and a table; only the table where nothing has an interval."""
    if not rows:
        return None
    table = PageTable(f"{section.title}: bits per byte", HEADINGS, "llrrrrlrr", [_cells(row) for row in rows])
    panels: dict[str, list[charts.ForestBar]] = {}
    for row in rows:
        interval = row.change.interval
        if interval is not None:
            bar = charts.ForestBar(
                row.label,
                interval.relative,
                interval.relative_low,
                interval.relative_high,
                row.change.verdict,
            )
            panels.setdefault(row.change.measure, []).append(bar)
    if not panels:
        section.blocks.append(table)
        return section
    svg = charts.forest(section.id, caption, section.lead, panels, f"change of bits per byte {axis}")
    words = "Bars are relative changes, lines their 95% intervals over documents."
    section.blocks.append(Figure(caption, svg, words, table, open=True))
    return section


def _cells(row: LabelledChange) -> list[Cell]:
    change = row.change
    interval = change.interval
    bounds = "–"
    documents = "–"
    if interval is not None:
        bounds = f"{signed(interval.relative_low)} … {signed(interval.relative_high)}"
        documents = f"{interval.documents:,}"
    return [
        row.label,
        change.measure,
        f"{change.value:.4f}",
        f"{change.reference_value:.4f}",
        signed(change.value / change.reference_value - 1),
        bounds,
        Mark(change.verdict, TONES.get(change.verdict, "muted")),
        _seeds_text(change.seeds),
        documents,
    ]


def _seeds_text(values: Sequence[float]) -> str:
    """How many seeds there are, and how far apart they lie."""
    n = len(values)
    if n < 2:
        return f"{n}"
    distance = max(values) - min(values)
    return f"{n} ({distance:.4f})"
