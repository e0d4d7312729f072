"""Commands about studies: expand, plan, run, status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    ChipOption,
    DataRootOption,
    EvalDataOption,
    ExecutorOption,
    HarnessOption,
    JsonOption,
    MarkdownOption,
    MfuOption,
    UnsafeExecOption,
    WorkersOption,
    print_json,
)
from codemix.cli.over_buckets import over_buckets

if TYPE_CHECKING:
    from codemix.recipe.language.yaml_text import YamlFile

group = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Derive many recipes from one; train shared stages once.",
)
StudyArg = Annotated[Path, typer.Argument(help="The study, a YAML file.", show_default=False)]


def print_study_plan(document: YamlFile, *, json: bool, markdown: bool, chip: str, mfu: float) -> None:
    """The tree of a study's stages and what sharing saves."""
    from codemix.recipe.studies.stage_tree import tree
    from codemix.recipe.studies.study import check, of_document

    plans = check(of_document(document)).require()
    stages = tree(plans, chip=chip, mfu=mfu)
    if json:
        print_json(stages.as_json())
    else:
        print(stages.markdown() if markdown else stages.text())


@group.command("plan")
def plan(
    study: StudyArg,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
    chip: ChipOption = "v5e",
    mfu: MfuOption = 0.4,
) -> None:
    """Show the tree of stages, and what sharing them saves."""
    from codemix.recipe.language import yaml_text

    print_study_plan(yaml_text.load(study), json=json, markdown=markdown, chip=chip, mfu=mfu)


@group.command("expand")
def expand(
    study: StudyArg,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write the recipes to.")] = Path(
        "expanded"
    ),
) -> None:
    """Write every point as a complete recipe."""
    from codemix.recipe.studies.study import load_study, write_recipes

    for path in write_recipes(load_study(study), output):
        print(path)


@group.command("run")
@over_buckets("everything", writes=True)
def run(
    study: StudyArg,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    workers: WorkersOption = 1,
    executor: ExecutorOption = "local",
    eval_data: EvalDataOption = None,
    unsafe_exec: UnsafeExecOption = None,
    harness: HarnessOption = None,
    json: JsonOption = False,
) -> None:
    """Build, train and score every point.

    A stage that several points share is trained once.
    """
    from codemix.eval.options import EvalOptions
    from codemix.eval.run_study import run_study

    options = EvalOptions(data=eval_data, data_root=data_root, unsafe_exec=unsafe_exec, harness=harness)
    stages = run_study(study, store, data_root, workers=workers, executor=executor, options=options)
    print_json(stages.as_json()) if json else print(stages.text(lambda stage: "trained"))


@group.command("status")
@over_buckets("catalog")
def status(
    study: StudyArg,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
) -> None:
    """Show the tree of stages, and which are trained."""
    from codemix.eval.run_study import contexts as study_contexts
    from codemix.recipe.studies.stage_tree import tree

    loaded = study_contexts(study, store, data_root)
    stages = tree({c.source.recipe.name: c.plan for c in loaded})
    if json:
        trained = sorted({s.fingerprint for c in loaded for s in c.plan.stages if c.is_trained(s)})
        return print_json(stages.as_json() | {"trained": trained})
    return print(stages.text(lambda stage: "trained" if loaded[0].is_trained(stage) else "to train"))
