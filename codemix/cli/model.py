"""Commands for models of other libraries: export-model, import-model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codemix.cli.context import DATA_ROOT, STORE, AnyStoreOption, DataRootOption, RecipeArg, load, refusal
from codemix.cli.over_buckets import over_buckets


@over_buckets("everything")
def export_model(
    recipe: RecipeArg,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            help="Folder to write the weights, the tokenizer and their settings to.",
            show_default=False,
        ),
    ],
    stage: Annotated[str | None, typer.Option("--stage", help="Default the last.")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="float32 loses nothing; or bfloat16.")] = "float32",
    architecture: Annotated[
        str | None,
        typer.Option("--architecture", help="cohere or llama; default the one that `model.block` is."),
    ] = None,
    store: AnyStoreOption = STORE,
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Write a trained stage as a Hugging Face model.

    A `CohereForCausalLM` or a `LlamaForCausalLM`, as the recipe's `model:` says.
    """
    from codemix.data.encoding.tokenizer import stored_tokenizer
    from codemix.train.model.architectures import architecture_named
    from codemix.train.model.huggingface import check, export

    context = load(recipe, store, data_root)
    asked = None if architecture is None else architecture_named(architecture)
    check(context.plan.recipe.model, dtype, asked)
    chosen = context.plan.stage(stage or context.plan.stages[-1].name)
    if not context.is_trained(chosen):
        raise refusal(f"not trained yet: {chosen.name}", f"run `codemix train {recipe}`", rule="not-trained")
    from codemix.train.run.checkpoint import load_model

    manifest = next(iter(context.manifests.values()), None)
    if manifest is None:
        raise refusal(
            "the tokenizer is known from built sources, and none is in the store",
            f"run `codemix build-data {recipe}`",
            rule="not-built",
        )
    tokenizer = manifest.tokenizer
    model = load_model(context.stage_dir(chosen), chosen.model, tokenizer["vocab_size"])
    file = stored_tokenizer(context.store, tokenizer["sha256"]).path
    print(
        export(
            model,
            chosen.model,
            output,
            seq_len=chosen.seq_len,
            eos_id=tokenizer["eos_id"],
            dtype=dtype,
            tokenizer=file,
        )
    )


def import_model(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", help="A Hugging Face model, below the data root.", show_default=False
        ),
    ],
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Print recipe lines that continue a Hugging Face model.

    Of the architectures that export-model writes.
    """
    from codemix.api.import_model import model_lines

    print(model_lines(folder, data_root).text(), end="")
