"""Sections of a comparison that are tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from codemix.eval.compare import paper_numbers
from codemix.eval.compare.findings import MEASURES, difference, task_call
from codemix.eval.compare.variants import Variant, is_cooldown
from codemix.eval.pages.page import Fold, Mark, Note, PageTable, Section, percent, signed
from codemix.eval.pages.score_tables import OVERLAP_NOTE, most, task_tables
from codemix.recipe.language.quantities import show_tokens

AGGREGATES = ("reasoning", "knowledge", "nl_avg", "code", "total_avg")  # in the order of the paper's columns


def table_2(variants: Sequence[Variant], found: Mapping[str, Any]) -> Section:
    """The paper's Table 2 from our numbers; what was not measured is a dash."""
    columns = [
        "variant",
        "recipe row",
        "text",
        "code",
        "Reason.",
        "Know.",
        "NL",
        "Code",
        "Total",
        "bits/byte text",
        "bits/byte code",
    ]
    table = PageTable("Variants, stage by stage", columns, "llrrrrrrrrr", id="table-2")
    absent: set[str] = set()
    partial = False
    for v in variants:
        for number, stage in enumerate(v.first.stages):
            amounts = {"text": 0, "code": 0}
            for n, x in stage["sources"].items():
                amounts["code" if v.first.facts["families"][n] == "code" else "text"] += (
                    x["planned"] if x["consumed"] is None else x["consumed"]
                )
            sign = "+" if number else ""
            scores = []
            for name in AGGREGATES:
                values = v.aggregate(stage["name"], name)
                short = values and any(
                    run.stage(stage["name"])["aggregates"][name].get("partial") for run in v.runs
                )
                if short:
                    partial = True
                    absent |= {
                        t
                        for run in v.runs
                        for t in run.stage(stage["name"])["aggregates"][name].get("absent", ())
                    }
                scores.append(f"{sum(values) / len(values):.1f}" + ("*" if short else "") if values else "–")
            bits = []
            for m in ("text", "code"):
                values = v.bits(
                    stage["name"],
                    [n for n in stage["bits_per_byte"] if v.first.facts["families"].get(n) == m],
                )
                bits.append(f"{sum(values) / len(values):.4f}" if values else "–")
            table.rows.append(
                [
                    Mark(v.name, "strong") if number == 0 else "",
                    stage["name"],
                    *(f"{sign}{show_tokens(amounts[k])}" if amounts[k] else "–" for k in ("text", "code")),
                    *scores,
                    *bits,
                ]
            )
            if found["overlay_paper"] and (row := _paper_row(v, number)):
                amounts = [
                    "–" if t is None else f"{'' if row.stage in ('pre-training', 'init') else '+'}{t}B"
                    for t in (row.text, row.code)
                ]
                table.rows.append(
                    [
                        "",
                        Mark(f"paper: {row.stage}", "muted"),
                        *(Mark(x, "muted") for x in (*amounts, *(f"{s:.1f}" for s in row.scores), "–", "–")),
                    ]
                )
    table.notes.append(
        "Tokens are those read in the stage; a plus says that they come on top of the stages above. NL is the mean of Reason. and "
        "Know., Total of Reason., Know. and Code, as in the paper."
    )
    if all(cell == "–" for row in table.rows for cell in row[4:9] if isinstance(cell, str)):
        table.notes.append(
            "– : no tasks were scored. Small models are told apart by bits per byte long before any task score leaves chance."
        )
    if partial:
        named = f"; absent tasks: {', '.join(sorted(absent))}" if absent else ": a `limit` cut tasks short"
        table.notes.append(f"* : a partial mean, not comparable with the paper's{named}.")
    blocks: list[Any] = [table]
    if any(isinstance(row[1], Mark) for row in table.rows):
        blocks.append(
            Note(
                "plain",
                f"Grey rows are the paper's own numbers ({paper_numbers.CITATION}, 470M parameters), not ours. {paper_numbers.NOISE}",
            )
        )
    return Section("table-2", "All numbers in the paper's layout", "", blocks)


