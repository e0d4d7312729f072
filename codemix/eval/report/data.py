"""Sections of a run report about data and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codemix.eval.pages.page import Code, Figure, Mark, Note, PageTable, Section
from codemix.eval.report import charts

SHOWN_REASONS = 6  # a source; the rest are summed in the figure and listed in the table


def funnel(facts: Mapping[str, Any], shades: Mapping[str, str]) -> Section | None:
    """What happened to the documents of each source."""
    sources = {n: s["funnel"] for n, s in facts["sources"].items() if s["funnel"].get("read")}
    if not sources:
        return None
    table = PageTable("Documents", ["source", "what", "documents", "share"], "llrr", id="funnel")
    rows, lost = {}, []
    for name in sorted(sources, key=lambda n: (facts["families"][n] != "text", facts["families"][n], n)):
        f = sources[name]
        dropped = sorted(f["dropped"].items(), key=lambda item: (-item[1], item[0]))
        if f["read"] != f["kept"] + sum(f["dropped"].values()) + f["unreadable"]:
            lost.append(name)
        shown = [(_reason(k), n) for k, n in dropped[:SHOWN_REASONS]]
        if rest := sum(n for _, n in dropped[SHOWN_REASONS:]):
            shown.append((f"{len(dropped) - SHOWN_REASONS} other reasons", rest))
        rows[name] = [
            ("kept", f["kept"]),
            *shown,
            *([("unreadable", f["unreadable"])] if f["unreadable"] else []),
        ]
        table.rows.append([Mark(name, swatch=shades[name]), Mark("read", "strong"), f"{f['read']:,}", ""])
        for what, n in [
            ("kept", f["kept"]),
            *((f"dropped: `{k}`", n) for k, n in dropped),
            ("unreadable", f["unreadable"]),
        ]:
            table.rows.append(["", what, f"{n:,}", f"{n / f['read']:.2%}"])
    title, words = (
        "Kept and dropped documents.",
        "Shares of the documents read; grey parts were dropped, each by its reason.",
    )
    figure = Figure(title, charts.funnel("funnel", title, words, rows, shades), words, table)
    sizes = PageTable(
        "Tokens that were built",
        ["source", "train tokens", "train documents", "held-out tokens", "held-out documents"],
        "lrrrr",
        id="pools",
    )
    for name in rows:
        splits = facts["sources"][name]["splits"]
        sizes.rows.append(
            [
                Mark(name, swatch=shades[name]),
                *(
                    f"{splits[split][k]:,}"
                    for split in ("train", "held_out")
                    for k in ("tokens", "documents")
                ),
            ]
        )
    lead = "Read = kept + dropped by reason + unreadable, for every source." if not lost else ""
    section = Section("data", "Where the documents went", lead, [figure, sizes])
    if lost:
        section.blocks.insert(
            0,
            Note(
                "bad",
                f"Documents are missing from the counts of {', '.join(f'`{n}`' for n in lost)}: read is not kept + dropped + unreadable.",
            ),
        )
    return section


def _reason(key: str) -> str:
    """`2-gopher_quality/short` as people read it."""
    op, _, reason = key.partition("/")
    op = op.split("-", 1)[-1]
    return f"{op}: {reason}" if reason and reason != op else op


def origin(facts: Mapping[str, Any], yaml: str) -> Section:
    """Environment, fingerprints, the recipe as it was resolved."""
    prints = PageTable(
        "Fingerprints", ["what", "name", "fingerprint", "made with"], "llll", id="fingerprints"
    )
    for s in facts["stages"]:
        prints.rows.append(
            [
                "stage",
                s["name"],
                f"`{s['fingerprint'][:12]}`",
                f"seed {s['seed']}"
                + ("" if s["parent"] is None else f", from `{s['parent']['fingerprint'][:12]}`"),
            ]
        )
    for s in facts["stages"]:
        if s["evaluation"] and s["evaluation"]["fingerprint"]:
            prints.rows.append(
                [
                    "evaluation",
                    s["name"],
                    f"`{s['evaluation']['fingerprint'][:12]}`",
                    _environment(s["evaluation"]["environment"]),
                ]
            )
    for name, source in facts["sources"].items():
        prints.rows.append(
            ["source", name, f"`{source['fingerprint'][:12]}`", _environment(source["environment"])]
        )
    tokenizers = sorted({s["tokenizer_sha256"] for s in facts["sources"].values()})
    prints.rows += [
        [
            "tokenizer",
            "",
            f"`{sha[:12]}`",
            f"{facts['model']['vocab_size']:,} ids" if facts["model"]["vocab_size"] else "",
        ]
        for sha in tokenizers
    ]
    blocks: list[Any] = [prints]
    if yaml:
        blocks.append(Code("The recipe, resolved: every default written out", yaml.rstrip("\n")))
    return Section(
        "origin",
        "Provenance",
        "Everything is named by a hash of all that could change it; the whole hashes are in the JSON twin.",
        blocks,
    )


def _environment(environment: Mapping[str, Any]) -> str:
    flat = {
        k: v for k, v in sorted(environment.items()) if isinstance(v, (str, int, float)) and k != "platform"
    }
    return ", ".join(f"{k} {v}" for k, v in flat.items())
