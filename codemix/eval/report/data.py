"""The section of a run report about its documents: what was kept, and what was dropped for which reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from codemix.eval.pages.facts import DocumentCounts, RunFacts, by_family
from codemix.eval.pages.page import Figure, Mark, Note, PageTable, Section
from codemix.eval.pages.palette import Shade
from codemix.eval.report import charts
from codemix.eval.report.charts import FunnelPart

SHOWN_REASONS = 6  # per source; the rest are summed in the figure and listed in the table


def funnel_section(facts: RunFacts, shades: Mapping[str, Shade]) -> Section | None:
    """What happened to the documents of each source."""
    known: dict[str, DocumentCounts] = {}
    for name in by_family(facts.sources, facts.families):
        counts = facts.sources[name].documents
        if counts is not None:
            known[name] = counts
    if not known:
        return None
    figure = funnel_figure(known, shades)
    lead = "Read = kept + dropped by reason + unreadable, for every source."
    section = Section("data", "Where the documents went", lead, [figure, _pools_table(facts, known, shades)])
    lost = [f"`{name}`" for name, count in known.items() if not count.adds_up]
    if lost:
        section.lead = ""
        where = ", ".join(lost)
        warning = (
            f"Documents are missing from the counts of {where}: read is not kept + dropped + unreadable."
        )
        section.blocks.insert(0, Note("bad", warning))
    return section


def funnel_figure(counts: Mapping[str, DocumentCounts], shades: Mapping[str, Shade]) -> Figure:
    """What was kept and dropped of each source."""
    title = "Kept and dropped documents."
    words = "Shares of the documents read; grey parts were dropped, each by its reason."
    table = _documents_table(counts, shades)
    parts = {}
    for name, count in counts.items():
        parts[name] = _parts(count)
    svg = charts.funnel("funnel", title, words, parts, shades)
    return Figure(title, svg, words, table)


def _by_count(dropped: Mapping[str, int]) -> dict[str, int]:
    """Documents by reason, the most frequent first."""
    reasons = sorted(dropped)
    reasons.sort(key=dropped.__getitem__, reverse=True)
    ordered = {}
    for reason in reasons:
        ordered[reason] = dropped[reason]
    return ordered


def _parts(counts: DocumentCounts) -> list[FunnelPart]:
    """The parts of a source's bar."""
    parts = [FunnelPart("kept", counts.kept)]
    for key, n in _by_count(counts.dropped).items():
        parts.append(FunnelPart(_reason(key), n))
    rest = parts[1 + SHOWN_REASONS :]
    n_rest = sum(part.documents for part in rest)
    parts = parts[: 1 + SHOWN_REASONS]
    if n_rest:
        parts.append(FunnelPart(f"{len(rest)} other reasons", n_rest))
    if counts.unreadable:
        parts.append(FunnelPart("unreadable", counts.unreadable))
    return parts


def _documents_table(counts: Mapping[str, DocumentCounts], shades: Mapping[str, Shade]) -> PageTable:
    headings = ["source", "what", "documents", "share"]
    table = PageTable("Documents", headings, "llrr", id="funnel")
    for name, count in counts.items():
        head = Mark(name, swatch=shades[name])
        read = Mark("read", "strong")
        total = count.read
        table.rows.append([head, read, f"{total:,}", ""])
        for fate, n in _fates(count).items():
            share = n / total
            table.rows.append(["", fate, f"{n:,}", f"{share:.2%}"])
    return table


def _fates(count: DocumentCounts) -> dict[str, int]:
    """Documents by what happened to them."""
    fates = {"kept": count.kept}
    for key, n in _by_count(count.dropped).items():
        fates[f"dropped: `{key}`"] = n
    fates["unreadable"] = count.unreadable
    return fates


def _pools_table(facts: RunFacts, names: Iterable[str], shades: Mapping[str, Shade]) -> PageTable:
    table = PageTable(
        "Tokens that were built",
        ["source", "train tokens", "train documents", "held-out tokens", "held-out documents"],
        "lrrrr",
        id="pools",
    )
    for name in names:
        splits = facts.sources[name].splits
        sizes = [f"{n:,}" for s in ("train", "held_out") for n in (splits[s].tokens, splits[s].documents)]
        table.rows.append([Mark(name, swatch=shades[name]), *sizes])
    return table


def _reason(key: str) -> str:
    """`2-gopher_quality/short` as people read it."""
    numbered, _, reason = key.partition("/")
    op = numbered.partition("-")[2] or numbered
    if reason in ("", op):
        return op
    return f"{op}: {reason}"
