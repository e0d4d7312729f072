"""The table of bits per byte: its rows as numbers first, then as cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from codemix.eval.pages.facts import FAMILIES, by_family
from codemix.eval.pages.page import Cell, Mark, PageTable, percent, signed
from codemix.eval.pages.results import SourceScore, pooled
from codemix.eval.pages.score_tables import OVERLAP_NOTE, Columns, largest_overlap

Scores = Mapping[str, SourceScore]  # of one evaluation, by source


@dataclass(frozen=True)
class BitsRow:
    """What a row is about, how much text that is, and its mean over seeds under each heading."""

    label: str
    tone: str  # "" for a source, as `Mark` has them
    bytes: int
    documents: int
    overlap: str
    values: Sequence[float | None]

    @property
    def change(self) -> float | None:
        """From the first heading that has a value to the last."""
        known = [value for value in self.values if value is not None]
        return known[-1] / known[0] - 1 if len(known) > 1 else None


def bits_table(
    columns: Columns,
    families: Mapping[str, str],
    shades: Mapping[str, str] | None = None,
    *,
    with_change: bool = False,
) -> PageTable:
    """Bits per byte by source and, where a source holds several, by language; pooled by family; the mean over sources."""
    headings = [*columns, "change"] if with_change else list(columns)
    table = PageTable(
        "Bits per byte on held-out documents",
        ["source", "bytes", "documents", "overlap", *headings],
        "lrrr" + "r" * len(headings),
        id="bits",
    )
    for row in _Rows(columns, families):
        cells: list[Cell] = [_head(row, shades), f"{row.bytes:,}", f"{row.documents:,}", row.overlap]
        cells += [_number(value) for value in row.values]
        if with_change:
            cells.append(_change(row.change))
        table.rows.append(cells)
    table.notes.append(f"Lower is better. {OVERLAP_NOTE}")
    results = [result for seeds in columns.values() for result in seeds]
    if any(score.is_subset for result in results for score in result.sources.values()):
        table.notes.append(
            "A part of the held-out documents was scored, the same each time: "
            "`evaluation.max_bytes` of the recipe says how much."
        )
    return table


def _head(row: BitsRow, shades: Mapping[str, str] | None) -> Cell:
    if row.tone:
        return Mark(row.label, row.tone)
    return Mark(row.label, swatch=shades[row.label]) if shades else row.label


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _change(change: float | None) -> Cell:
    if change is None:
        return "–"
    return Mark(signed(change), "good" if change < 0 else "")


class _Rows:
    """The rows: each source with its languages, then families pooled, then the mean over sources."""

    def __init__(self, columns: Columns, families: Mapping[str, str]):
        self._by_heading: list[list[Scores]] = [
            [result.sources for result in results] for results in columns.values()
        ]
        self._every = [scores for seeds in self._by_heading for scores in seeds]
        self._families = families
        self._sources = by_family({source for scores in self._every for source in scores}, families)

    def __iter__(self) -> Iterator[BitsRow]:
        for source in self._sources:
            yield self._source(source)
            scores = [scores[source] for scores in self._every if source in scores]
            for language in sorted({language for score in scores for language in score.by_language}):
                yield self._language(source, language)
        for family in FAMILIES:
            members = [s for s in self._sources if self._families.get(s, "other") == family]
            if len(members) > 1:
                yield self._together(f"all {family}", members, _pool_of(members))
        if len(self._sources) > 1:
            yield self._together("mean over sources", self._sources, _mean_over_sources)

    def _source(self, source: str) -> BitsRow:
        scores = [scores[source] for scores in self._every if source in scores]
        return BitsRow(
            label=source,
            tone="",
            bytes=scores[-1].bytes,
            documents=scores[-1].documents,
            overlap=percent(largest_overlap(score.overlap for score in scores)),
            values=self._values(_pool_of([source])),
        )

    def _language(self, source: str, language: str) -> BitsRow:
        by_heading = [
            [scores[source].by_language[language] for scores in seeds if _has(scores, source, language)]
            for seeds in self._by_heading
        ]
        shown = next(score for scores in by_heading for score in scores)
        values = [_mean([score.bits_per_byte for score in scores]) for scores in by_heading]
        return BitsRow(f"– {language}", "muted", shown.bytes, shown.documents, "", values)

    def _together(
        self, label: str, members: Sequence[str], read: Callable[[Scores], float | None]
    ) -> BitsRow:
        """Several sources as one; their sizes are those of the last evaluation that has any."""
        last = next(scores for scores in reversed(self._every) if any(m in scores for m in members))
        present = [last[member] for member in members if member in last]
        n_bytes = sum(score.bytes for score in present)
        n_documents = sum(score.documents for score in present)
        return BitsRow(label, "strong", n_bytes, n_documents, "", self._values(read))

    def _values(self, read: Callable[[Scores], float | None]) -> list[float | None]:
        """What `read` gives under each heading, the mean over seeds."""
        means = []
        for seeds in self._by_heading:
            values = [read(scores) for scores in seeds]
            means.append(_mean([value for value in values if value is not None]))
        return means


def _pool_of(members: Sequence[str]) -> Callable[[Scores], float | None]:
    return lambda scores: pooled(scores, members)


def _mean_over_sources(scores: Scores) -> float | None:
    return _mean([score.bits_per_byte for score in scores.values()])


def _has(scores: Scores, source: str, language: str) -> bool:
    return source in scores and language in scores[source].by_language


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
