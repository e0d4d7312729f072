"""What may be said about a comparison, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from codemix.eval.compare.changes import NO_CALL, Best, Change
from codemix.eval.compare.findings import MEASURES, Findings
from codemix.eval.pages.page import signed

NAMED_TIES = 4  # more are counted


def answer(findings: Findings) -> list[str]:
    """The sentences at the head of the page."""
    if findings.logged and len(findings.variants) < 2:
        return ["Fewer than two runs have scores, so nothing is called; training losses are below."]
    sentences = []
    for measure, top in findings.best.items():
        if top is not None:
            sentences.append(_about(findings, measure, top))
    return [*sentences, _about_seeds(findings)]


def _about(findings: Findings, measure: str, top: Best) -> str:
    """Who is best on one measure."""
    changes = {change.variant: change for change in findings.last if change.measure == measure}
    base = findings.base.name
    where = f"On {MEASURES[measure]},"
    if top.of == 2:
        change = next(iter(changes.values()))
        return (
            f"{where} `{change.variant}` needs {_versus(change)} for the baseline `{base}`: {_call(change)}"
        )
    if top.not_told_apart:
        lowest = f"`{top.variant}` has the lowest bits per byte ({top.value:.3f})"
        return f"{where} no winner: {lowest}, but {_ties(top)} cannot be told apart from it."
    if top.variant == base:
        lowest = f"the baseline `{base}` is lowest, **{top.value:.3f}** bits per byte"
        return f"{where} {lowest}; none of the {top.of - 1} others reaches it."
    lowest = (
        f"`{top.variant}` is lowest of {top.of}: {_versus(changes[top.variant])} for the baseline `{base}`"
    )
    return f"{where} {lowest}, and below each of the others beyond the noise."


def _ties(top: Best) -> str:
    names = listed(top.not_told_apart[:NAMED_TIES])
    n_more = len(top.not_told_apart) - NAMED_TIES
    return f"{names} and {n_more} more" if n_more > 0 else names


def _versus(change: Change) -> str:
    bits = f"**{change.value:.3f}** bits per byte against {change.reference_value:.3f}"
    interval = change.interval
    if interval is None:
        return bits
    bounds = f"[{signed(interval.relative_low)}, {signed(interval.relative_high)}]"
    return f"{bits}, {signed(interval.relative)} {bounds},"


def _call(change: Change) -> str:
    if change.verdict == NO_CALL:
        return "**no call**, the difference is inside the noise."
    return f"**{change.verdict}**."


def _about_seeds(findings: Findings) -> str:
    """How far the intervals carry."""
    counts = {
        len(variant.seeds) for variant in findings.variants if variant.name not in findings.other_length
    }
    if counts == {1}:
        return (
            "Each recipe was trained with one seed: "
            "the intervals say how much depends on which documents were scored, "
            "not on the luck of training."
        )
    fewest = min(counts)
    most = max(counts)
    seeds = f"{fewest} to {most} seeds" if most > fewest else f"{fewest} seeds"
    return (
        f"Recipes were trained with {seeds}; nothing is called unless the "
        "difference exceeds what seeds alone produce."
    )


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    marked = [f"`{name}`" for name in names]
    if len(marked) == 1:
        return marked[0]
    start = ", ".join(marked[:-1])
    return f"{start} and {marked[-1]}"