def _paper_row(variant: Variant, number: int) -> paper_numbers.Row | None:
    """The row of the paper's Table 2 that stands for one of our stages, when the run bears the name of its variant."""
    name = paper_numbers.paper_variant(variant.name) or paper_numbers.paper_variant(
        variant.first.facts["recipe"]
    )
    rows = [r for r in paper_numbers.TABLE_2 if r.variant == name]
    ends = [i for i, s in enumerate(variant.first.stages) if is_cooldown(s)]
    others = [i for i in range(len(variant.first.stages)) if i not in ends]
    places = dict(zip(ends[-1:], rows[-1:], strict=False))
    places |= dict(
        zip(others[::-1], rows[:-1][::-1], strict=False)
    )  # the paper's last row before the cooldown is ours
    return places.get(number)


def bits(variants: Sequence[Variant], base: Variant, found: Mapping[str, Any]) -> Section | None:
    """Bits per byte by source, with the change against the baseline and what may be said about it."""
    sources = sorted(
        {n for v in variants for n in v.first.stage(v.last)["bits_per_byte"]},
        key=lambda n: (_family(variants, n), n),
    )
    if not sources:
        return None
    table = PageTable(
        "After the last stage", ["recipe", "tokens", *sources], "lr" + "r" * len(sources), id="bits"
    )
    changes = PageTable(
        f"Change against {base.name}", ["recipe", *sources], "l" + "r" * len(sources), id="bits-changes"
    )
    for v in variants:
        values = [v.bits(v.last, [n]) if n in v.first.stage(v.last)["bits_per_byte"] else [] for n in sources]
        last = v.first.stage(v.last)
        table.rows.append(
            [
                Mark(v.name, "strong" if v is base else ""),
                show_tokens(last["run_tokens_before"] + last["tokens"]),
                *(f"{sum(x) / len(x):.4f}" if x else "–" for x in values),
            ]
        )
        if v is not base and v.name not in found["other_length"]:
            cells: list[Any] = []
            for n in sources:
                d = difference(v, v.last, base, base.last, n)
                if d.get("relative") is None:
                    cells.append("–")
                elif d["verdict"] == "no call":
                    cells.append(Mark(f"no call ({signed(d['relative'])})", "muted"))
                else:
                    cells.append(Mark(signed(d["relative"]), "good" if d["verdict"] == "lower" else "bad"))
            changes.rows.append([v.name, *cells])
    read = [
        percent(most(run.stage(v.last)["bits_per_byte"].get(n, {}) for v in variants for run in v.runs))
        for n in sources
    ]
    table.rows.append([Mark("most overlap with training", "muted"), "", *(Mark(x, "muted") for x in read)])
    table.notes.append(OVERLAP_NOTE)
    n = len(changes.rows) * len(sources)
    changes.notes.append(
        f"No call: inside the noise of documents and seeds. Of {n} intervals at 95%, {n * 0.05:.1f} would exclude zero by chance alone."
    )
    domains = _domains(variants)
    lead = "Lower is better. Sources: " + "; ".join(
        f"{m} {', '.join(f'`{n}`' for n in sources if _family(variants, n) == m)}"
        for m in MEASURES
        if any(_family(variants, n) == m for n in sources)
    )
    return Section(
        "bits",
        "Bits per byte by source",
        lead + ".",
        [table, *([changes] if changes.rows else []), *([domains] if domains else [])],
    )


def _family(variants: Sequence[Variant], source: str) -> str:
    return next(
        (v.first.facts["families"][source] for v in variants if source in v.first.facts["families"]), "other"
    )


def _domains(variants: Sequence[Variant]) -> PageTable | None:
    """The same by language, where sources hold more than one."""
    keys = sorted(
        {
            (n, lang)
            for v in variants
            for n, x in v.first.stage(v.last)["bits_per_byte"].items()
            for lang in x.get("by_language", {})
        }
    )
    if not keys:
        return None
    table = PageTable(
        "By language, after the last stage",
        ["source", "language", *(v.name for v in variants)],
        "ll" + "r" * len(variants),
    )
    for n, lang in keys:
        cells = []
        for v in variants:
            found = [
                run.stage(v.last)["bits_per_byte"].get(n, {}).get("by_language", {}).get(lang)
                for run in v.runs
            ]
            values = [x["bits_per_byte"] for x in found if x]
            cells.append(f"{sum(values) / len(values):.4f}" if values else "–")
        table.rows.append([n, lang, *cells])
    return table


