"""The tables of scores, most trusted first; the terminal, the report of a run and a comparison show the same ones.

Bits per byte of held-out text, then of the right answers, then accuracy centred on chance, then what is generated, then the
paper's averages. How much of a text training had read stands beside its score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codemix.eval.pages.facts import pooled
from codemix.eval.pages.page import Cell, Mark, PageTable, percent

Columns = Mapping[
    str, Sequence[Mapping[str, Any]]
]  # heading -> results (as results.json holds them), one a seed
Call = Callable[
    [str, str, str], str
]  # (measure, task, heading) -> "better", "worse", "no call", "" where nothing is compared
AVERAGES = {
    "reasoning": "Reasoning (11 tasks)",
    "knowledge": "Knowledge (2)",
    "nl_avg": "NL avg",
    "code": "Code (2)",
    "total_avg": "Total avg",
}
CALLED = {"better": ("good", " better"), "worse": ("bad", " worse"), "no call": ("muted", ""), "": ("", "")}
OVERLAP_NOTE = "Overlap: share of the texts with a run of about 50 bytes that training had read too."


def bits_table(
    columns: Columns, families: Mapping[str, str], shades: Mapping[str, str] | None = None
) -> PageTable:
    """Bits per byte by source and, where a source holds several, by language; then pooled by family, then the mean over sources."""
    scores = {heading: [r["bits_per_byte"] for r in results] for heading, results in columns.items()}
    every = [s for found in scores.values() for s in found]
    order = ("text", "code", "other")
    names = sorted({n for s in every for n in s}, key=lambda n: (order.index(families.get(n, "other")), n))
    table = PageTable(
        "Bits per byte on held-out documents",
        ["source", "bytes", "documents", "overlap", *columns],
        "lrrr" + "r" * len(columns),
        id="bits",
    )

    def row(head: Cell, members: Sequence[str], read: Callable[[Mapping[str, Any]], float | None]) -> None:
        last = next(s for s in reversed(every) if any(n in s for n in members))
        there = [last[n] for n in members if n in last]
        cells = [
            _mean([v for s in found if (v := read(s)) is not None], "{:.4f}") for found in scores.values()
        ]
        overlap = percent(most(s.get(members[0], {}) for s in every)) if len(members) == 1 else ""
        table.rows.append(
            [head, *(f"{sum(s[k] for s in there):,}" for k in ("bytes", "documents")), overlap, *cells]
        )

    for name in names:
        row(Mark(name, swatch=shades[name]) if shades else name, [name], lambda s, n=name: pooled(s, [n]))
        for language in sorted({x for s in every for x in s.get(name, {}).get("by_language", {})}):
            found = [
                [s.get(name, {}).get("by_language", {}).get(language) for s in seeds]
                for seeds in scores.values()
            ]
            one = next(x for seeds in found for x in seeds if x)
            cells = [_mean([x["bits_per_byte"] for x in seeds if x], "{:.4f}") for seeds in found]
            table.rows.append(
                [Mark(f"– {language}", "muted"), f"{one['bytes']:,}", f"{one['documents']:,}", "", *cells]
            )
    for family in order:
        members = [n for n in names if families.get(n, "other") == family]
        if len(members) > 1:
            row(Mark(f"all {family}", "strong"), members, lambda s, m=members: pooled(s, m))
    if len(names) > 1:
        row(
            Mark("mean over sources", "strong"),
            names,
            lambda s: sum(v["bits_per_byte"] for v in s.values()) / len(s) if s else None,
        )
    table.notes.append(f"Lower is better. {OVERLAP_NOTE}")
    if any(x.get("subset") for s in every for x in s.values()):
        table.notes.append(
            "A part of the held-out documents was scored, the same each time: `evaluation.max_bytes` of the recipe says how much."
        )
    return table


def task_tables(
    columns: Columns, call: Call = lambda measure, task, heading: "", calls: str = ""
) -> list[PageTable]:
    """Right answers, accuracy, generation, averages: the tables that have rows. `calls` says what the marks of `call` mean."""
    gold = PageTable(
        "Bits per byte of the right answers",
        ["task", "examples", "overlap", *columns],
        "lrr" + "r" * len(columns),
        id="gold",
    )
    gold.notes.append(
        "Lower is better. It moves long before accuracy leaves chance, so it ranks small models best."
    )
    cloze = PageTable(
        "Accuracy centred on chance", ["task", "overlap", *columns], "lr" + "r" * len(columns), id="cloze"
    )
    cloze.notes.append(
        "0 is guessing, 100 is perfect, ± one standard error over examples. Within two of them of 0 a score says nothing yet."
    )
    plain = PageTable(
        "Plain accuracy [%]",
        ["task", "chance", "constant", *columns],
        "lrr" + "r" * len(columns),
        id="accuracy",
    )
    plain.notes.append(
        "Constant: what the best single answer to everything reaches, where all questions have the same choices."
    )
    written = PageTable(
        "Generation [%]",
        ["task", "measure", "overlap", *columns],
        "llr" + "r" * len(columns),
        id="generation",
    )
    isolation: dict[str, list[str]] = {}
    for name in sorted({t for results in columns.values() for r in results for t in r["tasks"]}):
        found = {
            heading: [r["tasks"][name] for r in results if name in r["tasks"]]
            for heading, results in columns.items()
        }
        one = next(x for seeds in reversed(found.values()) for x in seeds)
        overlap = percent(most(x for seeds in found.values() for x in seeds))
        bits = [
            [x["gold_bits_per_byte"]["bits_per_byte"] for x in seeds if x.get("gold_bits_per_byte")]
            for seeds in found.values()
        ]
        gold.rows.append(
            [
                name,
                f"{one['n']:,}",
                overlap,
                *_marked([_mean(v, "{:.4f}") for v in bits], call, "gold", name, columns),
            ]
        )
        chance = one.get("chance")
        cells = _marked([_score(seeds, chance) for seeds in found.values()], call, "score", name, columns)
        if chance is None:
            written.rows.append([name, one["metric"].replace("_", " "), overlap, *cells])
            if one.get("isolation"):
                isolation.setdefault(one["isolation"], []).append(name)
        else:
            cloze.rows.append([name, overlap, *cells])
            plain.rows.append(
                [name, percent(chance), percent(one.get("majority")), *map(_score, found.values())]
            )
    written.notes += [
        "± one standard error over examples; none where all of them score the same.",
        *(f"Programs of {', '.join(of)} ran in: {how}." for how, of in isolation.items()),
    ]
    shown = [t for t in (gold, cloze, plain, written) if t.rows]
    if shown:
        shown[0].notes.append(OVERLAP_NOTE)
        shown[0].notes += [calls] if calls else []
    return [*shown, *_averages(columns)]


def _averages(columns: Columns) -> list[PageTable]:
    """The paper's averages; a partial one bears a star and the tasks that it lacks."""
    table = PageTable(
        "Averages as the paper makes them [%]",
        ["average", *columns, "absent tasks"],
        "l" + "r" * len(columns) + "l",
        id="averages",
    )
    for key, label in AVERAGES.items():
        found = [
            [a for r in results if (a := r["aggregates"].get(key)) and a["value"] is not None]
            for results in columns.values()
        ]
        if every := [a for seeds in found for a in seeds]:
            cells = [
                _score([{"score": a["value"] / 100, "stderr": _hundredth(a["stderr"])} for a in seeds])
                for seeds in found
            ]
            stars = ["*" if any(a["partial"] for a in seeds) else "" for seeds in found]
            absent = sorted({t for a in every for t in a["absent"]})
            table.rows.append(
                [label, *(c + s for c, s in zip(cells, stars, strict=True)), ", ".join(absent) or "none"]
            )
    if any(cell.endswith("*") for row in table.rows for cell in row[1:-1]):
        table.notes.append(
            "* : a partial mean, because tasks are absent or a `limit` cut them short; do not compare it with the paper's."
        )
    return [table] if table.rows else []


