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
    write: Annotated[
        Path | None, typer.Option("--write", help="Write the proxy, for `diff` and `run`.")
    ] = None,
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

    ratio = scaling.read_ratio(tokens)
    if model is not None and model not in PRESETS:
        known = f"there are {', '.join(PRESETS)}"
        raise refusal(f"there is no model `{model}`", *did_you_mean(model, PRESETS), known)
    if write is not None and write.exists():
        raise refusal(f"{write} exists already", "give another path; nothing was written", rule="exists")
    document = yaml_text.load(recipe)
    if recipe_file.is_study(document):
        raise refusal("a study has no size of its own", "scale its base recipe down", rule="scale-down")
    workspace = load(document, store, data_root)
    name = f"{workspace.plan.recipe.name}-proxy" if write is None else recipe_name(write)
    wanted = Wanted(ratio, name, model, learning_rate)
    proxy = scaling.scale_down(workspace.source, workspace.plan, workspace.pools, wanted)
    if write is not None:
        yaml_text.write(write, yaml_text.moved(proxy.text, recipe.parent, write.parent))
    if json:
        return print_json(ledger_tables.as_json(proxy))
    for table in ledger_tables.ledger_tables(proxy):
        print(table.markdown()) if markdown else table.print()
    if write is not None:
        print(f"written to {write}; see `codemix diff {recipe} {write}`")
