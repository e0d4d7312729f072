"""A recipe file -> a `Recipe`, or every problem in it at once, each at its place."""

from __future__ import annotations

import copy
import functools
import operator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from codemix.errors import CodemixError, Problem, in_file_order
from codemix.recipe.language import schema, yaml_text
from codemix.recipe.language.component import Spec
from codemix.recipe.language.schema_problems import Misspelt, Scope, misspelt_keys, schema_problems

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class RecipeFile:
    """A recipe together with the text it came from, for problems found later."""

    recipe: schema.Recipe
    document: yaml_text.YamlFile

    @property
    def folder(self) -> Path:
        return Path(self.document.file).resolve().parent


def read_recipe(path: str | Path) -> RecipeFile:
    """The recipe in a file. Raises CodemixError with every syntax and schema problem."""
    return of_document(yaml_text.load(path))


def parse_recipe(content: str, file: str) -> RecipeFile:
    """The recipe in `content`; `file` is the name that problems show."""
    return of_document(yaml_text.parse(content, file))


def of_document(document: yaml_text.YamlFile) -> RecipeFile:
    """The recipe in a document."""
    if is_study(document):
        hint = "use `codemix study`, which expands it into recipes"
        where = document.where(("study",), key=True)
        raise CodemixError(Problem("this is a study, not a recipe", where, (hint,), "study-not-recipe"))
    return RecipeFile(validate(schema.Recipe, document), document)


@dataclass(frozen=True)
class Meant:
    """What a document with misspelt keys probably means, and the mappings of which a key had to be left
    out."""

    source: RecipeFile
    without: frozenset[tuple]


def as_meant(document: yaml_text.YamlFile) -> Meant | None:
    """The recipe that a document with misspelt keys probably means: each under the name that the schema has
    for it, or left out.

    None if nothing is misspelt, or the corrected document is still invalid."""
    value = copy.deepcopy(document.value)
    try:
        schema.Recipe.model_validate(document.value)
        return None
    except RecursionError:
        return None
    except ValidationError as error:
        keys = list(misspelt_keys(error.errors(), Scope(document, schema.Recipe)))
    without = [key.path[:-1] for key in keys if not _renamed(value, key)]
    if value == document.value:
        return None
    try:
        corrected = of_document(replace(document, value=value))
    except CodemixError:
        return None
    return Meant(corrected, frozenset(without))


def _renamed(value: Any, key: Misspelt) -> bool:
    """Give what is under a misspelt key to the key that it means; without one it is left out, and False."""
    holder = functools.reduce(operator.getitem, key.path[:-1], value)
    given = holder.pop(key.path[-1])
    names = key.meant()
    for name in names:
        holder.setdefault(name, given)
    return bool(names)


def is_study(document: yaml_text.YamlFile) -> bool:
    """Whether a document is a study: it has a key `study`."""
    content = document.value
    return isinstance(content, dict) and "study" in content


def validate(model: type[S], document: yaml_text.YamlFile) -> S:
    """`document.value` as a `model`. Raises CodemixError with every problem, in file order."""
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        problems = schema_problems(error.errors(), Scope(document, model))
    except RecursionError:
        problems = [Problem("nested too deeply", document.where(()), (), "schema")]
    raise CodemixError(*in_file_order(problems))
