"""What each op kept and dropped, as a page: the counts, then documents side by side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from codemix.data.review.inspect import Inspection, Sample
from codemix.data.review.inspect_view import attrition_table, languages_table
from codemix.eval.pages.facts import DocumentCounts
from codemix.eval.pages.page import KEPT, Page, PageSample, PageTable, Samples, Section, Tile
from codemix.eval.pages.palette import Shade, shades
from codemix.eval.report.data import funnel_figure
from codemix.recipe.language import schema

FOOTER = (
    "Made by codemix from a store. Samples are the documents whose ids hash lowest: the same in every build."
)
SHOWN_CHARS = 4_000  # of a document; the store has more of it
LEAD = (
    "As many of each source and reason as were asked for, or as there are; of each text the first "
    f"{SHOWN_CHARS:,} characters."
)


def page(recipe: schema.Recipe, inspections: Mapping[str, Inspection]) -> Page:
    """What `inspect` found, about one source or several."""
    counts = {}
    looks = {}
    samples = Samples([], [])
    tables = []
    for name, found in inspections.items():
        if count := DocumentCounts.of(found["funnel"]):
            counts[name] = count
            looks[name] = recipe.sources[name].tags
        samples.kept.extend(_kept(name, found))
        samples.dropped.extend(_dropped(name, found))
        tables.append(_source_section(name, found))
    return Page(
        kind="inspection",
        title=recipe.name,
        answer=_answer(counts),
        remark=" ".join(recipe.description.split()),
        tiles=_tiles(counts),
        sections=[
            _counts_section(counts, shades(looks)),
            Section("documents", "Documents side by side", LEAD, [samples]),
            *filter(_says_something, tables),
        ],
        footer=FOOTER,
    )


def _says_something(section: Section) -> bool:
    return bool(section.blocks)


def _answer(counts: Mapping[str, DocumentCounts]) -> list[str]:
    total = Counter[str]()
    for count in counts.values():
        total["read"] += count.read
        total["kept"] += count.kept
        total["unreadable"] += count.unreadable
        total["dropped"] += sum(count.dropped.values())
    read, kept, dropped, unreadable = (
        f"{total[what]:,} {what}" for what in ("read", "kept", "dropped", "unreadable")
    )
    sentences = [f"Documents: {read} = {kept} + {dropped} + {unreadable}."]
    if reason := _greatest_reason(counts):
        sentences.append(reason)
    return sentences


def _greatest_reason(counts: Mapping[str, DocumentCounts]) -> str:
    most = 0
    sentence = ""
    for name, count in counts.items():
        for key, documents in count.dropped.items():
            if documents <= most:
                continue
            most = documents
            share = documents / count.read
            what = f"{documents:,} documents, {share:.1%} of what it read"
            sentence = f"The most frequent reason is `{key}` of `{name}`: {what}."
    return sentence


def _tiles(counts: Mapping[str, DocumentCounts]) -> list[Tile]:
    tiles = []
    for name, count in counts.items():
        tiles.append(
            Tile(f"kept of {name}", f"{count.kept / count.read:.1%}", f"of {count.read:,} documents")
        )
    return tiles[:8]


def _counts_section(counts: Mapping[str, DocumentCounts], looks: Mapping[str, Shade]) -> Section:
    section = Section("counts", "What was kept and dropped")
    if counts:
        section.blocks.append(funnel_figure(counts, looks))
    return section


def _source_section(name: str, found: Inspection) -> Section:
    """The tables of one source: none where nothing was dropped and there is one language."""
    section = Section(f"source-{name}", name)
    attrition = found["attrition"]
    languages = found["languages"]
    if attrition:
        table = PageTable.of(attrition_table(attrition), id=f"attrition-{name}")
        section.blocks.append(table)
    if len(languages) > 1:
        table = PageTable.of(languages_table(languages), id=f"languages-{name}")
        section.blocks.append(table)
    return section


def _kept(source: str, found: Inspection) -> Iterator[PageSample]:
    for sample in found["kept"]:
        yield _sample(source, KEPT, sample)


def _dropped(source: str, found: Inspection) -> Iterator[PageSample]:
    for reason, samples in found["dropped"].items():
        for sample in samples:
            yield _sample(source, reason, sample)


def _sample(source: str, reason: str, sample: Sample) -> PageSample:
    text = sample["text"]
    meta = sample.get("meta", {})
    chars = sample.get("chars", len(text))
    return PageSample(
        id=sample["id"],
        text=text[:SHOWN_CHARS],
        source=source,
        reason=reason,
        language=str(meta.get("language") or meta.get("natural_language") or ""),
        numbers=_numbers(meta),
        remark=f"the first {SHOWN_CHARS:,} of {chars:,} characters" if chars > SHOWN_CHARS else "",
        kept_instead=_kept_instead(source, sample),
    )


def _kept_instead(source: str, sample: Sample) -> PageSample | None:
    if "kept_id" not in sample:
        return None
    return PageSample(sample["kept_id"], sample["kept_text"][:SHOWN_CHARS], source)


def _numbers(meta: Mapping[str, Any]) -> dict[str, float]:
    """Scores and other numbers of a document's metadata."""
    numbers = {}
    for name, value in meta.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and math.isfinite(value):
            numbers[name] = float(value)
    return numbers
