"""A recipe as a file, or as it was at a revision in git."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.diffs import repository
from codemix.recipe.language import recipe_file, yaml_text
from codemix.recipe.planning.plan import Plan


def load_side(side: str) -> Plan:
    """The plan of one side; sizes as declared. Raises CodemixError when it has problems."""
    return validation.check(read_side(side)).require()


def read_side(side: str) -> recipe_file.RecipeFile:
    """A recipe file, or what `REVISION:PATH` is in git. Raises CodemixError when it is not a recipe."""
    if ":" not in side or Path(side).exists():
        return recipe_file.read_recipe(side)
    revision, _, path = side.partition(":")
    then = recipe_file.parse_recipe(at_revision(revision, path), side)
    # `init_from` is looked up beside the file as it is now
    document = dataclasses.replace(then.document, file=path)
    return recipe_file.RecipeFile(then.recipe, document)


def at_revision(revision: str, path: str) -> str:
    """The text of a file at a git revision. Raises CodemixError when git has no such thing."""
    folder, name = Path(path).parent, Path(path).name
    if revision.startswith("-") or not revision:
        raise CodemixError(
            f"`{revision}` is not a git revision",
            hints=["write REVISION:PATH, for example `HEAD~1:recipes/x.yaml`"],
            rule="git",
        )
    if not folder.is_dir():
        raise CodemixError(
            f"there is no folder {folder}", hints=["give the path as it is from here"], rule="git"
        )
    done = repository.show(folder, f"{revision}:./{name}")
    if done.returncode:
        raise CodemixError(
            f"git has no {name} at {revision}: {repository.reason(done)}",
            hints=["`git log -- PATH` lists the revisions of a file"],
            rule="git",
        )
    if len(done.stdout) > yaml_text.MAX_BYTES:
        raise CodemixError(
            f"{name} at {revision} is larger than {yaml_text.MAX_BYTES:,} bytes",
            hints=["is this a recipe?"],
            rule="file",
        )
    return done.stdout.decode("utf-8", errors="replace").removeprefix("\ufeff")
