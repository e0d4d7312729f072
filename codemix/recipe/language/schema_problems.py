"""What is wrong with a document by its schema: pydantic's errors in our words, each at its place in the
file."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from codemix.errors import Problem, did_you_mean
from codemix.recipe.language.component import Spec
from codemix.recipe.language.quantities import plain_number
from codemix.recipe.language.synonyms import meant
from codemix.recipe.language.yaml_text import YamlFile, show_path

Error = Mapping[str, Any]  # one of `pydantic.ValidationError.errors()`

_WORDS: dict[str, str] = {  # pydantic's error types in our words; {x} is filled from the error's context
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
class Scope:
    """A part of a document, and the model that describes it; of a component only the names of its fields."""

    document: YamlFile
    model: type[Spec] | list[str]
    path: tuple = ()

    def nested(self, error: Error) -> Scope:
        """The scope of a component's own errors, which recipe/language/component.py carries out whole."""
        fields = error["ctx"]["fields"]
        path = self.path + error["loc"]
        return Scope(self.document, fields, path)

    def keys_around(self, path: tuple) -> list[str]:
        """The keys that the schema knows in the mapping that holds `path`."""
        if isinstance(self.model, list):
            return self.model
        return _fields_at(self.model, path[:-1])


@dataclass(frozen=True)
class Misspelt:
    """The path of a key that the schema does not know, and the keys that it knows there."""

    path: tuple
    known: list[str]

    def meant(self, n: int = 1) -> list[str]:
        key = str(self.path[-1])
        return meant(key, self.known, n)


def schema_problems(errors: Sequence[Error], scope: Scope) -> list[Problem]:
    """One problem for each thing that is wrong; a value that may take several forms and fits none is one
    thing."""
    problems: list[Problem] = []
    forms: dict[tuple, list[_Located]] = {}  # errors of the forms that a value could have, by its path
    for error in errors:
        if error["type"] == "nested":
            problems += schema_problems(error["ctx"]["errors"], scope.nested(error))
            continue
        if _counts_failed_items(error):
            continue  # their own problems are listed
        located = _located(error, scope)
        if located.union is None:
            problems.append(_problem(located, scope))
        else:
            forms.setdefault(located.union, []).append(located)
    problems = _without_implied(problems, errors, scope)
    for path, candidates in forms.items():
        problems += _problems_of_forms(path, candidates, scope)
    return problems


def misspelt_keys(errors: Sequence[Error], scope: Scope) -> Iterator[Misspelt]:
    """The keys that the schema does not know."""
    for error in errors:
        if error["type"] == "nested":
            yield from misspelt_keys(error["ctx"]["errors"], scope.nested(error))
        elif error["type"] == "extra_forbidden":
            path = _located(error, scope).path
            yield Misspelt(path, scope.keys_around(path))


def _counts_failed_items(error: Error) -> bool:
    """pydantic counts the items of a list that failed as missing."""
    if error["type"] != "too_short":
        return False
    return len(error["input"]) >= error["ctx"]["min_length"]


def _without_implied(problems: list[Problem], errors: Sequence[Error], scope: Scope) -> list[Problem]:
    """The problems without "`x` is missing" where a misspelt key of the same mapping means `x`."""
    implied = set()
    for key in misspelt_keys(errors, scope):
        for name in key.meant():
            implied.add((show_path(key.path[:-1]), f"`{name}` is missing"))

    def is_implied(problem: Problem) -> bool:
        if problem.rule != "missing-key" or problem.where is None:
            return False
        what = problem.what.split(" in ")[0]
        return (problem.where.path, what) in implied

    return [problem for problem in problems if not is_implied(problem)]


