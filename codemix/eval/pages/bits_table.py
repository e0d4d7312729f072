"""The table of bits per byte: its rows as numbers first, then as cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from codemix.eval.pages.facts import by_family, of_family
from codemix.eval.pages.page import Cell, Mark, PageTable, percent, signed
from codemix.eval.pages.palette import Shade
from codemix.eval.pages.results import SourceScore, pooled
from codemix.eval.pages.score_tables import OVERLAP_NOTE, Columns, largest_overlap, mean, present
from codemix.recipe.language.tags import FAMILIES

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
        known = present(self.values)
        if len(known) < 2:
            return None
        return known[-1] / known[0] - 1


def bits_table(
    columns: Columns,
    families: Mapping[str, str],
    shades: Mapping[str, Shade] | None = None,
    *,
    with_change: bool = False,
) -> PageTable:
    """Bits per byte by source, by language where a source has several, by family, and their mean."""
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


def _head(row: BitsRow, shades: Mapping[str, Shade] | None) -> Cell:
    if row.tone:
        return Mark(row.label, row.tone)
    if shades is None:
        return row.label
    return Mark(row.label, swatch=shades[row.label])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _change(change: float | None) -> Cell:
    if change is None:
        return "–"
    return Mark(signed(change), "good" if change < 0 else "")


class _Rows:
    """The rows: each source with its languages, then families pooled, then the mean over sources."""

    def __init__(self, columns: Columns, families: Mapping[str, str]):
        self._by_heading: list[list[Scores]] = []
        self._every: list[Scores] = []
        for results in columns.values():
            seeds: list[Scores] = [result.sources for result in results]
            self._by_heading.append(seeds)
            self._every += seeds
        self._families = families
        scored: set[str] = set().union(*self._every)
        self._sources = by_family(scored, families)

    def __iter__(self) -> Iterator[BitsRow]:
        for source in self._sources:
            yield self._source(source)
            languages: set[str] = set()
            for score in self._scores_of(source):
                languages.update(score.by_language)
            for language in sorted(languages):
                yield self._language(source, language)
        for family in FAMILIES:
            members = of_family(family, self._sources, self._families)
            if len(members) > 1:
                yield self._together(f"all {family}", members, _pool_of(members))
        if len(self._sources) > 1:
            yield self._together("mean over sources", self._sources, _mean_over_sources)

    def _source(self, source: str) -> BitsRow:
        scores = self._scores_of(source)
        overlap = largest_overlap(score.overlap for score in scores)
        return BitsRow(
            label=source,
            tone="",
            bytes=scores[-1].bytes,
            documents=scores[-1].documents,
            overlap=percent(overlap),
            values=self._values(_pool_of([source])),
        )

    def _scores_of(self, source: str) -> list[SourceScore]:
        """The scores of a source in every evaluation that has it."""
        scored = []
        for scores in self._every:
            if source in scores:
                scored.append(scores[source])
        return scored

    def _language(self, source: str, language: str) -> BitsRow:
        by_heading = [language_scores(seeds, source, language) for seeds in self._by_heading]
        shown = next(score for scores in by_heading for score in scores)
        return BitsRow(
            label=f"– {language}",
            tone="muted",
            bytes=shown.bytes,
            documents=shown.documents,
            overlap="",
            values=[mean(score.bits_per_byte for score in scores) for scores in by_heading],
        )

    def _together(
        self, label: str, members: Sequence[str], read: Callable[[Scores], float | None]
    ) -> BitsRow:
        """Several sources as one; their sizes are those of the last evaluation that has any."""
        last: list[SourceScore] = []
        for scores in self._every:
            scored = [scores[member] for member in members if member in scores]
            last = scored or last
        return BitsRow(
            label=label,
            tone="strong",
            bytes=sum(score.bytes for score in last),
            documents=sum(score.documents for score in last),
            overlap="",
            values=self._values(read),
        )

    def _values(self, read: Callable[[Scores], float | None]) -> list[float | None]:
        """What `read` gives under each heading, the mean over seeds."""
        values = []
        for seeds in self._by_heading:
            values.append(mean(map(read, seeds)))
        return values


def _pool_of(members: Sequence[str]) -> Callable[[Scores], float | None]:
    def read(scores: Scores) -> float | None:
        return pooled(scores, members)

    return read


def _mean_over_sources(scores: Scores) -> float | None:
    return mean(score.bits_per_byte for score in scores.values())


def language_scores(seeds: Sequence[Scores], source: str, language: str) -> list[SourceScore]:
    """The scores of one language of a source, from the seeds that have it."""
    scored = []
    for scores in seeds:
        if source in scores and language in scores[source].by_language:
            scored.append(scores[source].by_language[language])
    return scored
