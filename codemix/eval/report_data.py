"""Sections of a run report about scores, data and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codemix.eval.facts import pooled
from codemix.eval.pages import Code, Figure, Mark, Section, Table

SHOWN_REASONS = 6  # a source; the rest are summed in the figure and listed in the table


def scores(facts: Mapping[str, Any], shades: Mapping[str, str]) -> Section | None:
    """Bits per byte by source and stage."""
    from codemix.eval import report_plots
    from codemix.eval.report import change

    stages = [s for s in facts["stages"] if s["scores"]]
    if not stages:
        return None
    names = [n for n in sorted(shades, key=lambda n: (facts["families"][n], n)) if any(n in s["scores"] for s in stages)]
    columns = ["source", "held-out bytes", "documents", *(s["name"] for s in stages)] + (["change"] if len(stages) > 1 else [])
    table = Table("Bits per byte on held-out documents", columns, "l" + "r" * (len(columns) - 1), id="bits")
    for name in names:
        table.rows.append([Mark(name, swatch=shades[name]), *_size(stages, [name]), *_cells([s["scores"].get(name, {}).get("bits_per_byte") for s in stages], change)])
    for kind in ("text", "code", "other"):
        members = [n for n in names if facts["families"][n] == kind]
        if len(members) > 1:
            table.rows.append([Mark(f"all {kind}", "strong"), *_size(stages, members), *_cells([pooled(s["scores"], members) for s in stages], change)])
    if any(x.get("subset") for s in stages for x in s["scores"].values()):
        table.notes.append("A part of the held-out documents was scored, the same for every stage: `evaluation.max_bytes` of the recipe says how much.")
    title, words = "Bits per byte by stage.", "Lower is better. One group of bars a source, one bar a stage, paler for earlier stages."
    values = {n: [s["scores"].get(n, {}).get("bits_per_byte") for s in stages] for n in names}
    figure = Figure(title, report_plots.scores("bits", title, words, values, [s["name"] for s in stages], shades, "bits per byte"), words, table, open=True)
    blocks: list[Any] = [figure]
    languages = sorted({(n, lang) for s in stages for n, x in s["scores"].items() for lang in x.get("by_language", {})})
    if languages:
        by = Table("Bits per byte by language", ["source", "language", "bytes", *(s["name"] for s in stages)], "llr" + "r" * len(stages))
        for name, lang in languages:
            found = [s["scores"].get(name, {}).get("by_language", {}).get(lang) for s in stages]
            by.rows.append([Mark(name, swatch=shades[name]), lang, f"{next(x['bytes'] for x in found if x):,}", *("–" if x is None else f"{x['bits_per_byte']:.4f}" for x in found)])
        blocks.append(by)
    lead = "How many bits the model needs for a byte of text that it was never trained on: bits summed over documents, divided once by their bytes."
    return Section("bits-per-byte", "Bits per byte", lead, blocks)


def _size(stages: list, names: list[str]) -> list[str]:
    last = next(s["scores"] for s in reversed(stages) if any(n in s["scores"] for n in names))
    return [f"{sum(last[n][key] for n in names if n in last):,}" for key in ("bytes", "documents")]


def _cells(values: list[float | None], change) -> list[str | Mark]:
    cells: list[str | Mark] = ["–" if v is None else f"{v:.4f}" for v in values]
    if len(values) > 1:
        known = [v for v in values if v is not None]
        cells.append(Mark(change(known[0], known[-1]), "good" if known[-1] < known[0] else "") if len(known) > 1 else "–")
    return cells


def tasks(facts: Mapping[str, Any]) -> Section | None:
    """Task scores by stage, most trusted measure first."""
    stages = [s for s in facts["stages"] if s["tasks"]]
    if not stages:
        return None
    names = sorted({n for s in stages for n in s["tasks"]})
    table = Table("Tasks", ["task", "measure", "chance", "examples", *(s["name"] for s in stages)], "llrr" + "r" * len(stages), id="tasks")
    for name in names:
        found = [s["tasks"].get(name) for s in stages]
        one = next(x for x in found if x)
        chance = one.get("chance")
        table.rows.append([
            name, str(one.get("metric", "score")), "–" if chance is None else f"{chance * 100:.1f}", f"{one['n']:,}" if one.get("n") else "–",
            *(_score(x) for x in found),
        ])  # fmt: skip
    table.notes.append("Scores in percent, ± one standard error over examples. A score within two standard errors of chance says nothing yet.")
    return Section("tasks", "Tasks", "Accuracy of small models is noisy; trust bits per byte first.", [table])


def _score(task: Mapping[str, Any] | None) -> str:
    if task is None or task.get("score") is None:
        return "–"
    error = task.get("stderr")
    return f"{task['score'] * 100:.1f}" + (f" ± {error * 100:.1f}" if error is not None else "")


def funnel(facts: Mapping[str, Any], shades: Mapping[str, str]) -> Section | None:
    """What happened to the documents of each source."""
    from codemix.eval import report_plots

    sources = {n: s["funnel"] for n, s in facts["sources"].items() if s["funnel"].get("read")}
    if not sources:
        return None
    table = Table("Documents", ["source", "what", "documents", "share"], "llrr", id="funnel")
    rows, lost = {}, []
    for name in sorted(sources, key=lambda n: (facts["families"][n] != "text", facts["families"][n], n)):
        f = sources[name]
        dropped = sorted(f["dropped"].items(), key=lambda item: (-item[1], item[0]))
        if f["read"] != f["kept"] + sum(f["dropped"].values()) + f["unreadable"]:
            lost.append(name)
        shown = [(_reason(k), n) for k, n in dropped[:SHOWN_REASONS]]
        if rest := sum(n for _, n in dropped[SHOWN_REASONS:]):
            shown.append((f"{len(dropped) - SHOWN_REASONS} other reasons", rest))
        rows[name] = [("kept", f["kept"]), *shown, *([("unreadable", f["unreadable"])] if f["unreadable"] else [])]
        table.rows.append([Mark(name, swatch=shades[name]), Mark("read", "strong"), f"{f['read']:,}", ""])
        for what, n in [("kept", f["kept"]), *((f"dropped: `{k}`", n) for k, n in dropped), ("unreadable", f["unreadable"])]:
            table.rows.append(["", what, f"{n:,}", f"{n / f['read']:.2%}"])
    title, words = "Kept and dropped documents.", "Shares of the documents read; grey parts were dropped, each by its reason."
    figure = Figure(title, report_plots.funnel("funnel", title, words, rows, shades), words, table)
    sizes = Table("Tokens that were built", ["source", "train tokens", "train documents", "held-out tokens", "held-out documents"], "lrrrr", id="pools")
    for name in rows:
        splits = facts["sources"][name]["splits"]
        sizes.rows.append([Mark(name, swatch=shades[name]), *(f"{splits[split][k]:,}" for split in ("train", "held_out") for k in ("tokens", "documents"))])
    lead = "Read = kept + dropped by reason + unreadable, for every source." if not lost else ""
    section = Section("data", "Where the documents went", lead, [figure, sizes])
    if lost:
        from codemix.eval.pages import Note

        section.blocks.insert(0, Note("bad", f"Documents are missing from the counts of {', '.join(f'`{n}`' for n in lost)}: read is not kept + dropped + unreadable."))
    return section


def _reason(key: str) -> str:
    """`2-gopher_quality/short` as people read it."""
    op, _, reason = key.partition("/")
    op = op.split("-", 1)[-1]
    return f"{op}: {reason}" if reason and reason != op else op


def origin(facts: Mapping[str, Any], yaml: str) -> Section:
    """Environment, fingerprints, the recipe as it was resolved."""
    prints = Table("Fingerprints", ["what", "name", "fingerprint", "made with"], "llll", id="fingerprints")
    for s in facts["stages"]:
        prints.rows.append(["stage", s["name"], f"`{s['fingerprint'][:12]}`", f"seed {s['seed']}" + ("" if s["parent"] is None else f", from `{s['parent']['fingerprint'][:12]}`")])
    for s in facts["stages"]:
        if s["evaluation"] and s["evaluation"]["fingerprint"]:
            prints.rows.append(["evaluation", s["name"], f"`{s['evaluation']['fingerprint'][:12]}`", _environment(s["evaluation"]["environment"])])
    for name, source in facts["sources"].items():
        prints.rows.append(["source", name, f"`{source['fingerprint'][:12]}`", _environment(source["environment"])])
    tokenizers = sorted({s["tokenizer_sha256"] for s in facts["sources"].values()})
    prints.rows += [["tokenizer", "", f"`{sha[:12]}`", f"{facts['model']['vocab_size']:,} ids" if facts["model"]["vocab_size"] else ""] for sha in tokenizers]
    blocks: list[Any] = [prints]
    if yaml:
        blocks.append(Code("The recipe, resolved: every default written out", yaml.rstrip("\n")))
    return Section("origin", "Provenance", "Everything is named by a hash of all that could change it; the whole hashes are in the JSON twin.", blocks)


def _environment(environment: Mapping[str, Any]) -> str:
    flat = {k: v for k, v in sorted(environment.items()) if isinstance(v, (str, int, float)) and k != "platform"}
    return ", ".join(f"{k} {v}" for k, v in flat.items())
