"""The JSON Schema agrees with the models: it takes every shipped recipe and every example,
and refuses what they refuse.
"""

import json
import re
from pathlib import Path

import pytest

from codemix.recipe.language import component, yaml_text
from codemix.recipe.reference import json_schema

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "recipes").rglob("*.yaml"))
RECIPE, STUDY = json_schema.recipe_schema(), json_schema.study_schema()
KINDS = [(f, k) for f in component.FAMILIES for k in component.kinds(f)]
JSON_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "array": list,
    "boolean": bool,
    "null": type(None),
}


def errors(value, schema, root, at="$") -> list[str]:
    """A small validator of the part of draft 7 that the schemas use;
    a keyword it does not know is an error.
    """
    found = []
    for key, want in schema.items():
        if key in ("title", "description", "default", "examples", "format", "$schema", "$defs"):
            continue
        if key == "$ref":
            found += errors(value, root["$defs"][want.removeprefix("#/$defs/")], root, at)
        elif key == "type":
            types = [want] if isinstance(want, str) else want
            if not any(
                isinstance(value, JSON_TYPES[t])
                and not (isinstance(value, bool) and t in ("integer", "number"))
                for t in types
            ):
                found.append(f"{at}: {value!r} is not {want}")
        elif key in ("const", "enum"):
            if value not in ([want] if key == "const" else want):
                found.append(f"{at}: {value!r} not in {want}")
        elif key == "anyOf":
            tried = [errors(value, s, root, at) for s in want]
            if all(tried):
                found += min(tried, key=len)
        elif key == "allOf":
            found += [e for s in want for e in errors(value, s, root, at)]
        elif key == "required":
            found += [f"{at}: {k} is missing" for k in want if isinstance(value, dict) and k not in value]
        elif key == "properties":
            found += [
                e
                for k, s in want.items()
                if isinstance(value, dict) and k in value
                for e in errors(value[k], s, root, f"{at}.{k}")
            ]
        elif key == "patternProperties":
            entries = value.items() if isinstance(value, dict) else ()
            found += [
                e
                for k, v in entries
                for p, s in want.items()
                if re.search(p, k)
                for e in errors(v, s, root, f"{at}.{k}")
            ]
        elif key == "additionalProperties":
            extra = set(value) - set(schema.get("properties", ())) if isinstance(value, dict) else set()
            found += [f"{at}: {k} is not a key" for k in extra if want is False]
            found += [
                e for k in extra if isinstance(want, dict) for e in errors(value[k], want, root, f"{at}.{k}")
            ]
        elif key == "propertyNames":
            found += [
                f"{at}: {k}" for k in (value if isinstance(value, dict) else ()) if errors(k, want, root)
            ]
        elif key == "items":
            found += [
                e
                for i, v in enumerate(value if isinstance(value, list) else ())
                for e in errors(v, want, root, f"{at}[{i}]")
            ]
        elif key == "pattern":
            if isinstance(value, str) and not re.search(want, value):
                found.append(f"{at}: {value!r} does not match {want}")
        elif key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                fine = {
                    "minimum": value >= want,
                    "maximum": value <= want,
                    "exclusiveMinimum": value > want,
                    "exclusiveMaximum": value < want,
                }[key]
                found += [] if fine else [f"{at}: {value} breaks {key} {want}"]
        elif key in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"):
            if isinstance(value, (list, str, dict)) and (
                len(value) < want if key.startswith("min") else len(value) > want
            ):
                found.append(f"{at}: {key} {want}")
        elif key not in ("gt", "ge", "lt", "le"):  # pydantic's own, where the JSON type is text as well
            found.append(f"{at}: unknown keyword {key}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_shipped_files_are_valid(path):
    value = yaml_text.parse(path.read_text(), str(path)).value
    schema = STUDY if "study" in value else RECIPE
    assert errors(value, schema, schema) == []


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_examples_are_valid_and_unknown_keys_are_not(family, kind):
    for example in component.component_class(family, kind).EXAMPLES:
        value = json.loads(json.dumps(example))
        assert errors(value, {"$ref": f"#/$defs/{family}.{kind}"}, RECIPE) == []
        assert errors(value | {"no_such_key": 1}, {"$ref": f"#/$defs/{family}.{kind}"}, RECIPE)
        assert errors(value | {"kind": "other"}, {"$ref": f"#/$defs/{family}.{kind}"}, RECIPE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codemix": 2}, "2 not in"),
        ({"stagess": []}, "stagess is not a key"),
        ({"sources": {}}, "minProperties"),
        ({"model": {"d_model": 4}}, "$.model"),
        ({"training": {"seq_len": 64}}, "batch_size is missing"),
        ({"name": "Upper Case"}, "does not match"),
        ({"sources": {"a": {"read": {"kind": "jsonl", "paths": "x", "texd": "y"}}}}, "$.sources.a.read"),
        (
            {
                "stages": [
                    {
                        "name": "a",
                        "tokens": "1B",
                        "mixture": {"a": "100%"},
                        "learning_rate": {"kind": "cosine"},
                    }
                ]
            },
            "learning_rate",
        ),
    ],
)
def test_what_the_models_refuse_an_editor_marks(change, says):
    value = yaml_text.parse((ROOT / "recipes" / "quickstart.yaml").read_text(), "q").value
    assert errors(value, RECIPE, RECIPE) == []
    found = errors(value | change, RECIPE, RECIPE)
    assert any(says in e for e in found), found


def test_every_reference_leads_somewhere_and_every_key_is_explained_once():
    for schema in (RECIPE, STUDY):
        refs = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))
        assert refs <= set(schema["$defs"])
    assert set(RECIPE["$defs"]["source"]["anyOf"][0]) == {"$ref"} and len(
        RECIPE["$defs"]["op"]["anyOf"]
    ) == len(component.kinds("op"))
