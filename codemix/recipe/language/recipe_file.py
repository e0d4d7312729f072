"""A recipe file -> a `Recipe`, or every problem in it at once, each at its place."""

from __future__ import annotations

import copy
import functools
import operator
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language import schema, yaml_text
from codemix.recipe.language.component import Spec
from codemix.recipe.language.quantities import plain_number
from codemix.recipe.language.synonyms import meant

_WORDS = {  # pydantic's error types in our words; {x} is filled from the error's context
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_short": "needs at least {min_length}",
    "too_long": "takes at most {max_length}",
    "finite_number": "must be a finite number",
}


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
        raise CodemixError(
            Problem(
                "this is a study, not a recipe",
                document.where(("study",), key=True),
                (hint,),
                "study-not-recipe",
            )
        )
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

    None when it has none, or when that is no recipe either."""
    without: set[tuple] = set()
    value = copy.deepcopy(document.value)
    try:
        schema.Recipe.model_validate(value)
    except ValidationError as error:
        for path, known in list(_misspelt(error.errors(), document, (), schema.Recipe)):
            holder = functools.reduce(operator.getitem, path[:-1], value)
            given = holder.pop(path[-1])
            names = meant(str(path[-1]), known)
            for name in names:
                holder.setdefault(name, given)
            if not names:
                without.add(path[:-1])
    except RecursionError:
        pass
    try:
        if value == document.value:
            return None
        return Meant(of_document(replace(document, value=value)), frozenset(without))
    except CodemixError:
        return None


def is_study(document: yaml_text.YamlFile) -> bool:
    """Whether a document is a study: it has a key `study`."""
    return isinstance(document.value, dict) and "study" in document.value


def validate(model: type[Spec], document: yaml_text.YamlFile) -> Any:
    """`document.value` as a `model`. Raises CodemixError with every problem, in file order."""
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        problems = _problems(error.errors(), document, (), model)
    except RecursionError:
        problems = [Problem("nested too deeply", document.where(()), (), "schema")]
    unique = {(p.what, p.where and (p.where.line, p.where.column)): p for p in problems}
    raise CodemixError(*sorted(unique.values(), key=lambda p: (p.where.line, p.where.column)))


def _problems(errors: list[dict], document: yaml_text.YamlFile, base: tuple, model: Any) -> list[Problem]:
    out, unions = [], {}
    for e in errors:
        context, loc = e.get("ctx") or {}, base + e["loc"]
        if (
            e["type"] == "nested"
        ):  # a component's own errors, carried out whole by recipe/language/component.py
            out += _problems(context["errors"], document, loc, context["fields"])
            continue
        if e["type"] == "too_short" and len(e["input"]) >= context["min_length"]:
            continue  # pydantic counts the items that failed as missing; their own problems are listed
        path, union = _existing(loc, document, missing=e["type"] == "missing")
        if union is None:
            out.append(_problem(e, path, document, model))
        else:
            unions.setdefault(union, []).append((e, path))
    out = _without_implied(out, errors, document, base, model)
    for at, found in unions.items():
        inner = [
            (e, path) for e, path in found if len(path) > len(at)
        ]  # of the one form that what is written could be
        out += [_problem(e, path, document, model) for e, path in inner] or [
            _no_form_fits([e for e, _ in found], at, document, model)
        ]
    return out


def _without_implied(
    problems: list[Problem], errors: list[dict], document: yaml_text.YamlFile, base: tuple, model: Any
) -> list[Problem]:
    """The problems without "`x` is missing" where a misspelt key of the same mapping stands for `x`."""
    stands_for = {
        (yaml_text.show_path(path[:-1]), f"`{name}` is missing")
        for path, known in _misspelt(errors, document, base, model)
        for name in meant(str(path[-1]), known)[:1]
    }

    def implied(problem: Problem) -> bool:
        return (
            problem.rule == "missing-key"
            and (problem.where.path, problem.what.split(" in ")[0]) in stands_for
        )

    return [p for p in problems if not implied(p)]


def _misspelt(
    errors: list[dict], document: yaml_text.YamlFile, base: tuple, model: Any
) -> Iterator[tuple[tuple, list[str]]]:
    """The path of each key that the schema does not know, and what it knows there."""
    for e in errors:
        if e["type"] == "nested":
            yield from _misspelt(e["ctx"]["errors"], document, base + e["loc"], e["ctx"]["fields"])
        elif e["type"] == "extra_forbidden":
            path, _ = _existing(base + e["loc"], document, missing=False)
            yield path, _known(model, path)


def _known(model: Any, path: tuple) -> list[str]:
    return model if isinstance(model, list) else _fields_at(model, path[:-1])


def _existing(loc: tuple, document: yaml_text.YamlFile, *, missing: bool) -> tuple[tuple, tuple | None]:
    """`loc` without the parts that pydantic adds for unions and keys and that the file does not have, and
    where the first union is."""
    value, path, union = document.value, [], None
    for i, part in enumerate(loc):
        if part == "[key]":
            continue
        if isinstance(value, dict) and (part in value or str(part) in value or part in ("from_",)):
            part = "from" if part == "from_" else part
            value = value.get(part, value.get(str(part)))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif not (missing and i == len(loc) - 1):  # the would-be place of a missing key is part of the path
            union = tuple(path) if union is None else union
            continue
        path.append(part)
    return tuple(path), union


def _no_form_fits(errors: list[dict], path: tuple, document: yaml_text.YamlFile, model: Any) -> Problem:
    """One problem for a value that may take several forms and fits none."""
    words = [f"`{w}`" for e in errors if e["type"] == "literal_error" for w in _literals(e)]
    close = [
        e
        for e in errors
        if e["type"] != "literal_error" and not _WORDS.get(e["type"], "").startswith("expected")
    ]
    if close:  # the form is right and the value is not
        problem = _problem(close[0], path, document, model)
        return replace(
            problem, hints=(*problem.hints, *([f"or write {' or '.join(words)}"] if words else []))
        )
    forms = [_WORDS[e["type"]].removeprefix("expected ") for e in errors if e["type"] != "literal_error"]
    what = f"expected {' or '.join([*dict.fromkeys(forms), *words])} for {_name(path)}{_not(errors[0].get('input'))}"
    return Problem(what, document.where(path), next(filter(None, map(_number, errors)), ()), "schema")


def _problem(e: dict, path: tuple, document: yaml_text.YamlFile, model: Any) -> Problem:
    kind, context = e["type"], e.get("ctx") or {}
    hints = tuple(context.get("hints", ()))
    if kind == "extra_forbidden":
        known = _known(model, path)
        likely = meant(str(path[-1]), known, 2)
        hints = (
            (f"did you mean {' or '.join(f'`{k}`' for k in likely)}?",)
            if likely
            else did_you_mean(str(path[-1]), known)
        )
        return Problem(
            f"`{path[-1]}` is not a key here", document.where(path, key=True), hints, "unknown-key"
        )
    if kind == "missing":
        inner = f" in `{yaml_text.show_path(path[:-1])}`" if path[:-1] else ""
        return Problem(
            f"`{path[-1]}` is missing{inner}", document.where(path[:-1], key=True), (), "missing-key"
        )
    if kind == "literal_error":
        given, words = str(e.get("input"))[:40], _literals(e)
        near = did_you_mean(given, words)[:1] if len(words) > 3 else ()
        return Problem(
            f"`{given}` is not one of {', '.join(f'`{w}`' for w in words)}",
            document.where(path),
            near,
            "schema",
        )
    if kind == "string_pattern_mismatch":
        hint = "a name has lower-case letters, digits and . _ + -, and at most 64 of them"
        return Problem(
            f"`{str(e.get('input'))[:40]}` is not a name",
            document.where(path, key="[key]" in e["loc"]),
            (hint,),
            "name",
        )
    where = document.where((*path, *context["at"])) if "at" in context else document.where(path)
    if kind not in _WORDS:
        return Problem(
            e["msg"],
            where,
            hints,
            {"quantity": "quantity", "component_kind": "unknown-kind", "plugin": "plugin"}.get(
                kind, "schema"
            ),
        )
    words = _WORDS[kind].format(**context)
    what = (
        words
        if not path
        else f"{words} for {_name(path)}"
        if words.startswith("expected")
        else f"{_name(path)} {words}"
    )
    return Problem(what + _not(e.get("input")), where, hints or _number(e), "schema")


def _number(e: dict) -> tuple[str, ...]:
    """How to write a quantity with a unit as the plain number that is wanted."""
    wanted, number = _WORDS.get(e["type"], ""), plain_number(e.get("input"))
    fits = number is not None and ("whole" not in wanted or number.isdigit())
    return (f"write `{number}`",) if fits and "number" in wanted else ()


def _literals(e: dict) -> list[str]:
    return [a or b for a, b in re.findall(r"'([^']*)'|\b(\d+)\b", (e.get("ctx") or {}).get("expected", ""))]


def _name(path: tuple) -> str:
    """The last key of a path, with what is counted inside it."""
    n = next((i for i, part in enumerate(reversed(path), 1) if isinstance(part, str)), len(path))
    return f"`{yaml_text.show_path(path[-n:])}`"


def _not(given: Any) -> str:
    return "" if isinstance(given, (dict, list)) else f", not {_show(given)}"


def _show(value: Any) -> str:
    return (
        "nothing"
        if value is None
        else str(value).lower()
        if isinstance(value, bool)
        else f"`{str(value)[:40]}`"
    )


def _fields_at(model: Any, path: tuple) -> list[str]:
    """The keys that the schema knows at a path, for "did you mean"."""
    for part in path:
        model = _model_in(model)
        fields = getattr(model, "model_fields", None)
        if fields is not None:
            model = {f.alias or n: f.annotation for n, f in fields.items()}.get(part)
        else:  # a list or a mapping of something: any key leads to the something
            model = next(iter([a for a in typing.get_args(model) if a is not Ellipsis][-1:]), None)
    return [f.alias or n for n, f in (getattr(_model_in(model), "model_fields", None) or {}).items()]


def _model_in(annotation: Any) -> Any:
    """The model or container inside `X | None` and `Annotated[X, ...]`."""
    while typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        annotation = next((a for a in inner if hasattr(a, "model_fields")), inner[0])
    return annotation
