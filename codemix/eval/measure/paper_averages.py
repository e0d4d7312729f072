"""The paper's averages (arXiv 2408.10914, section 2.2 and Table 2), and what is missing from them.

Reasoning is the plain mean of 11 tasks, Knowledge and Code of 2 each; NL Avg = (Reasoning + Knowledge) / 2
and Total Avg = (Reasoning + Knowledge + Code) / 3. Values are percent. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SUITE = {
    "reasoning": (
        "boolq",
        "piqa",
        "sciq",
        "social_iqa",
        "quac",
        "cb",
        "copa",
        "storycloze",
        "hellaswag",
        "winogrande",
        "arc_easy",
    ),
    "knowledge": ("triviaqa", "nq_open"),
    "code": ("humaneval", "mbpp"),
}
COMBINED = {"nl_avg": ("reasoning", "knowledge"), "total_avg": ("reasoning", "knowledge", "code")}


Summary = Mapping[str, Any]  # of a task, as results.json holds it
Summaries = Mapping[str, Summary]


@dataclass(frozen=True)
class Average:
    """A mean over tasks [percent]: which it is `of`, which are `absent`, its standard error over examples
    with the tasks taken as independent.
    """

    value: float | None
    stderr: float | None
    partial: bool
    of: list[str]
    absent: list[str]


def aggregates(tasks: Summaries) -> dict[str, dict[str, Any]]:
    """The five averages of Table 2 from task results by name, as `Average` describes them.

    An average with absent tasks, or with some that a `limit` cut short, is `partial`; one with nothing in it
    (or in one of its groups) has no value.
    """
    by_kind = _by_kind(tasks)
    averages = {}
    for group, kinds in SUITE.items():
        averages[group] = _of_tasks(kinds, by_kind)
    for name, groups in COMBINED.items():
        members = [averages[group] for group in groups]
        averages[name] = _of_groups(members)
    return {name: asdict(average) for name, average in averages.items()}


def _by_kind(tasks: Summaries) -> Summaries:
    """Summaries by kind. Where a kind occurs twice, the one that goes by the kind's own name counts."""
    by_kind: dict[str, Summary] = {}
    for name, summary in tasks.items():
        kind = summary["kind"]
        if kind == name or kind not in by_kind:
            by_kind[kind] = summary
    return by_kind


def _of_tasks(kinds: tuple[str, ...], by_kind: Summaries) -> Average:
    present = [kind for kind in kinds if kind in by_kind]
    summaries = [by_kind[kind] for kind in present]
    scores = [summary["score"] for summary in summaries]
    errors = [summary["stderr"] for summary in summaries]
    return Average(
        value=100 * sum(scores) / len(scores) if scores else None,
        stderr=_stderr(errors, scale=100),
        partial=len(present) < len(kinds) or any(map(_is_cut_short, summaries)),
        of=present,
        absent=[kind for kind in kinds if kind not in by_kind],
    )


def _of_groups(groups: list[Average]) -> Average:
    values = [group.value for group in groups if group.value is not None]
    has_value = len(values) == len(groups)
    return Average(
        value=sum(values) / len(groups) if has_value else None,
        stderr=_stderr([group.stderr for group in groups]) if has_value else None,
        partial=any(group.partial for group in groups),
        of=[kind for group in groups for kind in group.of],
        absent=[kind for group in groups for kind in group.absent],
    )


def _is_cut_short(summary: Summary) -> bool:
    limit = summary.get("limit")
    return bool(limit) and limit == summary["n"]


def _stderr(errors: list[float | None], scale: int = 1) -> float | None:
    """`scale` times the standard error of a mean of independent values, from theirs;
    None where one is unknown.
    """
    known = [error for error in errors if error is not None]
    if not errors or len(known) < len(errors):
        return None
    squares = [error**2 for error in known]
    of_sum = math.sqrt(sum(squares))
    n = len(errors)
    return scale * of_sum / n
