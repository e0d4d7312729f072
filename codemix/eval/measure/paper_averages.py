"""The paper's averages (arXiv 2408.10914, section 2.2 and Table 2), and what is missing from them.

Reasoning is the plain mean of 11 tasks, Knowledge and Code of 2 each; NL Avg = (Reasoning + Knowledge) / 2 and
Total Avg = (Reasoning + Knowledge + Code) / 3. Values are percent. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def aggregates(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The five averages of Table 2 from task results by name.

    Each says which tasks it is `of` and which are `absent`; an average with absent tasks, or with some that a `limit` cut
    short, is `partial`, one with nothing in it (or in one of its groups) has no value. `stderr` is over examples, tasks taken
    as independent.
    """
    by_kind: dict[str, Mapping[str, Any]] = {}
    for name in sorted(
        tasks, key=lambda n: n != tasks[n]["kind"]
    ):  # where a kind is there twice, the one with its own name counts
        by_kind.setdefault(tasks[name]["kind"], tasks[name])
    found = {group: _mean(kinds, by_kind) for group, kinds in SUITE.items()}
    for name, groups in COMBINED.items():
        parts = [found[g] for g in groups]
        whole = all(p["value"] is not None for p in parts)
        found[name] = {
            "value": sum(p["value"] for p in parts) / len(parts) if whole else None,
            "stderr": math.sqrt(sum(p["stderr"] ** 2 for p in parts)) / len(parts)
            if whole and all(p["stderr"] is not None for p in parts)
            else None,
            "partial": any(p["partial"] for p in parts),
            "of": [k for p in parts for k in p["of"]],
            "absent": [k for p in parts for k in p["absent"]],
        }
    return found


def _mean(kinds: tuple[str, ...], by_kind: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    there = [k for k in kinds if k in by_kind]
    errors = [by_kind[k]["stderr"] for k in there]
    return {
        "value": 100 * sum(by_kind[k]["score"] for k in there) / len(there) if there else None,
        "stderr": 100 * math.sqrt(sum(e**2 for e in errors)) / len(there)
        if there and None not in errors
        else None,
        "partial": len(there) < len(kinds)
        or any(by_kind[k].get("limit") and by_kind[k]["limit"] == by_kind[k]["n"] for k in there),
        "of": there,
        "absent": [k for k in kinds if k not in by_kind],
    }
