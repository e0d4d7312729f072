"""Sections of a comparison about scores after the last stage: bits per byte by source, and tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from codemix.eval.compare.changes import NO_CALL, Change, difference
from codemix.eval.compare.findings import MEASURES, Findings
from codemix.eval.compare.task_calls import task_call
from codemix.eval.compare.variants import Variant
from codemix.eval.pages.bits_table import language_scores
from codemix.eval.pages.page import Block, Cell, Fold, Mark, PageTable, Section, percent, signed
from codemix.eval.pages.results import EvalFacts
from codemix.eval.pages.score_tables import OVERLAP_NOTE, largest_overlap, mean_text, task_tables
from codemix.recipe.language.quantities import show_tokens


def family_of(variants: Sequence[Variant], source: str) -> str:
    """The family of a source in the first variant that has it."""
    for variant in variants:
        if source in variant.families:
            return variant.families[source]
    return "other"


def in_order(variants: Sequence[Variant], sources: Iterable[str]) -> list[str]:
    """Sources by family and name."""
    by_name = sorted(sources)
    families = {}
    for source in by_name:
        families[source] = family_of(variants, source)
    return sorted(by_name, key=families.__getitem__)


def bits_section(findings: Findings) -> Section | None:
    """Bits per byte by source, with the change against the baseline and what may be said about it."""
    scored: set[str] = set()
    for variant in findings.variants:
        scored.update(variant.last.facts.scores.sources)
    if not scored:
        return None
    sources = in_order(findings.variants, scored)
    tables = [
        _bits_table(findings, sources),
        _changes_table(findings, sources),
        _languages_table(findings.variants),
    ]
    blocks: list[Block] = [table for table in tables if table.rows]
    return Section("bits", "Bits per byte by source", _lead(findings.variants, sources), blocks)


def _lead(variants: Sequence[Variant], sources: Sequence[str]) -> str:
    by_measure = []
    for measure in MEASURES:
        names = [f"`{source}`" for source in sources if family_of(variants, source) == measure]
        if names:
            by_measure.append(f"{measure} {', '.join(names)}")
    return f"Lower is better. Sources: {'; '.join(by_measure)}."


def _bits_table(findings: Findings, sources: Sequence[str]) -> PageTable:
    headings = ["recipe", "tokens", *sources]
    align = "lr" + "r" * len(sources)
    table = PageTable("After the last stage", headings, align, id="bits")
    for variant in findings.variants:
        tone = "strong" if variant is findings.base else ""
        tokens = show_tokens(variant.last.end_tokens)
        bits = [mean_text(_source_bits(variant, source)) for source in sources]
        table.rows.append([Mark(variant.name, tone), tokens, *bits])
    cells: list[Cell] = [Mark("most overlap with training", "muted"), ""]
    for source in sources:
        overlap = _overlap_text(findings.variants, source)
        cells.append(Mark(overlap, "muted"))
    table.rows.append(cells)
    table.notes.append(OVERLAP_NOTE)
    return table


def _source_bits(variant: Variant, source: str) -> list[float]:
    """Bits per byte of a source after the last stage, one value per seed."""
    if source not in variant.last.facts.scores.sources:
        return []
    return variant.last.bits([source])


def _overlap_text(variants: Sequence[Variant], source: str) -> str:
    """The largest overlap of a source in any run."""
    overlaps = []
    for variant in variants:
        for run in variant.last.runs:
            score = run.scores.sources.get(source)
            overlaps.append(score.overlap if score else None)
    return percent(largest_overlap(overlaps))


def _changes_table(findings: Findings, sources: Sequence[str]) -> PageTable:
    headings = ["recipe", *sources]
    title = f"Change against {findings.base.name}"
    table = PageTable(title, headings, "l" + "r" * len(sources), id="bits-changes")
    for variant in findings.variants:
        if variant is not findings.base and variant.name not in findings.other_length:
            changes = [difference(variant.last, findings.base.last, source) for source in sources]
            table.rows.append([variant.name, *map(_change_cell, changes)])
    n = len(table.rows) * len(sources)
    table.notes.append(
        f"No call: inside the noise of documents and seeds. Of {n} intervals at 95%, "
        f"{n * 0.05:.1f} would exclude zero by chance alone."
    )
    return table


def _change_cell(change: Change | None) -> Cell:
    if change is None or change.interval is None:
        return "–"
    text = signed(change.interval.relative)
    if change.verdict == NO_CALL:
        return Mark(f"no call ({text})", "muted")
    return Mark(text, "good" if change.verdict == "better" else "bad")


def _languages_table(variants: Sequence[Variant]) -> PageTable:
    """The same by language, where sources have more than one."""
    headings = ["source", "language"]
    headings += [variant.name for variant in variants]
    align = "ll" + "r" * len(variants)
    table = PageTable("By language, after the last stage", headings, align)
    keys = set()
    for variant in variants:
        for source, score in variant.last.facts.scores.sources.items():
            keys |= {(source, language) for language in score.by_language}
    for source, language in sorted(keys):
        bits = [mean_text(_language_bits(variant, source, language)) for variant in variants]
        table.rows.append([source, language, *bits])
    return table


def _language_bits(variant: Variant, source: str, language: str) -> list[float]:
    """Bits per byte of one language of a source, one value per seed that has it."""
    bits = []
    evaluations = [run.scores.sources for run in variant.last.runs]
    for score in language_scores(evaluations, source, language):
        bits.append(score.bits_per_byte)
    return bits


def tasks_section(findings: Findings) -> Section | None:
    """Scores of tasks after the last stage.

    They are called only by the paired interval over the same examples, between equally long runs.
    """
    groups: list[list[Variant]] = [[], []]
    for variant in findings.variants:
        groups[variant.name in findings.other_length].append(variant)
    as_long, others = map(_last_results, groups)
    by_name = {variant.name: variant for variant in findings.variants}

    def call(measure: str, task: str, name: str) -> str:
        variant = by_name[name]
        return task_call(variant, findings.base, measure, task)

    marks = (
        f"Better, worse: than `{findings.base.name}`, beyond the paired 95% interval over examples and "
        "beyond the seeds; the others are no call."
    )
    blocks: list[Block] = [*task_tables(as_long, call, marks)]
    other_tables = task_tables(others)
    if other_tables:
        names = ", ".join(f"`{name}`" for name in others)
        title = f"Runs of other lengths, which are not compared: {names}"
        blocks.append(Fold(title, [dataclasses.replace(table, id="") for table in other_tables]))
    if not blocks:
        return None
    lead = (
        "Less to be trusted than bits per byte of held-out text where models are small; most trusted first."
    )
    return Section("tasks", "Tasks after the last stage", lead, blocks)


def _last_results(variants: Iterable[Variant]) -> dict[str, list[EvalFacts]]:
    """The evaluations of the last stage, one per seed, by variant."""
    by_name = {}
    for variant in variants:
        by_name[variant.name] = [run.scores for run in variant.last.runs]
    return by_name