@dataclass(frozen=True)
class _Located:
    """An error, the path in the file that it is about, and where the first union on that path is."""

    error: Error
    path: tuple
    union: tuple | None

    @property
    def context(self) -> Mapping[str, Any]:
        return self.error.get("ctx") or {}

    @property
    def kind(self) -> str:
        return self.error["type"]

    @property
    def hints(self) -> tuple[str, ...]:
        hints = self.context.get("hints", ())
        return tuple(hints)

    @property
    def input_text(self) -> str:
        """The start of what is written there."""
        return str(self.error.get("input"))[:40]


def _located(error: Error, scope: Scope) -> _Located:
    """An error's place without the parts that pydantic adds for unions and keys and that the file does not
    have."""
    value = scope.document.value
    path: list[Any] = []
    union: tuple | None = None
    reported = (*scope.path, *error["loc"])
    parts = [part for part in reported if part != "[key]"]
    is_missing = error["type"] == "missing"
    last = len(parts) - 1
    for i, part in enumerate(parts):
        is_would_be = is_missing and i == last  # the place of a missing key
        if isinstance(value, dict) and (part == "from_" or part in value or str(part) in value):
            part = "from" if part == "from_" else part
            value = value.get(part, value.get(str(part)))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif not is_would_be:
            union = tuple(path) if union is None else union
            continue
        path.append(part)
    return _Located(error, tuple(path), union)


def _problems_of_forms(path: tuple, candidates: list[_Located], scope: Scope) -> list[Problem]:
    depth = len(path)
    inside = [located for located in candidates if len(located.path) > depth]
    if inside:  # of the one form that what is written could be
        return [_problem(located, scope) for located in inside]
    no_form = _no_form_fits(candidates, path, scope)
    return [no_form]


def _no_form_fits(candidates: list[_Located], path: tuple, scope: Scope) -> Problem:
    """One problem for a value that may take several forms and fits none."""
    words: list[str] = []
    typed: list[_Located] = []
    for located in candidates:
        if located.kind == "literal_error":
            words += [f"`{word}`" for word in _literals(located)]
        else:
            typed.append(located)
    for located in typed:
        if not _expectation(located).startswith("expected"):  # the form is right and the value is not
            at_path = replace(located, path=path)
            problem = _problem(at_path, scope)
            alternatives = " or ".join(words)
            more = [f"or write {alternatives}"] if words else []
            return replace(problem, hints=(*problem.hints, *more))
    forms = [_WORDS[located.kind].removeprefix("expected ") for located in typed]
    choices = " or ".join([*dict.fromkeys(forms), *words])
    what = f"expected {choices} for {_name(path)}{_not(candidates[0])}"
    numbers = [hint for hint in map(_as_number, candidates) if hint]
    hints = numbers[0] if numbers else ()
    return Problem(what, scope.document.where(path), hints, "schema")


def _expectation(located: _Located) -> str:
    return _WORDS.get(located.kind, "")


def _problem(located: _Located, scope: Scope) -> Problem:
    special = _SPECIAL.get(located.kind)
    if special is not None:
        return special(located, scope)
    at = located.context.get("at", ())
    where = scope.document.where((*located.path, *at))
    if located.kind not in _WORDS:
        rule = _RULES.get(located.kind, "schema")
        return Problem(located.error["msg"], where, located.hints, rule)
    what = _in_words(located) + _not(located)
    return Problem(what, where, located.hints or _as_number(located), "schema")


def _in_words(located: _Located) -> str:
    words = _WORDS[located.kind].format(**located.context)
    if not located.path:
        return words
    name = _name(located.path)
    return f"{words} for {name}" if words.startswith("expected") else f"{name} {words}"


def _unknown_key(located: _Located, scope: Scope) -> Problem:
    path = located.path
    key = Misspelt(path, scope.keys_around(path))
    likely = [f"`{name}`" for name in key.meant(2)]
    hints = did_you_mean(str(path[-1]), key.known)
    if likely:
        hints = (f"did you mean {' or '.join(likely)}?",)
    where = scope.document.where(path, key=True)
    return Problem(f"`{path[-1]}` is not a key here", where, hints, "unknown-key")


