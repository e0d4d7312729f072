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
        table.rows.append(
            [
                Mark(name, swatch=shades[name]),
                *_size(stages, [name]),
                *_cells([s["scores"].get(name, {}).get("bits_per_byte") for s in stages], change),
            ]
        )
    for kind in ("text", "code", "other"):
        members = [n for n in names if facts["families"][n] == kind]
        if len(members) > 1:
            table.rows.append(
                [Mark(f"all {kind}", "strong"), *_size(stages, members), *_cells([pooled(s["scores"], members) for s in stages], change)]
            )
    if any(x.get("subset") for s in stages for x in s["scores"].values()):
        table.notes.append(
            "A part of the held-out documents was scored, the same for every stage: `evaluation.max_bytes` of the recipe says how much."
        )
    title, words = "Bits per byte by stage.", "Lower is better. One group of bars a source, one bar a stage, paler for earlier stages."
    values = {n: [s["scores"].get(n, {}).get("bits_per_byte") for s in stages] for n in names}
    figure = Figure(
        title, report_plots.scores("bits", title, words, values, [s["name"] for s in stages], shades, "bits per byte"), words, table, open=True
    )
    blocks: list[Any] = [figure]
    languages = sorted({(n, lang) for s in stages for n, x in s["scores"].items() for lang in x.get("by_language", {})})
    if languages:
        by = Table("Bits per byte by language", ["source", "language", "bytes", *(s["name"] for s in stages)], "llr" + "r" * len(stages))
        for name, lang in languages:
            found = [s["scores"].get(name, {}).get("by_language", {}).get(lang) for s in stages]
            by.rows.append(
                [
                    Mark(name, swatch=shades[name]),
                    lang,
                    f"{next(x['bytes'] for x in found if x):,}",
                    *("–" if x is None else f"{x['bits_per_byte']:.4f}" for x in found),
                ]
            )
        blocks.append(by)
    overlap = _overlaps("Overlap of held-out documents with what the run read", "source", stages, "scores", names)
    blocks += [overlap] if overlap.rows else []
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
    columns = [s["name"] for s in stages]
    gold = Table("Bits per byte of the right answers", ["task", "examples", *columns], "lr" + "r" * len(stages), id="gold")
    table = Table(
        "Scores [%]", ["task", "measure", "chance", "best constant", *columns, "centred"], "llrr" + "r" * (len(stages) + 1), id="task-scores"
    )
    for name in names:
        found = [s["tasks"].get(name) or {} for s in stages]
        one = next(x for x in reversed(found) if x)
        bits = [x.get("gold_bits_per_byte") for x in found]
        gold.rows.append([name, f"{one['n']:,}", *("–" if b is None else f"{b['bits_per_byte']:.4f}" for b in bits)])
        table.rows.append(
            [name, one["metric"], *(_hundred(one.get(k)) for k in ("chance", "majority")), *(_score(x) for x in found), _hundred(one.get("centred"))]
        )
    gold.notes.append("Lower is better. It moves long before accuracy leaves chance, so it ranks small models best.")
    table.notes.append(
        "± one standard error over examples. Centred: 0 is guessing, 100 is perfect, after the last stage. Within two standard errors "
        "of chance a score says nothing yet."
    )
    means = Table("Averages as the paper makes them [%]", ["average", *columns, "absent tasks"], "l" + "r" * len(stages) + "l", id="averages")
    for key, label in AVERAGES.items():
        found = [s["aggregates"].get(key) or {} for s in stages]
        if any(x.get("value") is not None for x in found):
            cells = [f"{x['value']:.1f}" + ("*" if x.get("partial") else "") if x.get("value") is not None else "–" for x in found]
            means.rows.append([label, *cells, ", ".join(next((x["absent"] for x in reversed(found) if x), ())) or "none"])
    if any("*" in cell for row in means.rows for cell in row[1:-1]):
        means.notes.append("* : a partial mean, because tasks are absent; do not compare it with the paper's.")
    leaks = _overlaps("Overlap with what the run read", "task", stages, "tasks", names)
    blocks = [gold, table] + [t for t in (means, leaks) if t.rows]
    return Section("tasks", "Tasks", "Most trusted measure first; accuracy of small models is noisy.", blocks)


AVERAGES = {"reasoning": "Reasoning (11 tasks)", "knowledge": "Knowledge (2)", "nl_avg": "NL avg", "code": "Code (2)", "total_avg": "Total avg"}


def _overlaps(title: str, what: str, stages: list, key: str, names: list[str]) -> Table:
    """How much of the evaluated text is in what the last stage's run read."""
    table = Table(title, [what, "with any shared n-gram", "with half or more", "of all n-grams"], "lrrr", id=f"{key}-overlap")
    for name in names:
        found = next((x["contamination"] for s in reversed(stages) if (x := s[key].get(name)) and x.get("contamination")), None)
        if found:
            table.rows.append(
                [name, *(_hundred(found.get(k)) + ("%" if found.get(k) is not None else "") for k in ("shared_any", "shared_half", "shared"))]
            )
    table.notes.append("Shares of the evaluated texts that hold an n-gram of about 50 bytes which training read too.")
    return table


def _hundred(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f}"


def _score(task: Mapping[str, Any]) -> str:
    if task.get("score") is None:
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
    sizes = Table(
        "Tokens that were built", ["source", "train tokens", "train documents", "held-out tokens", "held-out documents"], "lrrrr", id="pools"
    )
    for name in rows:
        splits = facts["sources"][name]["splits"]
        sizes.rows.append(
            [Mark(name, swatch=shades[name]), *(f"{splits[split][k]:,}" for split in ("train", "held_out") for k in ("tokens", "documents"))]
        )
    lead = "Read = kept + dropped by reason + unreadable, for every source." if not lost else ""
    section = Section("data", "Where the documents went", lead, [figure, sizes])
    if lost:
        from codemix.eval.pages import Note

        section.blocks.insert(
            0, Note("bad", f"Documents are missing from the counts of {', '.join(f'`{n}`' for n in lost)}: read is not kept + dropped + unreadable.")
        )
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
        prints.rows.append(
            [
                "stage",
                s["name"],
                f"`{s['fingerprint'][:12]}`",
                f"seed {s['seed']}" + ("" if s["parent"] is None else f", from `{s['parent']['fingerprint'][:12]}`"),
            ]
        )
    for s in facts["stages"]:
        if s["evaluation"] and s["evaluation"]["fingerprint"]:
            prints.rows.append(["evaluation", s["name"], f"`{s['evaluation']['fingerprint'][:12]}`", _environment(s["evaluation"]["environment"])])
    for name, source in facts["sources"].items():
        prints.rows.append(["source", name, f"`{source['fingerprint'][:12]}`", _environment(source["environment"])])
    tokenizers = sorted({s["tokenizer_sha256"] for s in facts["sources"].values()})
    prints.rows += [
        ["tokenizer", "", f"`{sha[:12]}`", f"{facts['model']['vocab_size']:,} ids" if facts["model"]["vocab_size"] else ""] for sha in tokenizers
    ]
    blocks: list[Any] = [prints]
    if yaml:
        blocks.append(Code("The recipe, resolved: every default written out", yaml.rstrip("\n")))
    return Section(
        "origin", "Provenance", "Everything is named by a hash of all that could change it; the whole hashes are in the JSON twin.", blocks
    )


def _environment(environment: Mapping[str, Any]) -> str:
    flat = {k: v for k, v in sorted(environment.items()) if isinstance(v, (str, int, float)) and k != "platform"}
    return ", ".join(f"{k} {v}" for k, v in flat.items())
