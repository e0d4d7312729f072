"""scale-down: a proxy of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codemix.cli.context import (
    DATA_ROOT,
    STORE,
    AnyStoreOption,
    DataRootOption,
    JsonOption,
    MarkdownOption,
    RecipeArg,
    WriteOption,
    load,
    print_json,
    refusal,
)
from codemix.cli.over_buckets import over_buckets


@over_buckets("catalog")
def scale_down(
    recipe: RecipeArg,
    tokens: Annotated[
        str, typer.Option("--tokens", help="The proxy's share of the tokens, e.g. 1/16.", show_default=False)
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="A named shape for the proxy; default the target's model.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate", min=1e-12, help="The highest rate; the others keep their ratio to it."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the proxy, for `diff` and `run`.")
    ] = None,
    write: WriteOption = None,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """Make a small recipe that repeats its sources as this one does."""
    from codemix.errors import did_you_mean
    from codemix.recipe.language import recipe_file, yaml_text
    from codemix.recipe.language.model_schema import PRESETS
    from codemix.recipe.language.recipe_folders import recipe_name
    from codemix.recipe.scaling import ledger_tables
    from codemix.recipe.scaling import scale_down as scaling
    from codemix.recipe.scaling.proxy_values import Wanted

    output = output or write
    ratio = scaling.read_ratio(tokens)
    if model is not None and model not in PRESETS:
        known = f"there are {', '.join(PRESETS)}"
        raise refusal(f"there is no model `{model}`", *did_you_mean(model, PRESETS), known)
    if output is not None and output.exists():
        raise refusal(f"{output} exists already", "give another path; nothing was written", rule="exists")
    document = yaml_text.load(recipe)
    if recipe_file.is_study(document):
        raise refusal("a study has no size of its own", "scale its base recipe down", rule="scale-down")
    workspace = load(document, store, data_root)
    name = f"{workspace.plan.recipe.name}-proxy" if output is None else recipe_name(output)
    wanted = Wanted(ratio, name, model, learning_rate)
    proxy = scaling.scale_down(workspace.source, workspace.plan, workspace.pools, wanted)
    if output is not None:
        yaml_text.write(output, yaml_text.moved(proxy.text, recipe.parent, output.parent))
    if json:
        return print_json(ledger_tables.as_json(proxy))
    for table in ledger_tables.ledger_tables(proxy):
        print(table.markdown()) if markdown else table.print()
    if output is not None:
        print(f"written to {output}; see `codemix diff {recipe} {output}`")
