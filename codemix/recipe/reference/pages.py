"""docs/recipe.md, docs/components.md and the JSON Schemas, generated from the models so that they cannot be wrong.

`python -m codemix.recipe.docs` writes them; a test keeps the files equal to what this makes.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from codemix.recipe.language import component, schema, tags, yaml_text
from codemix.recipe.language.finding import WARNINGS
from codemix.recipe.reference import json_schema
from codemix.recipe.reference.prose import COMPONENTS_INTRO, RECIPE_INTRO, STUDY_INTRO
from codemix.recipe.studies import study_spec

FOLDER = Path(__file__).resolve().parents[3] / "docs"

_FAMILY_WORDS = {
    "source": "Sources: where documents come from",
    "op": "Ops: filters and transforms over documents",
    "tokenizer": "Tokenizers",
    "schedule": "Schedules: the learning rate of a stage",
    "task": "Tasks: what is measured after a stage",
}


_FORMATS = {"tokens": "tokens", "bytes": "bytes", "share": "a share", "length": "a length of training"}


def recipe_page() -> str:
    """docs/recipe.md."""
    root = json_schema.recipe_schema(component.built_in_kinds)
    parts = [RECIPE_INTRO, "## Keys\n"]
    for model in _models(schema.Recipe):
        parts.append(_model_section(model, root))
    parts.append(tags.reference())
    parts.append(STUDY_INTRO)
    other = json_schema.study_schema()
    parts += [_model_section(model, other, level=3) for model in _models(study_spec.StudySpec)]
    parts.append(_warnings())
    return "\n".join(part.rstrip() + "\n" for part in parts)


def components_page() -> str:
    """docs/components.md."""
    parts = [COMPONENTS_INTRO]
    for family, words in _FAMILY_WORDS.items():
        kinds = component.built_in_kinds(family)
        links = ", ".join(f"[`{k}`](#{family}-{k})" for k in kinds) or "none yet"
        parts.append(f"## {words}\n\n{links}\n")
        parts += [describe_kind(family, kind, level=3) for kind in kinds]
    shared: dict[str, Any] = {}
    for family in _FAMILY_WORDS:
        for kind in component.built_in_kinds(family):
            json_schema.component_schema(family, kind, shared)
    parts.append("## Parts that several components use\n")
    for name, shape in sorted(json_schema.cleaned(shared).items()):
        if "properties" in shape:
            parts.append(
                f"### {name}\n\n{shape.get('description', '')}\n\n"
                f"{_fields_table(shape['properties'], set(shape.get('required', ())), {'$defs': shared})}\n"
            )
    return "\n".join(part.rstrip() + "\n" for part in parts)


def describe_kind(family: str, kind: str, level: int = 1) -> str:
    """One component as Markdown: what it does, its fields, its examples."""
    cls = component.component_class(family, kind)
    definitions: dict[str, Any] = {}
    shape = json_schema.component_schema(family, kind, definitions)
    lines = [
        f'<a id="{family}-{kind}"></a>\n' if level > 1 else "",
        "#" * level + f" {family} `{kind}`",
        "",
        inspect.cleandoc(cls.__doc__ or ""),
        "",
    ]
    module = inspect.cleandoc(inspect.getmodule(cls).__doc__ or "")
    about = module.split("\n\n", 1)[1] if "\n\n" in module else ""
    lines += [about, ""] if about else []
    fields = {k: v for k, v in shape["properties"].items() if k != "kind"}
    if fields:
        lines += [_fields_table(fields, set(shape["required"]), {"$defs": definitions}), ""]
    if cls.EXAMPLES:
        lines += [
            "```yaml",
            *(yaml_text.dump(dict(e)).rstrip() if len(str(e)) > 110 else _flow(e) for e in cls.EXAMPLES[:1]),
        ]
        for e in cls.EXAMPLES[1:]:
            lines += [
                "---" if len(str(e)) > 110 else "",
                yaml_text.dump(dict(e)).rstrip() if len(str(e)) > 110 else _flow(e),
            ]
        lines += ["```", ""]
    lines += [table, ""] if (table := cls.reference()) else []
    return "\n".join(lines).lstrip("\n")


def _flow(value: Any) -> str:
    """A short value as one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    if isinstance(value, str):
        return (
            value
            if re.fullmatch(r"[A-Za-z0-9_][\w./%+ -]*", value) and not re.fullmatch(r"[\d.e+-]+", value)
            else json.dumps(value, ensure_ascii=False)
        )
    return json.dumps(value)


