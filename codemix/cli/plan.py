"""The command that says what a recipe will do: plan."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    ChipOption,
    DataRootOption,
    EvalDataOption,
    JsonOption,
    MarkdownOption,
    MfuOption,
    RecipeArg,
    print_json,
    refusal,
    show_warnings,
    write_page,
)
from codemix.cli.over_buckets import over_buckets
from codemix.errors import Problem

if TYPE_CHECKING:
    from codemix.data.workspace import Workspace
    from codemix.tables import Table


@over_buckets("catalog", tells="cost")
def plan(
    recipe: RecipeArg,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the plan as a page: mixture, epochs, funnel, cost.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Write the mixture over the run as a picture.")
    ] = None,
    chip: ChipOption = "v5e",
    mfu: MfuOption = 0.4,
    eval_data: EvalDataOption = None,
) -> None:
    """Say, in whole tokens, what a recipe will do."""
    from codemix.api import preflight
    from codemix.cli.context import load
    from codemix.eval.options import EvalOptions
    from codemix.recipe.language import recipe_file, yaml_text
    from codemix.recipe.planning import plan_tables
    from codemix.train.model import huggingface

    document = yaml_text.load(recipe)
    if recipe_file.is_study(document):
        from codemix.cli.study import print_study_plan

        if html or svg:
            raise refusal(
                "`--html` and `--svg` draw the plan of one recipe, and this is a study",
                f"`codemix study expand {recipe}` writes its points as recipes",
            )

        return print_study_plan(document, json=json, markdown=markdown, chip=chip, mfu=mfu)
    workspace = load(document, store, data_root)
    planned = workspace.plan
    _write_pictures(workspace, html, svg, chip, mfu)
    missing = preflight.missing_here(workspace, EvalOptions(data=eval_data, data_root=data_root))
    not_exportable = huggingface.problems(planned.recipe.model)
    if json:
        content = plan_tables.as_json(planned, _existing(workspace), chip, mfu)
        content["missing"] = [problem.as_json() for problem in missing]
        content["not_exportable"] = [problem.as_json() for problem in not_exportable]
        return print_json(content)
    tables = [*plan_tables.plan_tables(planned, chip, mfu), _store_table(workspace)]
    if missing:
        tables.append(_missing_table(missing))
    show_warnings(workspace.checked)
    for table in tables:
        print(table.markdown()) if markdown else table.print()
    for note in not_exportable:
        print(f"note: {note.what}", file=sys.stderr)
    return None


def _write_pictures(workspace: Workspace, html: Path | None, svg: Path | None, chip: str, mfu: float) -> None:
    """The plan as a page and as a picture, where they were asked for."""
    if html is not None:
        from codemix.eval.plan.page import page

        content = page(workspace, _store_table(workspace), chip, mfu)
        write_page(content, html)
    if svg is not None:
        from codemix.eval.pages import plots
        from codemix.eval.plan import charts
        from codemix.eval.plan.page import source_shades
        from codemix.files import write_whole

        picture = charts.mixture(workspace.plan, source_shades(workspace.plan))
        write_whole(svg, plots.standalone(picture))
        print(f"wrote {svg}", file=sys.stderr)


def _existing(workspace: Workspace) -> dict[str, Any]:
    """What the store holds of a plan, for programs."""
    sources, stages = {}, {}
    for name, state in workspace.found.items():
        sources[name] = {"built": state.built, "fingerprint": state.fingerprint, "reason": state.reason}
    for stage in workspace.plan.stages:
        trained = workspace.is_trained(stage)
        reason = workspace.why_untrained(stage)
        renamed = workspace.renamed_since(stage)
        stages[stage.name] = {"trained": trained, "reason": reason, "renamed": renamed}
    return {"sources": sources, "stages": stages}


def _store_table(workspace: Workspace) -> Table:
    """What the store holds of a plan."""
    from codemix.tables import Table

    table = Table("In the store", ["what", "state", "why"])
    for name, state in workspace.found.items():
        what = "documents" if state.read_by else "data"
        built = "built" if state.built else "to build"
        table.rows.append([f"{what} {name}", built, state.reason])
    for stage in workspace.plan.stages:
        if workspace.is_trained(stage):
            row = ["trained", workspace.renamed_since(stage) or stage.fingerprint[:12]]
        else:
            row = ["to train", workspace.why_untrained(stage)]
        table.rows.append([f"stage {stage.name}", *row])
    return table


def _missing_table(missing: Sequence[Problem]) -> Table:
    from codemix.tables import Table

    table = Table("Missing on this machine", ["for", "what", "remedy"])
    for problem in missing:
        place = problem.where.path if problem.where else ""
        table.rows.append([place, problem.what, problem.hints[0]])
    return table
