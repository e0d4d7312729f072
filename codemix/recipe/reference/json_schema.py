"""JSON Schema of recipes and studies for editors, made from the models and every component kind.

docs/recipe.schema.json and docs/study.schema.json are its output; a test keeps them equal to it. Regenerate with
`python -m codemix.recipe.docs`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from codemix.recipe.language import component, schema
from codemix.recipe.studies import study_spec

Kinds = Callable[[str], list[str]]
DIALECT = "http://json-schema.org/draft-07/schema#"


def recipe_schema(kinds: Kinds = component.kinds) -> dict[str, Any]:
    """The JSON Schema of a recipe. Imports every component, so it is not part of `validate`."""
    return _assemble(schema.Recipe, "A codemix recipe", kinds)


def study_schema() -> dict[str, Any]:
    """The JSON Schema of a study. Its overrides are free: they are checked once the study is expanded."""
    return _assemble(study_spec.StudySpec, "A codemix study", component.built_in_kinds)


def as_text(value: dict[str, Any]) -> str:
    """The schema as the file holds it."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _assemble(model: type, title: str, kinds_of: Kinds) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    body = _of(model, definitions)
    for family in component.FAMILIES:
        if not _mentions([body, definitions], family):
            continue
        kinds = kinds_of(family)
        for kind in kinds:
            definitions[f"{family}.{kind}"] = component_schema(family, kind, definitions)
        definitions[family] = {
            "description": f"one {family}; `kind` says which",
            "type": "object",
            "required": ["kind"],
            "anyOf": [{"$ref": f"#/$defs/{family}.{kind}"} for kind in kinds],
        }
    if "Model" in definitions:  # a preset stands in for the shape
        definitions["Model"]["anyOf"] = [
            {"required": ["preset"]},
            {"required": definitions["Model"].pop("required")},
        ]
    return (
        {"$schema": DIALECT, "title": title}
        | cleaned(body)
        | {"$defs": {k: cleaned(v) for k, v in sorted(definitions.items())}}
    )


def _mentions(value: Any, family: str) -> bool:
    if isinstance(value, dict):
        return value.get("component") == family or any(_mentions(v, family) for v in value.values())
    return isinstance(value, list) and any(_mentions(v, family) for v in value)


def component_schema(family: str, kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of one kind; what it refers to is added to `definitions`."""
    cls = component.component_class(family, kind)
    out = _of(cls, definitions)
    out["required"] = ["kind", *(k for k in out.get("required", ()) if k != "kind")]
    out["examples"] = [dict(e) for e in cls.EXAMPLES][:3]
    return out


def _of(model: type, definitions: dict[str, Any]) -> dict[str, Any]:
    out = model.model_json_schema(by_alias=True, mode="validation")
    definitions.update(out.pop("$defs", {}))
    return out


def cleaned(value: Any) -> Any:
    """References in place of component markers; no titles (they repeat the keys); descriptions on one line."""
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