def _models(root: type) -> list[type]:
    """The root and every spec below it, in the order in which they are met."""
    out: list[type] = []

    def visit(model: type) -> None:
        if model in out:
            return
        out.append(model)
        for field in model.model_fields.values():
            for inner in _specs_in(field.annotation):
                visit(inner)

    visit(root)
    if root is schema.Recipe:
        for extra in (schema.Group, schema.Ramp):
            if extra not in out:
                out.append(extra)
    return out


def _specs_in(annotation: Any) -> list[type]:
    import typing

    if (
        isinstance(annotation, type)
        and issubclass(annotation, component.Spec)
        and not issubclass(annotation, component.Component)
    ):
        return [annotation]
    return [spec for arg in typing.get_args(annotation) for spec in _specs_in(arg)]


def _model_section(model: type, root: dict[str, Any], level: int = 3) -> str:
    shape = model.model_json_schema(by_alias=True, mode="validation")
    definitions = root["$defs"]
    body = definitions.get(model.__name__) or {
        k: v for k, v in root.items() if k in ("properties", "required")
    }
    if model.__name__ not in definitions and model not in (schema.Recipe, study_spec.StudySpec):
        body = json_schema.cleaned(shape)
    table = _fields_table(body["properties"], set(shape.get("required", ())), root)
    return f"{'#' * level} {_title(model)}\n\n{' '.join((model.__doc__ or '').split())}\n\n{table}\n"


def _title(model: type) -> str:
    return model.__name__.removesuffix("Spec")


def _fields_table(properties: dict[str, Any], required: set[str], root: dict[str, Any]) -> str:
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in properties.items():
        default = "required" if key in required else _default(value)
        rows.append(
            f"| `{key}` | {_cell(_type(value))} | {_cell(default)} | {_cell(value.get('description', ''))} |"
        )
    return "\n".join(rows)


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default is None or default == "" or default == [] or default == {}:
        return ""
    if value.get("format") == "share" and "/" not in str(default):
        default = f"{str(default).rstrip('%')}%"
    return f"`{_flow(default)}`" if not isinstance(default, dict) else "see there"


def _type(value: dict[str, Any]) -> str:
    """What a key takes, in words and links."""
    if "allOf" in value or "$ref" in value:
        name = (value.get("$ref") or value["allOf"][0]["$ref"]).split("/")[-1].removesuffix("Spec")
        if name in component.FAMILIES:
            return (
                f"a [{name}](components.md#{_FAMILY_WORDS[name].lower().replace(':', '').replace(' ', '-')})"
            )
        return f"{'an' if name[0] in 'AEIOU' else 'a'} [{name}](#{name.lower()})"
    if "component" in value:
        return _type({"$ref": value["component"]})
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{v}`" for v in value["enum"])
    if "anyOf" in value:
        kinds = [_type(v) for v in value["anyOf"] if v.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if value.get("format") in _FORMATS:
        return _FORMATS[value["format"]]
    kind = value.get("type")
    if kind == "array":
        return f"a list of {_plural(_type(value.get('items', {})))}"
    if kind == "object":
        inner = value.get("additionalProperties") or next(
            iter(value.get("patternProperties", {}).values()), {}
        )
        return f"a mapping of name to {_type(inner)}" if isinstance(inner, dict) and inner else "a mapping"
    number = _bounds(value)
    if isinstance(kind, list):
        return " or ".join(dict.fromkeys(_type({"type": k}) for k in kind if k != "null"))
    return {
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "`true` or `false`",
    }.get(kind, "any value") + number


def _plural(words: str) -> str:
    return words.removeprefix("a ")


def _bounds(value: dict[str, Any]) -> str:
    low, high = (
        value.get("minimum", value.get("exclusiveMinimum")),
        value.get("maximum", value.get("exclusiveMaximum")),
    )
    out = (f" from {low:,}" if "minimum" in value else f" above {low:,}") if low is not None else ""
    if high is not None and high < 2**53:
        out += f" to {high:,}" if "maximum" in value else f" below {high:,}"
    return out


def _warnings() -> str:
    lines = [
        "## Warnings",
        "",
        "A warning does not stop anything. To accept one, say why: `silence: {many-epochs: the set is small and clean}`.",
        "",
    ]
    lines += ["| warning | where the literature says so |", "| --- | --- |"]
    return (
        "\n".join([*lines, *(f"| `{name}` | {_cell(cite) or '-'} |" for name, cite in WARNINGS.items())])
        + "\n"
    )


def pages() -> dict[str, str]:
    """Every generated file of docs/, by name."""
    return {
        "recipe.md": recipe_page(),
        "components.md": components_page(),
        "recipe.schema.json": json_schema.as_text(json_schema.recipe_schema(component.built_in_kinds)),
        "study.schema.json": json_schema.as_text(json_schema.study_schema()),
    }


def write() -> None:
    """Write them all into docs/."""
    for name, content in pages().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
        print(FOLDER / name)
