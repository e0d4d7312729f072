"""The tasks of an evaluation, one after the other, each saved with its examples as it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from codemix.errors import CodemixError
from codemix.eval.measure.paper_averages import aggregates
from codemix.eval.options import EvalOptions
from codemix.eval.task_shapes.example_files import Row, json_lines
from codemix.eval.task_shapes.task import ExampleFile, Task, TaskResult

if TYPE_CHECKING:
    from codemix.eval.engine.score import Engine


Part = Callable[[str, Callable[[], Any]], Any]  # (name, compute) -> what compute gave, now or before
Summaries = dict[str, dict[str, Any]]  # by name, as results.json holds them


@dataclass
class SuiteResult:
    """Summaries by task, and every example by task as JSON Lines."""

    summaries: Summaries = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def aggregates(self) -> Summaries:
        """The paper's averages."""
        return aggregates(self.summaries)


def run_tasks(
    tasks: Mapping[str, Task],
    files: Mapping[str, ExampleFile],
    rows: Mapping[str, list[Row]],
    engine: Callable[[], Engine],
    options: EvalOptions,
    part: Part,
) -> SuiteResult:
    """Every task, measured once: `part(name, compute)` keeps what is finished."""
    suite = SuiteResult()
    for name, task in tasks.items():
        measure = partial(_measure, task, files[name], rows[name], engine, options)
        suite.summaries[name], records = part(f"task-{name}", measure)
        suite.examples[name] = json_lines(records)
    return suite


def _measure(
    task: Task,
    file: ExampleFile,
    rows: list[Row],
    engine: Callable[[], Engine],
    options: EvalOptions,
) -> list[Any]:
    """The summary of a task and its records."""
    result = _run(task, rows, engine(), options)
    return [summarise(task, file, result), result.records]


def _run(task: Task, rows: list[Row], engine: Engine, options: EvalOptions) -> TaskResult:
    if options.harness == "lm-eval":
        from codemix.eval.measure import lm_eval

        if task.kind in lm_eval.TASKS:
            return lm_eval.run(task, rows, engine)
    return task.run(engine, rows, options)


def summarise(task: Task, file: ExampleFile, result: TaskResult) -> dict[str, Any]:
    """What results.json holds of a task.
    A score that is not a number in [0, 1] is an error, never a result.
    """
    if not (math.isfinite(result.score) and 0 <= result.score <= 1):
        raise CodemixError(
            f"the task `{task.kind}` scores {result.score}, which is not in [0, 1]", rule="scores-not-finite"
        )
    return {
        "kind": task.kind,
        "group": task.group,
        "version": task.version,
        "template": task.template,
        "citation": task.citation,
        "split": task.split if task.path is None else "",
        "data": {"path": file.path.name, "sha256": file.sha256},
        "limit": task.limit,
        "n": len(result.records),
        "metric": result.metric,
        "score": result.score,
        "stderr": result.stderr,
        "chance": result.chance,
        "centred": result.centred,
        "majority": result.majority,
        "gold_bits_per_byte": _gold_bits(task, result.records),
        "more": result.more,
        **result.about,
    }


def _gold_bits(task: Task, records: list[Row]) -> dict[str, Any] | None:
    """Bits over bytes of the references of all examples; None where they have no bytes."""
    bits = math.fsum(record["gold_bits"] for record in records)
    size = sum(record["gold_bytes"] for record in records)
    if not math.isfinite(bits):
        raise CodemixError(
            f"the task `{task.kind}` gives its references a likelihood that is not a finite number",
            rule="scores-not-finite",
        )
    return {"bits": bits, "bytes": size, "bits_per_byte": bits / size} if size else None
