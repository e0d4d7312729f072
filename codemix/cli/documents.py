"""Commands that follow documents into training and back: show, seen, why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    DataRootOption,
    JsonOption,
    RecipeArg,
    load,
    print_json,
)
from codemix.cli.over_buckets import over_buckets

if TYPE_CHECKING:
    from codemix.tables import Table


TrainedByOption = Annotated[
    str,
    typer.Option(
        "--trained-by",
        help="Whose order: codemix, or megatron or olmo-core on the `export-data` of that format.",
    ),
]


@over_buckets("training")
def show(
    recipe: RecipeArg,
    step: Annotated[
        int,
        typer.Option(
            "--step",
            min=0,
            help="Step of the run, from 0, counted over its stages; a line of metrics with run_step N was written "
            "after step N - 1.",
            show_default=False,
        ),
    ],
    stage: Annotated[
        str | None, typer.Option("--stage", help="Which stage, where several have that step.")
    ] = None,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    trained_by: TrainedByOption = "codemix",
    json: JsonOption = False,
) -> None:
    """List the documents that one training step reads."""
    from codemix.data.review.step_trace import show as show_step
    from codemix.tables import Table

    context = load(recipe, store, data_root)
    if trained_by != "codemix":
        from codemix.data.review import trainer_trace

        found = trainer_trace.show(context.plan, step, context.manifests, trained_by=trained_by, stage=stage)
        return print_json(found) if json else _samples_table(step, found, trained_by).print()
    rows = show_step(context.plan, step, context.manifests, stage=stage)
    if json:
        return print_json(rows)
    table = Table(f"Step {step:,}", [">row", "source", ">epoch", ">window", "shard", ">offset", "documents"])
    for r in rows:
        named = [f"{d['id']}{_licences(d.get('licence'))}" for d in r["documents"]]
        table.rows.append(
            [
                str(r["row"]),
                r["source"],
                str(r["epoch"]),
                f"{r['window']:,}",
                Path(r["shard"]).name,
                f"{r['offset']:,}",
                "\n".join(named),
            ]
        )
    return table.print()


def _samples_table(step: int, rows: Sequence[Mapping[str, Any]], trained_by: str) -> Table:
    from codemix.tables import Table

    table = Table(f"Step {step:,} of {trained_by}", [">row", "source", ">sample", "documents"])
    for row in rows:
        named = [f"{d['id']}{_licences(d.get('licence'))}" for d in row["documents"]]
        documents = "\n".join(named)
        sample = f"{row['sample']:,}"
        cells = [str(row["row"]), row["source"], sample, documents]
        table.rows.append(cells)
    return table


def _licences(licence: str | list[str] | None) -> str:
    if not licence:
        return ""
    names = licence if isinstance(licence, list) else [licence]
    shown = ", ".join(map(str, names))
    return f" [{shown}]"


@over_buckets("training")
def seen(
    recipe: RecipeArg,
    document: Annotated[
        str, typer.Argument(help="A document's id, as `codemix show` prints it.", show_default=False)
    ],
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    trained_by: TrainedByOption = "codemix",
    stage: Annotated[
        str | None,
        typer.Option("--stage", help="Which stage another trainer trained, where there are several."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the training steps that read a document."""
    from codemix.data.review.document_trace import seen as find_steps
    from codemix.tables import Table

    context = load(recipe, store, data_root)
    if trained_by == "codemix":
        traced = find_steps(context.plan, context.manifests, document)
    else:
        from codemix.data.review import trainer_trace

        traced = trainer_trace.seen(
            context.plan, context.manifests, document, trained_by=trained_by, stage=stage
        )
    if json:
        return print_json({"places": traced.places, "reads": traced.reads})
    for place in traced.places:
        split = f"{place['source']} ({place['split']})"
        print(f"{document}: {place['tokens']:,} tokens in {split}, {place['shard']}")
    if not traced.reads:
        held_out = all(place["split"] == "held_out" for place in traced.places)
        return print("no step reads it: it is held out" if held_out else "no step reads it")
    units = ["epoch", "window"] if trained_by == "codemix" else ["sample"]
    numbers = [f">{unit}" for unit in [*units, "from", "to"]]
    table = Table("", [">step", "stage", ">row", "source", *numbers])
    for read in traced.reads:
        step = read.get("run_step", read["step"])
        cells = [f"{step:,}", read["stage"], str(read["row"]), read["source"]]
        cells += [f"{read[unit]:,}" for unit in [*units, "from", "to"]]
        table.rows.append(cells)
    return table.print()


@over_buckets("everything")
def why(
    recipe: RecipeArg,
    document: Annotated[
        str,
        typer.Argument(
            help="A document's id: `<input>#<row>`, or what the source's `id:` names.", show_default=False
        ),
    ],
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
) -> None:
    """Tell what became of a document: kept, or dropped by which op.

    A document that was read and is not in the store is read again from the inputs, and goes through the
    source's ops again.
    """
    from codemix.data.review import why as fates
    from codemix.data.review.inspect_view import plain

    context = load(recipe, store, data_root)
    fates_found = fates.why(context.source.recipe, context.store, context.found, data_root, document)
    if json:
        return print_json([fate.as_json() for fate in fates_found])
    for fate in fates_found:
        print(plain(fates.sentence(fate)))
    return None
