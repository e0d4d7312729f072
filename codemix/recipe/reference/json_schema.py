"""JSON Schema of recipes and studies for editors, made from the models and every component kind.

docs/recipe.schema.json and docs/study.schema.json are its output; a test keeps them equal to it. Regenerate
with `python -m codemix.recipe.docs`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from codemix.recipe.language import component
from codemix.recipe.language.component import Spec
from codemix.recipe.language.schema import Recipe
from codemix.recipe.studies.study_spec import StudySpec

Schema = dict[str, Any]
Kinds = Callable[[str], list[str]]
DIALECT = "http://json-schema.org/draft-07/schema#"


def recipe_schema(kinds: Kinds = component.kinds) -> Schema:
    """The JSON Schema of a recipe. Imports every component, so it is not part of `validate`."""
    return _assemble(Recipe, "A codemix recipe", kinds)


def study_schema() -> Schema:
    """The JSON Schema of a study. Its overrides are free: they are checked once the study is expanded."""
    return _assemble(StudySpec, "A codemix study", component.built_in_kinds)


def file_schema() -> Schema:
    """The JSON Schema of a file named `*.codemix.yaml`, which holds a recipe or a study: for SchemaStore."""
    return {
        "$schema": DIALECT,
        "title": "A codemix recipe or study",
        "type": "object",
        "if": {"required": ["study"]},
        "then": {"$ref": "study.schema.json"},
        "else": {"$ref": "recipe.schema.json"},
    }


def as_text(value: Schema) -> str:
    """The schema as the file holds it."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return text + "\n"


def _assemble(model: type[Spec], title: str, kinds_of: Kinds) -> Schema:
    definitions: Schema = {}
    body = _of(model, definitions)
    for family in component.FAMILIES:
        if _mentions([body, definitions], family):
            _define_family(family, kinds_of(family), definitions)
    if "Model" in definitions:  # a preset stands in for the shape
        shape = definitions["Model"].pop("required")
        definitions["Model"]["anyOf"] = [{"required": ["preset"]}, {"required": shape}]
    whole = {"$schema": DIALECT, "title": title, **cleaned(body), "$defs": {}}
    for name, definition in sorted(definitions.items()):
        whole["$defs"][name] = cleaned(definition)
    return whole


def _define_family(family: str, kinds: list[str], definitions: Schema) -> None:
    """Add the schemas of its kinds, and the one that is any of them."""
    references = []
    for kind in kinds:
        name = f"{family}.{kind}"
        definitions[name] = component_schema(family, kind, definitions)
        references.append({"$ref": f"#/$defs/{name}"})
    definitions[family] = {
        "description": f"one {family}; `kind` says which",
        "type": "object",
        "required": ["kind"],
        "anyOf": references,
    }


def _mentions(value: Any, family: str) -> bool:
    if isinstance(value, dict):
        if value.get("component") == family:
            return True
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return any(_mentions(inside, family) for inside in value)


def component_schema(family: str, kind: str, definitions: Schema) -> Schema:
    """The JSON Schema of one kind; what it refers to is added to `definitions`."""
    cls = component.component_class(family, kind)
    shape = _of(cls, definitions)
    required = ["kind"]
    for name in shape.get("required", ()):
        if name != "kind":
            required.append(name)
    shape["required"] = required
    shape["examples"] = [dict(example) for example in cls.EXAMPLES[:3]]
    return shape


def _of(model: type[Spec], definitions: Schema) -> Schema:
    """The schema of a model alone; what it refers to is added to `definitions`."""
    shape = model.model_json_schema(by_alias=True, mode="validation")
    definitions.update(shape.pop("$defs", {}))
    return shape


def cleaned(value: Any) -> Any:
    """References in place of component markers; no titles (they repeat the keys); descriptions on one
    line.
    """
    if isinstance(value, list):
        return [cleaned(v) for v in value]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for key, inner in value.items():
        if key == "title" and isinstance(inner, str):
            continue
        if key == "component" and inner in component.FAMILIES:
            out["allOf"] = [{"$ref": f"#/$defs/{inner}"}]
        elif key == "properties":
            out[key] = {name: cleaned(v) for name, v in inner.items()}
        elif key == "description" and isinstance(inner, str):
            out[key] = " ".join(inner.split())
        elif key not in ("examples", "default", "const", "enum"):
            out[key] = cleaned(inner)
        else:
            out[key] = inner
    return out
