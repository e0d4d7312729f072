"""The comparison of runs as a page: the question first, then what the numbers allow to say about it and what they do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.eval.compare import figures, paper, tables
from codemix.eval.compare import variants as tree
from codemix.eval.compare.findings import MEASURES, findings
from codemix.eval.compare.variants import RunInputs, Variant
from codemix.eval.judge.winrate import read_winrate
from codemix.eval.pages.page import Note, Page, publish, signed
from codemix.files import digest
from codemix.recipe.language.component import identity


def compare(
    runs: Iterable[RunInputs],
    store: Store,
    *,
    question: str = "",
    baseline: str | None = None,
    overlay_paper: bool = False,
    winrates: Iterable[Path] = (),
    missing: Iterable[str] = (),
) -> Path:
    """The HTML page (its Markdown and JSON twins lie beside it) that compares at least two runs.

    `baseline` names the run that changes are relative to; the first when not given. `winrates`: results of
    `codemix eval winrate`; `missing`: recipes that belong here and are not trained. Raises CodemixError for fewer than two recipes or an unknown baseline.
    """
    variants = tree.load(runs)
    if len(variants) < 2:
        raise CodemixError(
            "a comparison needs two runs of different recipes",
            hints=["give another recipe, or a study"],
            rule="compare-two",
        )
    base = tree.find_baseline(variants, baseline)
    judged = [read_winrate(Path(path)) for path in winrates]
    found = findings(
        variants,
        base,
        question=question,
        overlay_paper=overlay_paper,
        winrates=judged,
        missing=sorted(missing),
    )
    name = "compare-" + digest([identity(run.plan.recipe) for v in variants for run in v.runs])[:8]
    return publish(store, name, found, lambda: page(found, variants, base), stem="compare")


def answer(found: dict[str, Any]) -> list[str]:
    """What may be said, in sentences made from the numbers."""
    lines = []
    for measure, top in found["best"].items():
        if not top:
            continue
        rows = {r["variant"]: r for r in found["last"] if r["measure"] == measure}
        where, name, base = MEASURES[measure], top["variant"], found["baseline"]
        if top["of"] == 2:
            row = next(iter(rows.values()))
            lines.append(f"On {where}, `{row['variant']}` needs {_versus(row)}" + _call(row, base))
        elif top["not_told_apart"]:
            rest = _list(top["not_told_apart"][:4]) + (
                f" and {len(top['not_told_apart']) - 4} more" if len(top["not_told_apart"]) > 4 else ""
            )
            lines.append(
                f"On {where}, no winner: `{name}` has the lowest bits per byte ({top['value']:.3f}), but {rest} cannot be told apart from it."
            )
        elif name == base:
            lines.append(
                f"On {where}, the baseline `{base}` is lowest, **{top['value']:.3f}** bits per byte; none of the {top['of'] - 1} others reaches it."
            )
        else:
            lines.append(
                f"On {where}, `{name}` is lowest of {top['of']}: {_versus(rows[name])} for the baseline `{base}`, and below each of the others "
                "beyond the noise."
            )
    seeds = {len(v["seeds"]) for v in found["variants"] if v["name"] not in found["other_length"]}
    if seeds == {1}:
        lines.append(
            "Each recipe was trained with one seed: the intervals say how much depends on which documents were scored, not on the luck of training."
        )
    else:
        lines.append(
            f"Recipes were trained with {min(seeds)}{f' to {max(seeds)}' if len(seeds) > 1 else ''} seeds; nothing is called unless the "
            "difference exceeds what seeds alone produce."
        )
    return lines


def _versus(row: dict[str, Any]) -> str:
    if row.get("relative") is None:
        return f"**{row['value']:.3f}** bits per byte against {row['reference_value']:.3f}"
    interval = f"{signed(row['relative'])} [{signed(row['relative_low'])}, {signed(row['relative_high'])}]"
    return f"**{row['value']:.3f}** bits per byte against {row['reference_value']:.3f}, {interval},"


def _call(row: dict[str, Any], base: str) -> str:
    return f" for the baseline `{base}`: " + (
        "**no call**, the difference is inside the noise."
        if row["verdict"] == "no call"
        else f"**{row['verdict']}**."
    )


def _list(names: Sequence[str]) -> str:
    marked = [f"`{n}`" for n in names]
    return marked[0] if len(marked) == 1 else ", ".join(marked[:-1]) + " and " + marked[-1]


def page(found: dict[str, Any], variants: Sequence[Variant], base: Variant) -> Page:
    """The comparison as a page."""
    made = Page(
        kind="comparison",
        title=found["question"] or f"{_others(variants, base)} against {base.name}",
        answer=answer(found),
    )
    made.remark = f"{len(variants)} recipes, {sum(len(v.runs) for v in variants)} runs; baseline `{base.name}`; changes are relative to it."
    made.notes = notes([v for v in variants if v.name not in found["other_length"]])
    if found.get("missing"):
        made.notes.append(
            Note("warn", f"Left out, because not every stage is trained: {_list(found['missing'])}.")
        )
    if found["other_length"]:
        others = _list(found["other_length"])
        made.notes.append(
            Note(
                "plain",
                f"Not as long as the baseline, so compared only where stages are equally long (proportion, quality): {others}.",
            )
        )
    made.sections = [
        s
        for s in (
            figures.against_baseline(found),
            tables.table_2(variants, found),
            tables.bits(variants, base, found),
            figures.trajectories(variants, base),
            figures.sweep(found),
            figures.init(found),
            figures.quality(found),
            figures.cooldown(found),
            tables.tasks(variants, base, found),
            figures.win_rates(found),
            tables.recipes(variants, base),
            tables.ledgers(variants),
            paper.care(found),
            tables.origin(variants),
        )
        if s is not None
    ]
    made.footer = (
        "Made by codemix. Intervals: 95%, paired bootstrap over documents; bits are summed over documents and divided once by their "
        "bytes. Lower is better for bits per byte."
    )
    return made


def _others(variants: Sequence[Variant], base: Variant) -> str:
    names = [v.name for v in variants if v is not base]
    return names[0] if len(names) == 1 else f"{len(names)} recipes"


def notes(variants: Sequence[Variant]) -> list[Note]:
    """What makes runs less comparable than they look."""
    made = []
    facts = [run.facts for v in variants for run in v.runs]
    if wrong := [
        f"`{f['recipe']}`/`{s['name']}`" for f in facts for s in f["stages"] if s["ledger_equal"] is False
    ]:
        made.append(
            Note(
                "bad",
                f"These stages did not read what was planned: {', '.join(wrong)}. Nothing about them can be trusted.",
            )
        )
    if len(tokens := {sum(s["tokens"] for s in f["stages"]) for f in facts}) > 1:
        made.append(
            Note(
                "warn",
                f"The runs differ in length: {', '.join(f'{t:,}' for t in sorted(tokens))} tokens. More tokens help by themselves.",
            )
        )
    if len({f["model"]["parameters"] for f in facts}) > 1:
        made.append(
            Note("warn", "The runs differ in model size, so a difference need not come from the data.")
        )
    if len({s["tokenizer_sha256"] for f in facts for s in f["sources"].values()}) > 1:
        made.append(
            Note(
                "warn",
                "The runs use different tokenizers. Bits per byte stay comparable; losses per token do not.",
            )
        )
    if missing := [v.name for v in variants if not all(run.documents.get(v.last) for run in v.runs)]:
        made.append(
            Note(
                "warn",
                f"No per-document records for {_list(missing)}, so there are no intervals, and nothing is called.",
            )
        )
    return made
