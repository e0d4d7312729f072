"""Commands that train: train, run, status, aot."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from codemix import environment
from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    DataRootOption,
    EvalDataOption,
    ExecutorOption,
    HarnessOption,
    JsonOption,
    MeshOption,
    MfuOption,
    MicrobatchesOption,
    RecipeArg,
    RematOption,
    UnsafeExecOption,
    WorkersOption,
    mesh_of,
    print_json,
    refusal,
    show_warnings,
)
from codemix.cli.over_buckets import over_buckets
from codemix.errors import EXIT_PROBLEM

if TYPE_CHECKING:
    from codemix.data.workspace import Workspace

SaveStepsOption = Annotated[int | None, typer.Option("--save-every-steps", help="Checkpoint every N steps.")]
SaveSecondsOption = Annotated[float, typer.Option("--save-every-s", help="Checkpoint every N seconds.")]
CheckpointsOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoints",
        help="Keep checkpoints also in a bucket, and resume from there: s3://BUCKET/PREFIX or gs://...",
    ),
]
TrackOption = Annotated[
    list[str] | None, typer.Option("--track", help="Also write metrics to tensorboard, wandb or trackio.")
]


@over_buckets("training", writes=True)
def train(
    recipe: RecipeArg,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    shards: Annotated[
        Literal["stage", "stream"],
        typer.Option(
            "--shards",
            help="Of a store in a bucket: copy the tokens first, or read each window when its step comes.",
        ),
    ] = "stage",
    mesh: MeshOption = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Stop after N steps of the run, e.g. `200 steps`.")
    ] = None,
    save_every_steps: SaveStepsOption = None,
    save_every_s: SaveSecondsOption = 600.0,
    keep: Annotated[
        int, typer.Option("--keep", min=1, help="Newest checkpoints kept of an unfinished stage.")
    ] = 2,
    keep_every_steps: Annotated[
        int | None,
        typer.Option("--keep-every-steps", help="Checkpoint at multiples of this, to keep for good."),
    ] = None,
    checkpoints: CheckpointsOption = None,
    log_every: Annotated[
        int | None,
        typer.Option(
            "--log-every", help="Steps per line of metrics; default about a hundred lines per stage."
        ),
    ] = None,
    microbatches: MicrobatchesOption = 1,
    remat: RematOption = "none",
    track: TrackOption = None,
    coordinator: Annotated[
        str | None, typer.Option("--coordinator", help="Several hosts: address:port of process 0.")
    ] = None,
    hosts: Annotated[int | None, typer.Option("--hosts", help="Several hosts: how many processes.")] = None,
    host: Annotated[
        int | None, typer.Option("--host", help="Several hosts: the index of this process.")
    ] = None,
    on_spike: Annotated[
        Literal["stop", "warn"], typer.Option("--on-spike", help="What a sudden rise of the loss does.")
    ] = "stop",
    json: JsonOption = False,
) -> None:
    """Train every stage that the store lacks.

    Interrupted training resumes from its newest checkpoint, with the same result to the bit.
    """
    from codemix.api.run import open_run
    from codemix.train.run.options import Hosts, TrainOptions

    job = open_run(recipe, store, data_root)
    context = job.workspace
    show_warnings(context.checked)
    _warn_of_scoring(context)
    options = TrainOptions(
        save_every_steps=save_every_steps,
        save_every_s=save_every_s,
        keep=keep,
        keep_every_steps=keep_every_steps,
        checkpoints=checkpoints,
        log_every=log_every,
        until=_steps(until),
        track=tuple(track or ()),
        on_spike=on_spike,
        mesh=mesh_of(mesh),
        microbatches=microbatches,
        remat=remat,
        hosts=Hosts(coordinator, hosts, host).given,
    )
    folders = job.train(options)
    if json:
        return print_json({stage: folder for stage, folder in folders.items() if folder is not None})
    for folder in folders.values():
        print(folder)
    return None


def _warn_of_scoring(context: Workspace) -> None:
    """What `codemix eval` will stop at afterwards, unless another machine or folder has it."""
    from codemix.api import preflight
    from codemix.eval.options import EvalOptions

    options = EvalOptions(data=environment.folder(environment.EVAL_DATA), data_root=context.data_root)
    if not preflight.all_trained(context.plan, context.store):
        for lacking in preflight.before_scoring(context.source, options):
            warning = replace(lacking, severity="warning")
            print(warning.render() + "\n", file=sys.stderr)


def _steps(until: str | None) -> int | None:
    if until is None:
        return None
    number = until.removesuffix("steps").removesuffix("step").strip().replace("_", "")
    if not number.isdecimal() or int(number) == 0:
        raise refusal(f"`--until {until}` is not a number of steps", "for example `--until '200 steps'`")
    return int(number)


@over_buckets("everything", writes=True)
def run(
    recipe: RecipeArg,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    workers: WorkersOption = 1,
    executor: ExecutorOption = "local",
    mesh: MeshOption = None,
    save_every_steps: SaveStepsOption = None,
    save_every_s: SaveSecondsOption = 600.0,
    checkpoints: CheckpointsOption = None,
    track: TrackOption = None,
    eval_data: EvalDataOption = None,
    unsafe_exec: UnsafeExecOption = None,
    harness: HarnessOption = None,
    json: JsonOption = False,
) -> None:
    """Take the whole path: build-data, train, eval, report.

    What exists already is not made again; whatever this machine lacks for any of it is reported first.
    """
    from codemix.api.run import open_run
    from codemix.eval.options import EvalOptions
    from codemix.train.run.options import TrainOptions

    devices = mesh_of(mesh)
    finished = open_run(recipe, store, data_root).finish(
        workers=workers,
        executor=executor,
        training=TrainOptions(
            save_every_steps=save_every_steps,
            save_every_s=save_every_s,
            checkpoints=checkpoints,
            track=tuple(track or ()),
            mesh=devices,
        ),
        evaluation=EvalOptions(data=eval_data, unsafe_exec=unsafe_exec, harness=harness, mesh=devices),
        on_built=None if json else _show_what_will_be_trained,
    )
    if json:
        stages = [str(folder) for folder in finished.stages.values()]
        evals = [str(path) for path in finished.scores.paths.values()]
        return print_json({"stages": stages, "evals": evals, "report": str(finished.report)})
    for table in finished.scores.tables():
        table.print()
    return print(f"\nreport: {finished.report}")


def _show_what_will_be_trained(context: Workspace) -> None:
    from codemix.cli.data import data_table
    from codemix.recipe.planning import plan_tables

    show_warnings(context.checked)
    data_table(context.found, Path(context.source.document.file)).print()
    plan_tables.stage_table(context.plan).print()
    plan_tables.mixture_table(context.plan).print()


@over_buckets("catalog", tells="leases")
def status(store: AnyStoreOption = STORE, json: JsonOption = False) -> None:
    """Show what every stage in the store is doing."""
    import dataclasses

    from codemix.data.store.store import Store
    from codemix.train.run.status import status as read_status
    from codemix.train.run.status import status_table

    stages = read_status(Store(store))
    if json:
        return print_json([dataclasses.asdict(stage) for stage in stages])
    if not stages:
        return print(f"{store}: no stages")
    return status_table(stages).print()


def aot(
    recipe: RecipeArg,
    topology: Annotated[str, typer.Option("--topology", help="A TPU slice, e.g. v5e:16x16.")] = "v5e:16x16",
    stage: Annotated[str | None, typer.Option("--stage", help="One stage; default each.")] = None,
    mesh: MeshOption = None,
    microbatches: MicrobatchesOption = 1,
    remat: RematOption = "full",
    mfu: MfuOption = 0.4,
    json: JsonOption = False,
) -> int:
    """Compile the train step for a TPU slice, without a TPU.

    Memory and whether it fits, collectives, estimated time.

    It ends with 1 when one does not fit.
    """
    from codemix.recipe.checks import validation
    from codemix.recipe.language import recipe_file
    from codemix.train.aot import compile as ahead

    plan = validation.check(recipe_file.read_recipe(recipe)).require()
    results = ahead.aot(
        plan, topology, stage=stage, mesh=mesh_of(mesh), microbatches=microbatches, remat=remat, mfu=mfu
    )
    print_json([r.as_json() for r in results]) if json else ahead.render(results)
    return 0 if all(r.fits for r in results) else EXIT_PROBLEM
