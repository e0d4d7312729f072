"""What the JSON Schema allows at a path of a recipe that is being written."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from codemix.recipe.language import component
from codemix.recipe.reference import json_schema

Schema = dict[str, Any]


@functools.cache
def _root(is_study: bool) -> Schema:
    return json_schema.study_schema() if is_study else json_schema.recipe_schema()


def shapes_at(value: Any, path: tuple) -> list[Schema]:
    """The schemas that what is at `path` may follow; of components, only those of the `kind` that is
    written."""
    is_study = isinstance(value, dict) and "study" in value
    root = _root(is_study)
    shapes = list(_alternatives(root, root, value))
    for part in path:
        value = _inside(value, part)
        inner: list[Schema] = []
        for shape in shapes:
            for step in _step(shape, part):
                inner += _alternatives(root, step, value)
        shapes = inner
    return shapes


def _inside(value: Any, part: Any) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _step(shape: Schema, part: Any) -> Iterator[Schema]:
    if isinstance(part, int):
        items = shape.get("items")
        if isinstance(items, dict):
            yield items
        return
    properties = shape.get("properties", {})
    if part in properties:
        yield properties[part]
        return
    yield from shape.get("patternProperties", {}).values()
    others = shape.get("additionalProperties")
    if isinstance(others, dict):
        yield others


def _alternatives(root: Schema, shape: Schema, value: Any) -> Iterator[Schema]:
    """A schema with its references followed and its choices apart, each with the description around it."""
    yield shape
    around = {}
    if "description" in shape:
        around["description"] = shape["description"]
    for key in ("allOf", "anyOf"):
        for inner in shape.get(key, ()):
            described_inner = around | inner
            yield from _alternatives(root, described_inner, value)
    if "$ref" not in shape:
        return
    name = shape["$ref"].removeprefix("#/$defs/")
    target = root["$defs"][name]
    if _fits(target, value):
        yield from _alternatives(root, target, value)


def _fits(shape: Schema, value: Any) -> bool:
    """Whether a component of this kind may be meant."""
    if not isinstance(value, dict):
        return True
    properties = shape.get("properties", {})
    kind = properties.get("kind", {}).get("const")
    written = value.get("kind")
    if kind is None or written == kind:
        return True
    is_known = [written in component.kinds(family) for family in component.FAMILIES]
    return not any(is_known)


def described(shapes: list[Schema]) -> str:
    """The first description among schemas."""
    for shape in shapes:
        if "description" in shape:
            return shape["description"]
    return ""
