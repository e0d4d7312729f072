"""Sections of a comparison about scores after the last stage: bits per byte by source, and tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from codemix.eval.compare.changes import NO_CALL, Change, difference
from codemix.eval.compare.findings import MEASURES, Findings
from codemix.eval.compare.task_calls import task_call
from codemix.eval.compare.variants import Variant
from codemix.eval.pages.page import Block, Cell, Fold, Mark, PageTable, Section, percent, signed
from codemix.eval.pages.results import EvalFacts
from codemix.eval.pages.score_tables import OVERLAP_NOTE, largest_overlap, mean_text, task_tables
from codemix.recipe.language.quantities import show_tokens


def family_of(variants: Sequence[Variant], source: str) -> str:
    """The family of a source in the first variant that has it."""
    families = [variant.families[source] for variant in variants if source in variant.families]
    return families[0] if families else "other"


def bits_section(found: Findings) -> Section | None:
    """Bits per byte by source, with the change against the baseline and what may be said about it."""
    variants = found.variants
    scored = {source for variant in variants for source in variant.last.facts.scores.sources}
    sources = sorted(scored, key=lambda source: (family_of(variants, source), source))
    if not sources:
        return None
    blocks: list[Block] = [_bits_table(found, sources)]
    changes = _changes_table(found, sources)
    if changes.rows:
        blocks.append(changes)
    languages = _languages_table(variants)
    if languages.rows:
        blocks.append(languages)
    return Section("bits", "Bits per byte by source", _lead(variants, sources), blocks)


def _lead(variants: Sequence[Variant], sources: Sequence[str]) -> str:
    by_measure = []
    for measure in MEASURES:
        names = [f"`{source}`" for source in sources if family_of(variants, source) == measure]
        if names:
            by_measure.append(f"{measure} {', '.join(names)}")
    return f"Lower is better. Sources: {'; '.join(by_measure)}."


def _bits_table(found: Findings, sources: Sequence[str]) -> PageTable:
    headings = ["recipe", "tokens", *sources]
    table = PageTable("After the last stage", headings, "lr" + "r" * len(sources), id="bits")
    for variant in found.variants:
        head = Mark(variant.name, "strong" if variant is found.base else "")
        tokens = show_tokens(variant.last.facts.plan.end_tokens)
        bits = [mean_text(_source_bits(variant, source)) for source in sources]
        table.rows.append([head, tokens, *bits])
    overlaps = [Mark(_overlap_text(found.variants, source), "muted") for source in sources]
    table.rows.append([Mark("most overlap with training", "muted"), "", *overlaps])
    table.notes.append(OVERLAP_NOTE)
    return table


def _source_bits(variant: Variant, source: str) -> list[float]:
    """Bits per byte of a source after the last stage, one value per seed."""
    if source not in variant.last.facts.scores.sources:
        return []
    return variant.last.bits([source])


def _overlap_text(variants: Sequence[Variant], source: str) -> str:
    scores = [run.scores.sources.get(source) for variant in variants for run in variant.last.runs]
    return percent(largest_overlap(score.overlap for score in scores if score))


def _changes_table(found: Findings, sources: Sequence[str]) -> PageTable:
    headings = ["recipe", *sources]
    title = f"Change against {found.base.name}"
    table = PageTable(title, headings, "l" + "r" * len(sources), id="bits-changes")
    for variant in found.variants:
        if variant is not found.base and variant.name not in found.other_length:
            changes = [difference(variant.last, found.base.last, source) for source in sources]
            table.rows.append([variant.name, *map(_change_cell, changes)])
    n = len(table.rows) * len(sources)
    table.notes.append(
        f"No call: inside the noise of documents and seeds. Of {n} intervals at 95%, {n * 0.05:.1f} would exclude zero by chance alone."
    )
    return table


def _change_cell(change: Change | None) -> Cell:
    if change is None or change.interval is None:
        return "–"
    text = signed(change.interval.relative)
    if change.verdict == NO_CALL:
        return Mark(f"no call ({text})", "muted")
    return Mark(text, "good" if change.verdict == "lower" else "bad")


def _languages_table(variants: Sequence[Variant]) -> PageTable:
    """The same by language, where sources hold more than one."""
    headings = ["source", "language", *(variant.name for variant in variants)]
    table = PageTable("By language, after the last stage", headings, "ll" + "r" * len(variants))
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
    scores = [run.scores.sources.get(source) for run in variant.last.runs]
    languages = [score.by_language.get(language) for score in scores if score]
    return [score.bits_per_byte for score in languages if score]


def tasks_section(found: Findings) -> Section | None:
    """Scores of tasks after the last stage; called only by the paired interval over the same examples, between equally long runs."""
    as_long = _last_results([v for v in found.variants if v.name not in found.other_length])
    others = _last_results([v for v in found.variants if v.name in found.other_length])
    every_result = [result for seeds in (as_long | others).values() for result in seeds]
    if not any(result.tasks for result in every_result):
        return None
    by_name = {variant.name: variant for variant in found.variants}

    def call(measure: str, task: str, name: str) -> str:
        return task_call(by_name[name], found.base, measure, task)

    marks = (
        f"Better, worse: than `{found.base.name}`, beyond the paired 95% interval over examples and beyond the seeds; "
        "the others are no call."
    )
    blocks: list[Block] = [*task_tables(as_long, call, marks)]
    other_tables = task_tables(others)
    if other_tables:
        names = ", ".join(f"`{name}`" for name in others)
        title = f"Runs of other lengths, which are not compared: {names}"
        blocks.append(Fold(title, [dataclasses.replace(table, id="") for table in other_tables]))
    lead = (
        "Less to be trusted than bits per byte of held-out text where models are small; most trusted first."
    )
    return Section("tasks", "Tasks after the last stage", lead, blocks)


def _last_results(variants: Sequence[Variant]) -> dict[str, list[EvalFacts]]:
    return {variant.name: [run.scores for run in variant.last.runs] for variant in variants}
