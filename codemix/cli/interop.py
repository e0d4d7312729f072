"""Commands for other tools' mixtures: import and export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from codemix.cli.context import RecipeArg


def import_(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="megatron, nanotron, levanter or olmo-core.", show_default=False
        ),
    ],
    path: Annotated[Path, typer.Argument(help="The other tool's file.", show_default=False)],
) -> None:
    """Turn another tool's mixture into a recipe.

    What did not add up is said on standard error.
    """
    from codemix.recipe.interop.mixtures import import_mixture, recipe_text

    imported = import_mixture(form, path)
    for note in imported.notes:
        print(f"note: {note}", file=sys.stderr)
    print(recipe_text(imported), end="")


def export(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="megatron, nanotron, levanter or olmo-core.", show_default=False
        ),
    ],
    recipe: RecipeArg,
) -> None:
    """Write a recipe's mixture in another tool's form."""
    from codemix.recipe.checks import validation
    from codemix.recipe.interop.mixtures import export_mixture
    from codemix.recipe.language import recipe_file

    checked = validation.check(recipe_file.read_recipe(recipe))
    exported = export_mixture(form, checked.require())
    for note in exported.notes:
        print(f"note: {note}", file=sys.stderr)
    print(exported.text, end="")