def tasks(variants: Sequence[Variant], base: Variant, found: Mapping[str, Any]) -> Section | None:
    """Scores of tasks after the last stage; called only by the paired interval over the same examples, between equally long runs."""
    groups: list[dict[str, list[Any]]] = [{}, {}]
    for v in variants:
        groups[v.name in found["other_length"]][v.name] = [run.stage(v.last) for run in v.runs]
    as_long, others = groups
    if not any(r["tasks"] for group in groups for results in group.values() for r in results):
        return None
    by_name = {v.name: v for v in variants}
    calls = f"Better, worse: than `{base.name}`, beyond the paired 95% interval over examples and beyond the seeds; the others are no call."
    lead = (
        "Less to be trusted than bits per byte of held-out text where models are small; most trusted first."
    )
    blocks: list[Any] = task_tables(
        as_long, lambda measure, task, name: task_call(by_name[name], base, measure, task), calls
    )
    if made := task_tables(others):
        names = ", ".join(f"`{n}`" for n in others)
        blocks.append(
            Fold(
                f"Runs of other lengths, which are not compared: {names}",
                [dataclasses.replace(t, id="") for t in made],
            )
        )
    return Section("tasks", "Tasks after the last stage", lead, blocks)


def recipes(variants: Sequence[Variant], base: Variant) -> Section | None:
    """What the recipes do differently, in effects."""
    from codemix.recipe.diffs.diff import diff
    from codemix.recipe.diffs.diff_tables import sentences, tables

    blocks: list[Any] = []
    for v in variants:
        if v is base:
            continue
        made = diff(base.first.plan, v.first.plan)
        blocks.append(Note("plain", f"**{base.name} → {v.name}**: {'; '.join(sentences(made))}."))
        one_sided = {
            s.stage for s in made.stages if not all(s.exists)
        }  # their every setting differs: the sentence says they are new
        kept = tuple(
            s
            for s in made.settings
            if not any(s.path.startswith(f"stages.{name}.") for name in one_sided)
            and not s.path.endswith(".version")
        )
        folded = []
        for t in tables(dataclasses.replace(made, settings=kept)):
            align = "".join("r" if c.startswith(">") else "l" for c in t.columns)
            folded.append(
                PageTable(
                    f"{t.title}: {base.name} → {v.name}",
                    [c.lstrip(">") for c in t.columns],
                    align,
                    [list(r) for r in t.rows],
                    list(t.notes),
                )
            )
        if folded:
            blocks.append(Fold(f"Tokens and settings, `{base.name}` → `{v.name}`", folded))
    return Section(
        "recipes",
        "What the recipes do differently",
        "Effects, not lines of YAML: tokens and epochs that moved, settings that differ.",
        blocks,
    )


def ledgers(variants: Sequence[Variant]) -> Section:
    """Tokens that each run really read, by source."""
    sources = sorted(
        {n for v in variants for s in v.first.stages for n in s["sources"]},
        key=lambda n: (_family(variants, n), n),
    )
    table = PageTable(
        "Tokens consumed over the whole run",
        ["recipe", *sources, "all", "code", "ledger"],
        "l" + "r" * (len(sources) + 2) + "l",
    )
    for v in variants:
        totals = {
            n: sum((s["sources"].get(n, {}).get("consumed") or 0) for s in v.first.stages) for n in sources
        }
        whole = sum(totals.values())
        equal = all(s["ledger_equal"] for run in v.runs for s in run.stages)
        code = sum(n for s, n in totals.items() if _family(variants, s) == "code")
        table.rows.append(
            [
                v.name,
                *(f"{n:,}" if n else "–" for n in totals.values()),
                f"{whole:,}",
                f"{code / whole:.1%}" if whole else "–",
                Mark("equals the plan", "good") if equal else Mark("differs from the plan", "bad"),
            ]
        )
    return Section("ledgers", "What the runs read", "", [table])


def origin(variants: Sequence[Variant]) -> Section:
    """Fingerprints of what was compared."""
    table = PageTable("Runs", ["recipe", "seed", "stages (fingerprints)", "evaluations"], "lrll")
    for v in variants:
        for run in v.runs:
            stages = ", ".join(f"{s['name']} `{s['fingerprint'][:12]}`" for s in run.stages)
            scores = ", ".join(
                f"`{s['evaluation']['fingerprint'][:12]}`" for s in run.stages if s["evaluation"]
            )
            table.rows.append([run.facts["recipe"], str(run.facts["seed"]), stages, scores])
    return Section(
        "origin",
        "Provenance",
        "A stage with the same fingerprint in two runs is one stage, trained once.",
        [table],
    )
