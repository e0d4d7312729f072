"""The comparison of runs: the question first, then what the numbers allow to say about it and what they do not.

Two runs are compared on the same held-out documents; an interval comes from resampling those documents, the spread from
seeds. A difference is called only when the interval excludes zero and seeds alone never produced as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from codemix.data.manifest import digest
from codemix.data.store import Store, read_json
from codemix.errors import CodemixError
from codemix.eval import compare_tree as tree
from codemix.eval.compare_tree import RunInputs, Variant
from codemix.eval.pages import Note, Page, publish
from codemix.recipe.component import identity

__all__ = ["RunInputs", "compare"]

MEASURES = {"code": "held-out code", "text": "held-out text", "other": "the other held-out sources"}


def compare(
    runs: Iterable[RunInputs], store: Store, *, question: str = "", baseline: str | None = None, overlay_paper: bool = False,
    winrates: Iterable[Path] = (),
) -> Path:  # fmt: skip
    """The HTML page (its Markdown and JSON twins lie beside it) that compares at least two runs.

    `baseline` names the run that changes are relative to; the first when not given. `winrates`: results of
    `codemix eval winrate`. Raises CodemixError for fewer than two recipes or an unknown baseline.
    """
    variants = tree.load(runs)
    if len(variants) < 2:
        raise CodemixError("a comparison needs two runs of different recipes", hints=["give another recipe, or a study"], rule="compare-two")
    base = tree.find_baseline(variants, baseline)
    judged = [read_json(p / "winrate.json" if (p := Path(path)).is_dir() else p) for path in winrates]
    found = findings(variants, base, question=question, overlay_paper=overlay_paper, winrates=judged)
    name = "compare-" + digest([identity(run.plan.recipe) for v in variants for run in v.runs])[:8]
    return publish(store, name, found, lambda: page(found, variants, base), stem="compare")


def findings(variants: Sequence[Variant], base: Variant, **more: Any) -> dict[str, Any]:
    """Every number of the comparison, as the JSON twin holds it."""
    peers = tree.equally_long(variants, base, "last")
    last = [difference(v, v.last, base, base.last, m) for m in MEASURES for v in peers]
    before = []
    if any(v.before_cooldown != v.last for v in [base, *peers]):
        earlier = tree.equally_long(variants, base, "before_cooldown")
        before = [difference(v, v.before_cooldown, base, base.before_cooldown, m) for m in MEASURES for v in earlier]
    cooled = [
        difference(arm, stage, origin, origin_stage, m) | {"label": f"{origin.name}: {label}"}
        for origin, origin_stage, arms in tree.cooldowns(variants) for label, arm, stage in arms for m in MEASURES
    ]  # fmt: skip
    quality = [
        difference(v, stage, arms[0][1], arms[0][2], m) | {"label": label, "reference_label": arms[0][0], "tokens": tokens, "code_share": share}
        for tokens, share, arms in tree.qualities(variants) for label, v, stage in arms[1:] for m in MEASURES
    ]  # fmt: skip
    return {
        "format": 1, "baseline": base.name, **more,
        "variants": [{"name": v.name, "seeds": v.seeds, "runs": [run.facts for run in v.runs]} for v in variants],
        "last": _real(last), "before_cooldown": _real(before), "cooldown": _real(cooled), "quality": _real(quality),
        "best": {m: best([base, *peers], m) for m in MEASURES if any(_sources(v, v.last, m) for v in peers)},
        "other_length": [v.name for v in variants if v is not base and v not in peers],
        "sweep": [
            {"tokens": tokens, "points": [
                {"share": share, "variant": v.name, "stage": stage, **{m: v.bits(stage, _sources(v, stage, m)) for m in MEASURES}}
                for share, v, stage in points
            ]} for tokens, points in tree.sweeps(variants)
        ],
    }  # fmt: skip


def _real(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row.get("value") is not None]


def _sources(variant: Variant, stage: str, measure: str) -> list[str]:
    scores = variant.first.stage(stage)["scores"]
    return sorted(n for n in scores if variant.first.facts["families"].get(n, "other") == measure or n == measure)


def difference(v: Variant, stage: str, base: Variant, base_stage: str, measure: str) -> dict[str, Any]:
    """A variant's stage against a reference on the documents that both scored. `measure`: a family or one source.

    Each document's bits are averaged over a variant's seeds first. Empty when the two share no scored source.
    """
    from codemix.eval import stats

    sources = [s for s in _sources(v, stage, measure) if s in _sources(base, base_stage, measure)]
    out: dict[str, Any] = {
        "variant": v.name,
        "stage": stage,
        "reference": base.name,
        "reference_stage": base_stage,
        "measure": measure,
        "sources": sources,
    }
    if not sources:
        return out
    ours, theirs = v.bits(stage, sources), base.bits(base_stage, sources)
    out |= {
        "value": sum(ours) / len(ours),
        "reference_value": sum(theirs) / len(theirs),
        "seeds": ours,
        "reference_seeds": theirs,
        "verdict": "no call",
    }
    pairs = paired(v, stage, base, base_stage, sources)
    if len(pairs) > 1:
        bits, reference, sizes = zip(*pairs, strict=True)
        made = stats.paired_bootstrap((reference, sizes), (bits, sizes))
        verdict = stats.verdict(made, stats.seed_spread(theirs), stats.seed_spread(ours))
        same = out | {"value": made.b, "reference_value": made.a} if len(pairs) < _scored(v, stage, sources) else out
        out = same | {
            "difference": made.difference, "low": made.low, "high": made.high, "relative": made.relative, "relative_low": made.low / made.a,
            "relative_high": made.high / made.a, "documents": len(pairs), "bytes": int(sum(sizes)), "level": made.level,
            "verdict": {"better": "lower", "worse": "higher"}.get(verdict, verdict),
        }  # fmt: skip
    return out


def _scored(v: Variant, stage: str, sources: Sequence[str]) -> int:
    return sum(v.first.stage(stage)["scores"][s]["documents"] for s in sources)


def paired(v: Variant, stage: str, base: Variant, base_stage: str, sources: Sequence[str]) -> list[tuple[float, float, int]]:
    """(bits of the variant, bits of the reference, bytes) of each document that every seed of both scored alike."""
    sides = [[run.documents.get(name, {}) for run in variant.runs] for variant, name in ((v, stage), (base, base_stage))]
    rows = []
    for source in sources:
        records = [[seed.get(source, {}) for seed in side] for side in sides]
        everywhere = set.intersection(*(set(r) for side in records for r in side))
        for name in sorted(everywhere):
            sizes = {r[name][1] for side in records for r in side}
            if len(sizes) == 1 and (size := sizes.pop()) > 0:
                mine, theirs = (sum(r[name][0] for r in side) / len(side) for side in records)
                rows.append((mine, theirs, size))
    return rows


def best(variants: Sequence[Variant], measure: str) -> dict[str, Any]:
    """The variants that nothing beats on a measure after their last stages: the lowest, and all it cannot be told from."""
    order = []
    for v in variants:
        if values := v.bits(v.last, _sources(v, v.last, measure)):
            order.append((sum(values) / len(values), v))
    order.sort(key=lambda item: item[0])
    if not order:
        return {}
    value, lowest = order[0]
    ties = [v.name for _, v in order[1:] if difference(v, v.last, lowest, lowest.last, measure).get("verdict", "no call") == "no call"]
    return {"variant": lowest.name, "value": value, "not_told_apart": ties, "of": len(order)}


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
            rest = _list(top["not_told_apart"][:4]) + (f" and {len(top['not_told_apart']) - 4} more" if len(top["not_told_apart"]) > 4 else "")
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
        "**no call**, the difference is inside the noise." if row["verdict"] == "no call" else f"**{row['verdict']}**."
    )


def _list(names: Sequence[str]) -> str:
    marked = [f"`{n}`" for n in names]
    return marked[0] if len(marked) == 1 else ", ".join(marked[:-1]) + " and " + marked[-1]


def signed(share: float) -> str:
    """A relative change as people print it: `−4.1%`."""
    return f"{share * 100:+.1f}%".replace("-", "−")


def page(found: dict[str, Any], variants: Sequence[Variant], base: Variant) -> Page:
    """The comparison as a page."""
    from codemix.eval import compare_figures as figures
    from codemix.eval import compare_paper
    from codemix.eval import compare_tables as tables

    made = Page(kind="comparison", title=found["question"] or f"{len(variants)} recipes against {base.name}", answer=answer(found))
    made.remark = f"{len(variants)} recipes, {sum(len(v.runs) for v in variants)} runs; baseline `{base.name}`; changes are relative to it."
    made.notes = notes([v for v in variants if v.name not in found["other_length"]])
    if found["other_length"]:
        others = _list(found["other_length"])
        made.notes.append(
            Note("plain", f"Not as long as the baseline, so compared only where stages are equally long (proportion, quality): {others}.")
        )
    made.sections = [s for s in (
        figures.against_baseline(found), tables.table_2(variants, found), tables.bits(variants, base, found), figures.trajectories(variants, base),
        figures.sweep(found), figures.init(found), figures.quality(found), figures.cooldown(found), tables.tasks(variants, base),
        figures.win_rates(found),
        tables.recipes(variants, base), tables.ledgers(variants), compare_paper.paper(found), tables.origin(variants),
    ) if s is not None]  # fmt: skip
    made.footer = (
        "Made by codemix. Intervals: 95%, paired bootstrap over documents; bits are summed over documents and divided once by their "
        "bytes. Lower is better for bits per byte."
    )
    return made


def notes(variants: Sequence[Variant]) -> list[Note]:
    """What makes runs less comparable than they look."""
    made = []
    facts = [run.facts for v in variants for run in v.runs]
    if wrong := [f"`{f['recipe']}`/`{s['name']}`" for f in facts for s in f["stages"] if s["ledger_equal"] is False]:
        made.append(Note("bad", f"These stages did not read what was planned: {', '.join(wrong)}. Nothing about them can be trusted."))
    if len(tokens := {sum(s["tokens"] for s in f["stages"]) for f in facts}) > 1:
        made.append(Note("warn", f"The runs differ in length: {', '.join(f'{t:,}' for t in sorted(tokens))} tokens. More tokens help by themselves."))
    if len({f["model"]["parameters"] for f in facts}) > 1:
        made.append(Note("warn", "The runs differ in model size, so a difference need not come from the data."))
    if len({s["tokenizer_sha256"] for f in facts for s in f["sources"].values()}) > 1:
        made.append(Note("warn", "The runs use different tokenizers. Bits per byte stay comparable; losses per token do not."))
    if missing := [v.name for v in variants if not all(run.documents.get(v.last) for run in v.runs)]:
        made.append(Note("warn", f"No per-document records for {_list(missing)}, so there are no intervals, and nothing is called."))
    return made
