"""Lists of which one item may stand alone, as in a recipe `keep: en` for `keep: [en]`."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from codemix.recipe.language.mixture_schema import Name


def one_or_several(value: Any) -> Any:
    """A list of what is given; a text or a path is one item, not its letters."""
    if isinstance(value, (str, os.PathLike)):
        return (value,)
    return value


_TEXT = {"type": "string"}
_SCHEMA = WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]})
Texts = Annotated[tuple[str, ...], BeforeValidator(one_or_several), _SCHEMA]
Names = Annotated[tuple[Name, ...], BeforeValidator(one_or_several), _SCHEMA]
