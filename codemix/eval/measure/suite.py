"""The tasks of an evaluation, one after the other, each saved with its examples as it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from codemix.errors import CodemixError
from codemix.eval.measure.paper_averages import aggregates
from codemix.eval.task_shapes.example_files import json_lines
from codemix.eval.task_shapes.task import Data, Outcome, Task


def run_tasks(
    tasks: Mapping[str, Task],
    data: Mapping[str, Data],
    rows: Mapping[str, list[dict[str, Any]]],
    engine: Callable[[], Any],
    options: Any,
    part: Callable[[str, Callable[[], Any]], Any],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """(summaries by task, the paper's averages, examples by task as JSON Lines). `part(name, compute)` keeps what is finished."""
    summaries, examples = {}, {}
    for name, task in tasks.items():

        def measure(name=name, task=task):
            outcome = _run(task, rows[name], engine(), options)
            return [summarise(task, data[name], outcome), outcome.records]

        summaries[name], records = part(f"task-{name}", measure)
        examples[name] = json_lines(records)
    return summaries, aggregates(summaries), examples


def _run(task: Task, rows: list[dict[str, Any]], engine: Any, options: Any) -> Outcome:
    if options.harness == "lm-eval":
        from codemix.eval.measure import lm_eval

        if task.kind in lm_eval.TASKS:
            return lm_eval.run(task, rows, engine)
    return task.run(engine, rows, options)


def summarise(task: Task, data: Data, outcome: Outcome) -> dict[str, Any]:
    """What results.json holds of a task. A score that is no number in [0, 1] is an error, never a result."""
    if not (math.isfinite(outcome.score) and 0 <= outcome.score <= 1):
        raise CodemixError(
            f"the task `{task.kind}` scores {outcome.score}, which is no score", rule="scores-not-finite"
        )
    bits, size = (
        math.fsum(r["gold_bits"] for r in outcome.records),
        sum(r["gold_bytes"] for r in outcome.records),
    )
    if not math.isfinite(bits):
        raise CodemixError(
            f"the task `{task.kind}` gives its references a likelihood that is no number",
            rule="scores-not-finite",
        )
    return {
        "kind": task.kind,
        "group": task.group,
        "version": task.version,
        "template": task.template,
        "citation": task.citation,
        "split": task.split if task.path is None else "",
        "data": {"path": data.path.name, "sha256": data.sha256},
        "limit": task.limit,
        "n": len(outcome.records),
        "metric": outcome.metric,
        "score": outcome.score,
        "stderr": outcome.stderr,
        "chance": outcome.chance,
        "centred": outcome.centred,
        "majority": outcome.majority,
        "gold_bits_per_byte": {"bits": bits, "bytes": size, "bits_per_byte": bits / size} if size else None,
        "more": outcome.more,
        **outcome.about,
    }
