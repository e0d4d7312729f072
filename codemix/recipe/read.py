"""A recipe file -> a `Recipe`, or every problem in it at once, each at its place."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe import schema, text
from codemix.recipe.component import Spec

_WORDS = {  # pydantic's error types in our words; {x} is filled from the error's context
    "missing": "`{field}` is missing",
    "string_type": "expected text",
    "int_type": "expected a whole number", "int_parsing": "expected a whole number", "int_from_float": "expected a whole number",
    "float_type": "expected a number", "float_parsing": "expected a number",
    "bool_type": "expected true or false", "bool_parsing": "expected true or false",
    "dict_type": "expected a mapping", "model_type": "expected a mapping", "model_attributes_type": "expected a mapping",
    "tuple_type": "expected a list", "list_type": "expected a list",
    "greater_than_equal": "must be at least {ge}", "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}", "less_than": "must be less than {lt}",
    "too_short": "needs at least {min_length}", "too_long": "takes at most {max_length}", "finite_number": "must be a finite number",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A recipe together with the text it came from, for problems found later."""

    recipe: schema.Recipe
    document: text.Document

    @property
    def folder(self) -> Path:
        return Path(self.document.file).resolve().parent


def read_recipe(path: str | Path) -> Source:
    """The recipe in a file. Raises CodemixError with every syntax and schema problem."""
    return parse_recipe(text.read_text(path), str(path))


def parse_recipe(content: str, file: str) -> Source:
    """The recipe in `content`; `file` is the name that problems show."""
    document = text.parse(content, file)
    if isinstance(document.value, dict) and "study" in document.value:
        raise CodemixError(
            Problem(
                "this is a study, not a recipe",
                document.where(("study",), key=True),
                ("use `codemix study`, which expands it into recipes",),
                "study-not-recipe",
            )
        )
    return Source(validate(schema.Recipe, document), document)


def validate(model: type[Spec], document: text.Document) -> Any:
    """`document.value` as a `model`. Raises CodemixError with every problem, in file order."""
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        problems = _problems(error.errors(), document, (), model)
    except RecursionError:
        problems = [Problem("nested too deeply", document.where(()), (), "schema")]
    unique = {(p.what, p.where and (p.where.line, p.where.column)): p for p in problems}
    raise CodemixError(*sorted(unique.values(), key=lambda p: (p.where.line, p.where.column)))


def _problems(errors: list[dict], document: text.Document, base: tuple, model: Any) -> list[Problem]:
    out = []
    for e in errors:
        context = e.get("ctx") or {}
        loc = base + tuple(
            p for p in e["loc"] if not (isinstance(p, str) and re.match(r"(function-|constrained-|tagged-|lax-or|json-or|is-instance|chain\[)", p))
        )
        if e["type"] == "nested":  # a component's own errors, carried out whole by recipe/component.py
            out += _problems(context["errors"], document, loc, context["fields"])
            continue
        if e["type"] == "too_short" and len(e["input"]) >= context["min_length"]:
            continue  # pydantic counts the items that failed as missing; their own problems are listed
        out.append(_problem(e, context, _existing(loc, document), document, model))
    return out


def _existing(loc: tuple, document: text.Document) -> tuple:
    """`loc` without the parts that pydantic adds for unions and keys and that the file does not have."""
    value, path = document.value, []
    for i, part in enumerate(loc):
        if part == "[key]":
            continue
        if isinstance(value, dict) and (part in value or str(part) in value or part in ("from_",)):
            part = "from" if part == "from_" else part
            value = value.get(part, value.get(str(part)))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif i == len(loc) - 1:
            pass  # a missing key: its would-be place
        else:
            continue
        path.append(part)
    return tuple(path)


def _problem(e: dict, context: dict, path: tuple, document: text.Document, model: Any) -> Problem:
    kind, hints = e["type"], tuple(context.get("hints", ()))
    if kind == "extra_forbidden":
        known = _fields_at(model, path[:-1]) if not isinstance(model, list) else model
        return Problem(f"`{path[-1]}` is not a key here", document.where(path, key=True), did_you_mean(str(path[-1]), known), "unknown-key")
    if kind == "missing":
        inner = f" in `{text.show_path(path[:-1])}`" if path[:-1] else ""
        return Problem(f"`{path[-1]}` is missing{inner}", document.where(path[:-1], key=True), (), "missing-key")
    if kind in ("literal_error",):
        given = str(e.get("input"))[:40]
        expected = re.findall(r"'([^']*)'|\b(\d+)\b", context.get("expected", ""))
        words = [a or b for a, b in expected]
        return Problem(
            f"`{given}` is not one of {', '.join(f'`{w}`' for w in words)}",
            document.where(path),
            did_you_mean(given, words)[:1] if len(words) > 3 else (),
            "schema",
        )
    if kind == "string_pattern_mismatch":
        return Problem(
            f"`{str(e.get('input'))[:40]}` is not a name", document.where(path, key="[key]" in e["loc"]),
            ("a name has lower-case letters, digits and . _ + -, and at most 64 of them",), "name",
        )  # fmt: skip
    where = document.where((*path, *context["at"])) if "at" in context else document.where(path)
    given = e.get("input")
    shown = f", not {_show(given)}" if kind in _WORDS and not isinstance(given, (dict, list)) else ""
    what = _WORDS[kind].format(field=path[-1] if path else "", **context) + shown if kind in _WORDS else e["msg"]
    if what.startswith(("must", "needs", "takes", "expected")) and path:
        what = f"`{path[-1]}` {what}" if not what.startswith("expected") else f"{what} for `{path[-1]}`"
    return Problem(what, where, hints, {"quantity": "quantity", "component_kind": "unknown-kind"}.get(kind, "schema"))


def _show(value: Any) -> str:
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else f"`{str(value)[:40]}`"


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
