"""What scoring a recipe needs beyond its checkpoints, and what of it this machine lacks. Nothing heavy is imported to find out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from codemix.errors import CodemixError, Problem
from codemix.eval.task_shapes.written import Program
from codemix.recipe.language.finding import Finding
from codemix.recipe.language.recipe_file import RecipeFile
from codemix.recipe.language.requirements import located, package
from codemix.sandbox import sandbox

if TYPE_CHECKING:
    from codemix.eval.measure.evaluate import EvalOptions

LM_EVAL = package("`--harness lm-eval`", "lm_eval", '"codemix[lm-eval]"')


def problems(source: RecipeFile, options: EvalOptions) -> list[Problem]:
    """Everything that scoring would stop at: examples that are missing or make no sense, no sandbox for code, no lm-eval."""
    found = located(_of_tasks(source, options), source.document)
    if source.recipe.evaluation.tasks and options.harness and LM_EVAL.absent:
        found.append(LM_EVAL.problem())
    return found


def _of_tasks(source: RecipeFile, options: EvalOptions) -> Iterator[Finding]:
    tasks = source.recipe.evaluation.tasks
    nowhere = [task.kind for task in tasks if task.path is None and options.data is None]
    if len(nowhere) > 1:  # one thing is lacking, so it is said once
        hints = (
            "give `--eval-data DIR`, a folder that `codemix eval fetch-data DIR` has made",
            "or name a file of each with `path:`",
        )
        what = f"the tasks {', '.join(f'`{name}`' for name in nowhere)} have no examples: no `--eval-data` is given"
        yield Finding(("evaluation", "tasks"), Problem(what, hints=hints, rule="task-data"))
    for i, task in enumerate(tasks):
        if len(nowhere) > 1 and task.kind in nowhere and task.path is None:
            continue
        try:
            task.texts(task.rows(task.find(options)))
        except CodemixError as error:
            yield from (Finding(("evaluation", "tasks", i), problem) for problem in error.problems)
    code = [i for i, task in enumerate(tasks) if isinstance(task, Program)]
    if code:
        try:
            sandbox.isolation_available(unsafe=options.unsafe)
        except CodemixError as error:
            yield from (Finding(("evaluation", "tasks", code[0]), problem) for problem in error.problems)
