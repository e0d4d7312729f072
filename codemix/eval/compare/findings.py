"""What the numbers of a comparison allow to say, as plain values: differences with intervals, verdicts, who is best.

Two runs are compared on the same held-out documents; an interval comes from resampling those documents, the spread from
seeds. A difference is called only when the interval excludes zero and seeds alone never produced as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codemix.eval import stats
from codemix.eval.compare import variants as tree
from codemix.eval.compare.variants import Variant

MEASURES = {"code": "held-out code", "text": "held-out text", "other": "the other held-out sources"}


def findings(variants: Sequence[Variant], base: Variant, **more: Any) -> dict[str, Any]:
    """Every number of the comparison, as the JSON twin holds it."""
    peers = tree.equally_long(variants, base, "last")
    last = [difference(v, v.last, base, base.last, m) for m in MEASURES for v in peers]
    before = []
    if any(v.before_cooldown != v.last for v in [base, *peers]):
        earlier = tree.equally_long(variants, base, "before_cooldown")
        before = [
            difference(v, v.before_cooldown, base, base.before_cooldown, m) for m in MEASURES for v in earlier
        ]
    cooled = [
        difference(arm, stage, origin, origin_stage, m) | {"label": f"{origin.name}: {label}"}
        for origin, origin_stage, arms in tree.cooldowns(variants)
        for label, arm, stage in arms
        for m in MEASURES
    ]
    quality = [
        difference(v, stage, arms[0][1], arms[0][2], m)
        | {"label": label, "reference_label": arms[0][0], "tokens": tokens, "code_share": share}
        for tokens, share, arms in tree.qualities(variants)
        for label, v, stage in arms[1:]
        for m in MEASURES
    ]
    return {
        "format": 1,
        "baseline": base.name,
        **more,
        "variants": [
            {"name": v.name, "seeds": v.seeds, "runs": [run.facts for run in v.runs]} for v in variants
        ],
        "last": _real(last),
        "before_cooldown": _real(before),
        "cooldown": _real(cooled),
        "quality": _real(quality),
        "best": {m: best([base, *peers], m) for m in MEASURES if any(_sources(v, v.last, m) for v in peers)},
        "other_length": [v.name for v in variants if v is not base and v not in peers],
        "sweep": [
            {
                "tokens": tokens,
                "points": [
                    {
                        "share": share,
                        "variant": v.name,
                        "stage": stage,
                        **{m: v.bits(stage, _sources(v, stage, m)) for m in MEASURES},
                    }
                    for share, v, stage in points
                ],
            }
            for tokens, points in tree.sweeps(variants)
        ],
    }


def _real(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row.get("value") is not None]


def _sources(variant: Variant, stage: str, measure: str) -> list[str]:
    scores = variant.first.stage(stage)["bits_per_byte"]
    return sorted(
        n for n in scores if variant.first.facts["families"].get(n, "other") == measure or n == measure
    )


def difference(v: Variant, stage: str, base: Variant, base_stage: str, measure: str) -> dict[str, Any]:
    """A variant's stage against a reference on the documents that both scored. `measure`: a family or one source.

    Each document's bits are averaged over a variant's seeds first. Empty when the two share no scored source.
    """
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
        same = (
            out | {"value": made.b, "reference_value": made.a}
            if len(pairs) < _scored(v, stage, sources)
            else out
        )
        out = same | {
            "difference": made.difference,
            "low": made.low,
            "high": made.high,
            "relative": made.relative,
            "relative_low": made.low / made.a,
            "relative_high": made.high / made.a,
            "documents": len(pairs),
            "bytes": int(sum(sizes)),
            "level": made.level,
            "verdict": {"better": "lower", "worse": "higher"}.get(verdict, verdict),
        }
    return out


def _scored(v: Variant, stage: str, sources: Sequence[str]) -> int:
    return sum(v.first.stage(stage)["bits_per_byte"][s]["documents"] for s in sources)


def paired(
    v: Variant, stage: str, base: Variant, base_stage: str, sources: Sequence[str]
) -> list[tuple[float, float, int]]:
    """(bits of the variant, bits of the reference, bytes) of each document that every seed of both scored alike."""
    sides = [
        [run.documents.get(name, {}) for run in variant.runs]
        for variant, name in ((v, stage), (base, base_stage))
    ]
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
    ties = [
        v.name
        for _, v in order[1:]
        if difference(v, v.last, lowest, lowest.last, measure).get("verdict", "no call") == "no call"
    ]
    return {"variant": lowest.name, "value": value, "not_told_apart": ties, "of": len(order)}


def task_call(v: Variant, base: Variant, measure: str, task: str) -> str:
    """What may be called between two variants' last stages: "better", "worse", "no call"; "" where there are no examples to pair.

    `measure`: "gold" (bits per byte of the right answers) or "score".
    """
    if v is base:
        return ""
    mine, theirs = (_examples(x, measure, task) for x in (v, base))
    common = sorted(set(mine) & set(theirs))
    if len(common) < 2:
        return ""
    sides = [tuple(zip(*(side[i] for i in common), strict=True)) for side in (theirs, mine)]
    if any(sum(sizes) == 0 for _, sizes in sides):
        return ""
    made = stats.paired_bootstrap(*sides)
    seeds = [
        [_task_score(r, measure) for run in x.runs if (r := run.stage(x.last)["tasks"].get(task))]
        for x in (base, v)
    ]
    return stats.verdict(made, *map(stats.seed_spread, seeds), lower_is_better=measure == "gold")


def _task_score(result: dict[str, Any], measure: str) -> float:
    return result["gold_bits_per_byte"]["bits_per_byte"] if measure == "gold" else result["score"]


def _examples(variant: Variant, measure: str, task: str) -> dict[str, tuple[float, float]]:
    """(numerator, denominator) of each example that every seed has, averaged over the seeds."""
    runs = [run.examples.get(variant.last, {}).get(task, {}) for run in variant.runs]
    common = set.intersection(*(set(r) for r in runs)) if runs else set()
    bits = measure == "gold"
    return {
        i: (sum(r[i][1 if bits else 0] for r in runs) / len(runs), runs[0][i][2] if bits else 1.0)
        for i in common
    }
