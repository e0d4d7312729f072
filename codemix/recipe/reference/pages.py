"""docs/recipe.md, docs/components.md and the JSON Schemas, generated from the models so that they cannot be
wrong.

`python -m codemix.recipe.docs` writes them; a test keeps the files equal to what this makes.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codemix.recipe.language import component, schema, tags, yaml_text
from codemix.recipe.language.component import Component, Spec
from codemix.recipe.language.finding import WARNINGS
from codemix.recipe.reference import json_schema
from codemix.recipe.reference.fields_table import FAMILY_HEADINGS, cell, fields_table, in_one_line
from codemix.recipe.reference.gallery import gallery
from codemix.recipe.reference.prose import COMPONENTS_INTRO, RECIPE_INTRO, STUDY_INTRO
from codemix.recipe.studies.study_spec import StudySpec

FOLDER = Path(__file__).resolve().parents[3] / "docs"
LONG_EXAMPLE = 110  # characters; longer ones take several lines


def recipe_page() -> str:
    """docs/recipe.md."""
    recipe_schema = json_schema.recipe_schema(component.built_in_kinds)
    study_schema = json_schema.study_schema()
    parts = [RECIPE_INTRO, "## Keys\n"]
    for model in _models(schema.Recipe, schema.Group, schema.Ramp):
        parts.append(_model_section(model, recipe_schema))
    parts.append(tags.reference())
    parts.append(STUDY_INTRO)
    for model in _models(StudySpec):
        parts.append(_model_section(model, study_schema))
    parts.append(_warnings())
    return _page(parts)


def components_page() -> str:
    """docs/components.md."""
    parts = [COMPONENTS_INTRO]
    shared: dict[str, Any] = {}
    for family, heading in FAMILY_HEADINGS.items():
        kinds = component.built_in_kinds(family)
        links = [f"[`{kind}`](#{family}-{kind})" for kind in kinds]
        parts.append(f"## {heading}\n\n{', '.join(links) or 'none yet'}\n")
        if family == "op":
            parts.append(_op_costs())
        for kind in kinds:
            parts.append(describe_kind(family, kind, level=3))
            json_schema.component_schema(family, kind, shared)
    parts.append("## Parts that several components use\n")
    for name, shape in sorted(json_schema.cleaned(shared).items()):
        if "properties" in shape:
            table = fields_table(shape["properties"], shape.get("required", ()))
            parts.append(f"### {name}\n\n{shape.get('description', '')}\n\n{table}\n")
    return _page(parts)


def _op_costs() -> str:
    """What the ops cost, as docs/op_costs.json has it."""
    text = (FOLDER / "op_costs.json").read_text(encoding="utf-8")
    measured = json.loads(text)
    lines = [
        f"What they cost at their defaults on one CPU ({measured['machine']}; `python benchmarks/ops.py --write` measures "
        "again). Ops that are not in the table need a model, files or conditions of a recipe:",
        "",
        "| op | CPU ms per MB | of |",
        "| --- | ---: | --- |",
    ]
    for kind, cost in measured["ops"].items():
        milliseconds = 1000 * cost["s_per_mb"]
        lines.append(f"| [`{kind}`](#op-{kind}) | {milliseconds:.2g} | {cost['of']} |")
    return "\n".join(lines) + "\n"


def _page(parts: Iterable[str]) -> str:
    """Parts with an empty line between."""
    ended = [part.rstrip() + "\n" for part in parts]
    return "\n".join(ended)


def describe_kind(family: str, kind: str, level: int = 1) -> str:
    """One component as Markdown: what it does, its fields, its examples."""
    cls = component.component_class(family, kind)
    anchor = f'<a id="{family}-{kind}"></a>\n\n' if level > 1 else ""
    parts = [
        f"{anchor}{'#' * level} {family} `{kind}`",
        inspect.cleandoc(cls.__doc__ or ""),
        _module_text(cls),
        _kind_table(family, kind),
        _examples(cls),
        cls.reference(),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _module_text(cls: type[Component]) -> str:
    """The docstring of its module without the first line."""
    module = inspect.getmodule(cls)
    docstring = inspect.cleandoc(module.__doc__ or "") if module else ""
    _, _, text = docstring.partition("\n\n")
    return text


def _kind_table(family: str, kind: str) -> str:
    shape = json_schema.component_schema(family, kind, {})
    fields = dict(shape["properties"])
    fields.pop("kind", None)
    return fields_table(fields, shape["required"]) if fields else ""


def _examples(cls: type[Component]) -> str:
    """YAML documents: short examples on lines of their own, long ones apart."""
    if not cls.EXAMPLES:
        return ""
    lines: list[str] = []
    was_long = False
    for example in cls.EXAMPLES:
        is_long = len(str(example)) > LONG_EXAMPLE
        if lines:
            lines.append("---" if is_long or was_long else "")
        was_long = is_long
        lines.append(yaml_text.dump(dict(example)).rstrip() if is_long else in_one_line(example))
    return "\n".join(["```yaml", *lines, "```"])


def _models(root: type[Spec], *more: type[Spec]) -> list[type[Spec]]:
    """The root and every spec below it, in the order in which they are met, then `more`."""
    found: list[type[Spec]] = []

    def visit(model: type[Spec]) -> None:
        if model in found:
            return
        found.append(model)
        for field in model.model_fields.values():
            for inside in _specs_in(field.annotation):
                visit(inside)

    for model in (root, *more):
        visit(model)
    return found


def _specs_in(annotation: Any) -> Iterator[type[Spec]]:
    """The specs, other than components, that a type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        if not issubclass(annotation, Component):
            yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from _specs_in(argument)


def _model_section(model: type[Spec], root: dict[str, Any]) -> str:
    """Its keys, as `root`, the schema that it is part of, describes them."""
    shape = model.model_json_schema(by_alias=True, mode="validation")
    definition = root["$defs"].get(model.__name__)
    if definition is None:
        is_root = model in (schema.Recipe, StudySpec)
        definition = root if is_root else json_schema.cleaned(shape)
    title = model.__name__.removesuffix("Spec")
    docstring = model.__doc__ or ""
    words = " ".join(docstring.split())
    required = shape.get("required", ())
    table = fields_table(definition["properties"], required)
    return f"### {title}\n\n{words}\n\n{table}\n"


def _warnings() -> str:
    lines = [
        "## Warnings",
        "",
        "A warning does not stop anything. To accept one, say why: "
        "`silence: {many-epochs: the set is small and clean}`.",
        "",
        "| warning | where the literature says so |",
        "| --- | --- |",
    ]
    for name, cite in WARNINGS.items():
        lines.append(f"| `{name}` | {cell(cite) or '-'} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every generated file of docs/, by name."""
    return {
        "recipe.md": recipe_page(),
        "components.md": components_page(),
        "recipe.schema.json": json_schema.as_text(json_schema.recipe_schema(component.built_in_kinds)),
        "codemix.schema.json": json_schema.as_text(json_schema.file_schema()),
        "study.schema.json": json_schema.as_text(json_schema.study_schema()),
        **gallery(),
    }


def write() -> None:
    """Write them all into docs/."""
    for name, content in pages().items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(content, encoding="utf-8")
        print(FOLDER / name)
