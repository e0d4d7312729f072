"""`codemix export-data`: the data of a recipe in the format of another trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    DataRootOption,
    JsonOption,
    RecipeArg,
    print_json,
)
from codemix.cli.over_buckets import over_buckets

if TYPE_CHECKING:
    from codemix.data.export.export import Export


@over_buckets("training")
def export_data(
    recipe: RecipeArg,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A new folder, or one that this export began.", show_default=False
        ),
    ],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="megatron, olmo-core, litdata, mds, arrayrecord or parquet.",
            show_default=False,
        ),
    ],
    materialize: Annotated[
        str | None,
        typer.Option("--materialize", help="Write this stage's rows, in their order, in place of documents."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be written.")] = False,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
) -> None:
    """Write built data and its weights for another trainer."""
    from codemix.api.run import open_run
    from codemix.data.export.exporter import write_export

    export = open_run(recipe, store, data_root).plan_export(format, materialize=materialize)
    if not json:
        _show(export, output)
    files = [] if dry_run else write_export(export, output)
    if json:
        print_json({"sizes": export.sizes(), "files": [file.as_json() for file in files]})
    elif files:
        linked = sum(file.linked for file in files)
        print(f"{output}: {len(files)} files, {linked} of them hard links to files of the store")


def _show(export: Export, output: Path) -> None:
    from codemix.recipe.planning.cost_estimate import show_bytes
    from codemix.tables import Table

    table = Table(f"To be written to {output}", ["set", ">sequences", ">tokens", ">bytes"])
    sizes = export.sizes()
    for tokens in export.sets:
        size = show_bytes(sizes[tokens.name])
        table.rows.append([tokens.name, f"{tokens.sequences:,}", f"{tokens.tokens:,}", size])
    table.notes.append(
        f"{show_bytes(sum(sizes.values()))} in all, apart from files that the store has as they are"
    )
    table.print()