def _missing_key(located: _Located, scope: Scope) -> Problem:
    around = located.path[:-1]
    key = located.path[-1]
    inside = f" in `{show_path(around)}`" if around else ""
    where = scope.document.where(around, key=True)
    what = f"`{key}` is missing{inside}"
    return Problem(what, where, (), "missing-key")


def _wrong_word(located: _Located, scope: Scope) -> Problem:
    written = located.input_text
    words = _literals(located)
    quoted = [f"`{word}`" for word in words]
    choices = ", ".join(quoted)
    what = f"`{written}` is not one of {choices}"
    nearest = did_you_mean(written, words)[:1]
    hints = nearest if len(words) > 3 else ()  # of a few words each is in the message
    where = scope.document.where(located.path)
    return Problem(what, where, hints, "schema")


def _not_a_name(located: _Located, scope: Scope) -> Problem:
    is_key = "[key]" in located.error["loc"]
    where = scope.document.where(located.path, key=is_key)
    hint = "a name has lower-case letters, digits and . _ + -, and at most 64 of them"
    return Problem(f"`{located.input_text}` is not a name", where, (hint,), "name")


_SPECIAL = {
    "extra_forbidden": _unknown_key,
    "missing": _missing_key,
    "literal_error": _wrong_word,
    "string_pattern_mismatch": _not_a_name,
}
_RULES = {"quantity": "quantity", "component_kind": "unknown-kind", "plugin": "plugin"}


def _as_number(located: _Located) -> tuple[str, ...]:
    """How to write a quantity with a unit as the plain number that is wanted."""
    wanted = _expectation(located)
    number = plain_number(located.error.get("input"))
    if number is None or "number" not in wanted:
        return ()
    fits = number.isdigit() or "whole" not in wanted
    return (f"write `{number}`",) if fits else ()


def _literals(located: _Located) -> list[str]:
    expected = located.context.get("expected", "")
    matches = re.findall(r"'([^']*)'|\b(\d+)\b", expected)
    return [quoted or number for quoted, number in matches]


def _name(path: tuple) -> str:
    """The last key of a path, with what is counted inside it."""
    start = len(path) - 1
    while start > 0 and not isinstance(path[start], str):
        start -= 1
    return f"`{show_path(path[start:])}`"


def _not(located: _Located) -> str:
    given = located.error.get("input")
    if isinstance(given, (dict, list)):
        return ""
    if given is None:
        return ", not nothing"
    if isinstance(given, bool):
        return f", not {str(given).lower()}"
    return f", not `{str(given)[:40]}`"


def _fields_at(model: Any, path: tuple) -> list[str]:
    """The keys that the schema knows at a path, for "did you mean"."""
    for part in path:
        fields = _fields(model)
        if fields:
            model = fields.get(part)
        else:  # a list or a mapping of something: any key leads to the something
            inside = [arg for arg in typing.get_args(_model_in(model)) if arg is not Ellipsis]
            model = inside[-1] if inside else None
    return list(_fields(model))


def _fields(annotation: Any) -> dict[str, Any]:
    """The annotations of a model's fields by the keys of the file; empty for what is not a model."""
    model = _model_in(annotation)
    fields = getattr(model, "model_fields", None) or {}
    annotations = {}
    for name, field in fields.items():
        key = field.alias or name
        annotations[key] = field.annotation
    return annotations


_WRAPPERS = (typing.Union, types.UnionType, typing.Annotated)


def _model_in(annotation: Any) -> Any:
    """The model or container inside `X | None` and `Annotated[X, ...]`."""
    while typing.get_origin(annotation) in _WRAPPERS:
        arguments = typing.get_args(annotation)
        inner = [arg for arg in arguments if arg is not type(None)]
        models = [arg for arg in inner if hasattr(arg, "model_fields")]
        annotation = models[0] if models else inner[0]
    return annotation
