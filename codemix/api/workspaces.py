"""The recipes that files name, a study's points among them, each looked up in a store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from codemix.data.store.store import Store
from codemix.data.workspace import Workspace, open_workspace
from codemix.recipe.language import recipe_file, yaml_text


def workspaces(
    paths: Iterable[Path], store: str | Path | Store, data_root: Path
) -> tuple[str, list[Workspace]]:
    """The question (of a study, if one is given) and a workspace for each recipe that the paths name."""
    from codemix.eval.run_study import contexts
    from codemix.recipe.studies.study import load_study

    place = Store.of(store)
    question = ""
    found: list[Workspace] = []
    for path in paths:
        document = yaml_text.load(path)
        if recipe_file.is_study(document):
            question = question or load_study(path).spec.question
            found += contexts(path, place, data_root)
        else:
            recipe = recipe_file.of_document(document)
            found.append(open_workspace(recipe, place, data_root))
    return question, found
