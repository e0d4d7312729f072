"""Lists of a recipe of which one item may stand alone: `keep: en` for `keep: [en]`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from codemix.recipe.language.mixture_schema import Name


def one_or_several(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return value


_TEXT = {"type": "string"}
_SCHEMA = WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]})
Texts = Annotated[tuple[str, ...], BeforeValidator(one_or_several), _SCHEMA]
Names = Annotated[tuple[Name, ...], BeforeValidator(one_or_several), _SCHEMA]
