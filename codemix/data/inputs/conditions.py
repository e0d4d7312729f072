"""`where:` - exact conditions on fields, for sources (on raw rows) and for the op of that name (on what is
known of a document)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WrapValidator, field_validator, model_validator
from pydantic_core import PydanticCustomError

from codemix.data.inputs.decompression import Damaged
from codemix.data.inputs.values import SURE, Digits, number, plain
from codemix.recipe.language.component import Spec

Scalar = str | int | float | bool


def _bound(value: Any, as_float: Callable[[Any], float]) -> float:
    """A float, or the whole number as it is written where a float would round it."""
    bound = as_float(value)
    is_rounded = value.__class__ is int and bound != value
    if is_rounded:
        return value
    return bound


Bound = Annotated[float, WrapValidator(_bound)]
MISSING = object()  # what a field path yields where there is nothing; None, null in the data, means the same


class Condition(Spec):
    """What one field must be. On a list (licences, say) `in` wants one of its items, `not_in` and `all_in`
    look at every one.

    Values are compared as `metadata:` keeps them: a date, or a number that JSON readers would round, as its
    text.
    """

    in_: tuple[Scalar, ...] | None = Field(None, alias="in", description="one of these values")
    not_in: tuple[Scalar, ...] | None = Field(None, description="none of these values")
    all_in: tuple[Scalar, ...] | None = Field(
        None, description="every item of a list is one of these, and there is at least one"
    )
    min: Bound | None = Field(None, description="a number, at least this")
    max: Bound | None = Field(None, description="a number, at most this")
    missing: Literal["error", "keep", "drop"] = Field(
        "error", description="where the field is missing or null: an error (it may be a slip), keep, or drop"
    )

    @field_validator("in_", "not_in", "all_in", mode="before")
    @classmethod
    def _null_is_missing(cls, values: Any) -> Any:
        if not isinstance(values, (list, tuple)):
            return values
        if None in values:
            hints = ["say what becomes of it with `missing: keep` or `missing: drop`"]
            raise PydanticCustomError(
                "condition",
                "a field that is null counts as missing, so null is not a value here",
                {"hints": hints},
            )
        as_in_data = [Digits(value) if value.__class__ is int else value for value in values]
        return [plain(value, "") for value in as_in_data]

    @model_validator(mode="after")
    def _says_something(self):
        if all(v is None for v in (self.in_, self.not_in, self.all_in, self.min, self.max)):
            what = "a condition needs `in`, `not_in`, `all_in`, `min` or `max`"
            raise PydanticCustomError("condition", what, {"hints": ["for example `{in: [a, b]}`"]})
        return self

    def holds(self, value: Any) -> bool:
        """Whether a value that is there satisfies the condition. Raises Damaged for no number where `min` or
        `max` wants one."""
        items = value if isinstance(value, list) else (value,)
        if self.in_ is not None and not any(_among(i, self.in_) for i in items):
            return False
        if self.not_in is not None and any(_among(i, self.not_in) for i in items):
            return False
        if self.all_in is not None and not (items and all(_among(i, self.all_in) for i in items)):
            return False
        if self.min is None and self.max is None:
            return True
        return self._is_between(value)

    def _is_between(self, value: Any) -> bool:
        found = number(value)
        if found is None:
            kind = f"the text `{value[:40]}`" if isinstance(value, str) else type(value).__name__
            raise Damaged("not_a_number", f"`min` and `max` compare numbers, and found {kind}")
        if math.isnan(found):
            raise Damaged("not_a_number", "`min` and `max` compare numbers, and found NaN")
        if self.min is not None and found < self.min:
            return False
        return self.max is None or found <= self.max


def _among(value: Any, allowed: tuple[Scalar, ...]) -> bool:
    """Equality as JSON has it: `true` is not 1."""
    is_bool = isinstance(value, bool)
    for one in allowed:
        if isinstance(one, bool) is not is_bool:
            continue
        if value == one:
            return True
    return False


def _condition(value: Any) -> Any:
    """`field: x` stands for `field: {in: [x]}`, `field: [x, y]` for `field: {in: [x, y]}`."""
    if isinstance(value, (Condition, dict)):
        return value
    return {"in": list(value) if isinstance(value, (list, tuple)) else [value]}


class _ShortForms:
    """The short forms in the JSON Schema that editors read."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        full = handler(core_schema)
        scalar = {"type": ["string", "number", "boolean"]}
        return {"anyOf": [full, scalar, {"type": "array"}]}


Where = dict[str, Annotated[Condition, BeforeValidator(_condition), _ShortForms()]]


def field_getter(path: str) -> Callable[[dict], Any]:
    """A function that finds `a.b.c` in nested mappings, or a key of exactly that name; MISSING where there is
    none."""
    steps = path.split(".")
    if len(steps) == 1:
        return lambda row: row.get(path, MISSING)

    def get(row: dict) -> Any:
        value: Any = row
        for step in steps:
            if not isinstance(value, dict) or step not in value:
                return row.get(path, MISSING)
            value = value[step]
        return value

    return get


def compiled(where: Where, *, rounded: bool = False) -> Callable[[dict], tuple[bool, str]]:
    """A function of a row: (whether it passes, the field that is missing and must not be).

    It raises what `plain` and `Condition.holds` raise; `rounded` is as there.
    """
    checks = [(path, field_getter(path), condition) for path, condition in where.items()]

    def passes(row: dict) -> tuple[bool, str]:
        for path, get, condition in checks:
            value = get(row)
            if value is MISSING or value is None:
                if condition.missing == "error":
                    return False, path
                if condition.missing == "drop":
                    return False, ""
            elif not condition.holds(
                value if value.__class__ in SURE else plain(value, path, rounded=rounded)
            ):
                return False, ""
        return True, ""

    return passes
