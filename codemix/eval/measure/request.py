"""What an evaluation is asked for: the tasks, their files of examples, and the identity of it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.eval.options import EvalOptions
from codemix.eval.task_shapes.example_files import Row
from codemix.eval.task_shapes.task import ExampleFile, Task
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.planning.plan import Plan

ENGINE_VERSION = 2  # raised when the same checkpoint and text would score otherwise


RowsByTask = Mapping[str, list[Row]]


TextsByTask = Mapping[str, list[str]]


@dataclass(frozen=True)
class Request:
    """What is to be measured: the tasks by name, their files of examples, and the identity of it all."""

    tasks: dict[str, Task]
    files: dict[str, ExampleFile]
    fingerprint: str
    measurement: str  # the identity of what is measured, whatever the weights

    @classmethod
    def of(cls, plan: Plan, index: int, manifests: Mapping[str, Manifest], options: EvalOptions) -> Request:
        """Raises CodemixError where a task's examples do not exist."""
        tasks = named_tasks(plan.recipe.evaluation.tasks)
        files = {}
        digests = {}
        for name, task in tasks.items():
            file = task.find(options)
            files[name] = file
            digests[name] = file.sha256
        what = measurement(plan, manifests, digests, options)
        stage = plan.stages[index]
        whole = what | {"stage": stage.fingerprint}
        return cls(
            tasks,
            files,
            fingerprint=fingerprint(whole),
            measurement=fingerprint(what),
        )

    def rows(self) -> RowsByTask:
        rows = {}
        for name, task in self.tasks.items():
            rows[name] = task.rows(self.files[name])
        return rows

    def texts(self, rows: RowsByTask) -> TextsByTask:
        texts = {}
        for name, task in self.tasks.items():
            texts[name] = task.texts(rows[name])
        return texts


def results_path(
    plan: Plan, index: int, store: Store, manifests: Mapping[str, Manifest], options: EvalOptions
) -> Path:
    """Where `evaluate` leaves, or left, the results of a stage."""
    request = Request.of(plan, index, manifests, options)
    return store.path("evals", plan.stages[index].name, request.fingerprint) / "results.json"


def named_tasks(tasks: Iterable[Task]) -> dict[str, Task]:
    """Tasks by the name their results go by: the kind, or the task's own `name:`.
    Raises CodemixError when two share one.
    """
    named: dict[str, Task] = {}
    for task in tasks:
        name = task.name or task.kind
        if name in named:
            raise CodemixError(
                f"two tasks are called `{name}`",
                hints=["give one of them a `name:` of its own"],
                rule="task-twice",
            )
        named[name] = task
    return named


def measurement(
    plan: Plan,
    manifests: Mapping[str, Manifest],
    data: Mapping[str, str],
    options: EvalOptions,
) -> dict[str, Any]:
    """What is measured, and the content of the text it is measured on; with the stage, the identity of an
    evaluation.
    """
    evaluation = plan.recipe.evaluation
    held_out: dict[str, list[list[str]]] = {}
    if evaluation.bits_per_byte:
        for source, manifest in manifests.items():
            shards = manifest.shards("held_out")
            held_out[source] = [[shard.sha256, shard.docs_sha256] for shard in shards]
    return {
        "engine": ENGINE_VERSION,
        "evaluation": evaluation,
        "data": dict(data),
        "names": list(data),
        "held_out": held_out,
        "contamination": options.contamination,
        "harness": options.harness,
    }
