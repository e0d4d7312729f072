"""What scoring a recipe needs beyond its checkpoints, and what of it this machine lacks. Nothing heavy is
imported to find out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from codemix.errors import CodemixError, Problem
from codemix.eval.task_shapes.task import Task
from codemix.eval.task_shapes.written import Program
from codemix.recipe.language.finding import Finding, located
from codemix.recipe.language.recipe_file import RecipeFile
from codemix.recipe.language.requirements import package
from codemix.sandbox import sandbox

if TYPE_CHECKING:
    from codemix.eval.options import EvalOptions

LM_EVAL = package("`--harness lm-eval`", "lm_eval", '"codemix[lm-eval]"')


def problems(recipe_file: RecipeFile, options: EvalOptions) -> list[Problem]:
    """Everything that scoring would stop at: examples that are missing or make no sense, no sandbox for code,
    no lm-eval.
    """
    tasks = recipe_file.recipe.evaluation.tasks
    findings = [*_examples_findings(tasks, options), *_sandbox_findings(tasks, options)]
    problems = located(findings, recipe_file.document)
    if tasks and options.harness and LM_EVAL.absent:
        problems.append(LM_EVAL.problem())
    return problems


def _examples_findings(tasks: Sequence[Task], options: EvalOptions) -> Iterator[Finding]:
    without_file = [task.kind for task in tasks if task.path is None and options.data is None]
    is_reported = len(without_file) > 1  # one thing is lacking, so it is reported once
    if is_reported:
        names = ", ".join(f"`{kind}`" for kind in without_file)
        hints = (
            "give `--eval-data DIR`, a folder that `codemix eval fetch-data DIR` has made",
            "or name a file of each with `path:`",
        )
        what = f"the tasks {names} have no examples: no `--eval-data` is given"
        yield Finding(("evaluation", "tasks"), Problem(what, hints=hints, rule="task-data"))
    for i, task in enumerate(tasks):
        if is_reported and task.path is None:
            continue
        try:
            task.texts(task.rows(task.find(options)))
        except CodemixError as error:
            for problem in error.problems:
                yield Finding(("evaluation", "tasks", i), problem)


def _sandbox_findings(tasks: Sequence[Task], options: EvalOptions) -> Iterator[Finding]:
    first_of_code = next((i for i, task in enumerate(tasks) if isinstance(task, Program)), None)
    if first_of_code is None:
        return
    try:
        sandbox.isolation_available(unsafe=options.unsafe)
    except CodemixError as error:
        for problem in error.problems:
            yield Finding(("evaluation", "tasks", first_of_code), problem)