def most(scores) -> float | None:
    """The largest share of overlapping texts among some scores; None when nobody looked."""
    known = [x for s in scores if (x := (s.get("contamination") or {}).get("shared_any")) is not None]
    return max(known, default=None)


def _hundredth(value: float | None) -> float | None:
    return None if value is None else value / 100


def _mean(values: Sequence[float], form: str) -> str:
    return form.format(sum(values) / len(values)) if values else "–"


def _score(seeds: Sequence[Mapping[str, Any]], chance: float | None = None) -> str:
    """A score [%] with its standard error, the mean over seeds; centred where there is a chance level."""
    if not seeds:
        return "–"
    score = sum(s["score"] for s in seeds) / len(seeds)
    errors = [s["stderr"] for s in seeds if s.get("stderr") is not None]
    error, scale = sum(errors) / len(errors) if errors else None, 1 if chance is None else 1 - chance
    text = (
        f"{score * 100:.1f}" if chance is None else f"{(score - chance) / scale * 100:+.1f}".replace("-", "−")
    )
    return text + (f" ± {error / scale * 100:.1f}" if error else "")


def _marked(texts: Sequence[str], call: Call, measure: str, task: str, columns: Columns) -> list[Cell]:
    """Cells whose tone and last word say what may be called."""
    said = [CALLED[call(measure, task, heading)] for heading in columns]
    return [
        Mark(text + arrow, tone) if tone and text != "–" else text
        for text, (tone, arrow) in zip(texts, said, strict=True)
    ]
