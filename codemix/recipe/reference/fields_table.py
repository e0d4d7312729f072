"""A table of fields for the generated pages: what each takes, in words and links, and what it is without
being given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

FAMILY_HEADINGS = {
    "source": "Sources: where documents come from",
    "op": "Ops: filters and transforms over documents",
    "tokenizer": "Tokenizers",
    "schedule": "Schedules: the learning rate of a stage",
    "task": "Tasks: what is measured after a stage",
}
_FORMATS = {"tokens": "tokens", "bytes": "bytes", "share": "a share", "length": "a length of training"}
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
}
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_][\w./%+ -]*")
_LOOKS_LIKE_A_NUMBER = re.compile(r"[\d.e+-]+")


def fields_table(properties: dict[str, Any], required: Collection[str]) -> str:
    """Markdown from the `properties` of a JSON Schema."""
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in properties.items():
        default = "required" if key in required else _default(value)
        meaning = value.get("description", "")
        cells = [f"`{key}`"]
        cells += map(cell, (_type(value), default, meaning))
        row = " | ".join(cells)
        rows.append(f"| {row} |")
    return "\n".join(rows)


def cell(words: str) -> str:
    """Words as a cell of a Markdown table."""
    return words.replace("|", "\\|")


def in_one_line(value: Any) -> str:
    """A short value as one line of YAML."""
    if isinstance(value, dict):
        pairs = [f"{key}: {in_one_line(inside)}" for key, inside in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        items = map(in_one_line, value)
        return f"[{', '.join(items)}]"
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = _PLAIN_WORD.fullmatch(value) and not _LOOKS_LIKE_A_NUMBER.fullmatch(value)
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default is None or default in ("", [], {}):
        return ""
    if isinstance(default, dict):
        return "see there"
    if value.get("format") == "share" and "/" not in str(default):
        percent = str(default).rstrip("%")
        default = f"{percent}%"
    return f"`{in_one_line(default)}`"


def _type(value: dict[str, Any]) -> str:
    """What a key takes, in words and links."""
    if "allOf" in value or "$ref" in value:
        reference = value.get("$ref") or value["allOf"][0]["$ref"]
        return _link(reference.split("/")[-1])
    if "component" in value:
        return _link(value["component"])
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"])
    if "anyOf" in value:
        return _any_of(value["anyOf"])
    if value.get("format") in _FORMATS:
        return _FORMATS[value["format"]]
    kind = value.get("type")
    if kind == "array":
        inside = _type(value.get("items", {}))
        return f"a list of {inside.removeprefix('a ')}"
    if kind == "object":
        return _mapping(value)
    if isinstance(kind, list):
        return _any_of([{"type": each} for each in kind])
    return _TYPES.get(str(kind), "any value") + _bounds(value)


def _any_of(choices: list[dict[str, Any]]) -> str:
    """What may be given instead of nothing, each once."""
    words: dict[str, None] = {}
    for choice in choices:
        if choice.get("type") != "null":
            words[_type(choice)] = None
    return " or ".join(words)


def _link(name: str) -> str:
    """To a family of components on their page, or to a part of the recipe on this one."""
    name = name.removesuffix("Spec")
    if name in FAMILY_HEADINGS:
        heading = FAMILY_HEADINGS[name].lower()
        anchor = heading.replace(":", "").replace(" ", "-")
        return f"a [{name}](components.md#{anchor})"
    article = "an" if name[0] in "AEIOU" else "a"
    return f"{article} [{name}](#{name.lower()})"


def _mapping(value: dict[str, Any]) -> str:
    inside = value.get("additionalProperties")
    if not inside:
        by_pattern = list(value.get("patternProperties", {}).values())
        inside = by_pattern[0] if by_pattern else {}
    if isinstance(inside, dict) and inside:
        return f"a mapping of name to {_type(inside)}"
    return "a mapping"


def _bounds(value: dict[str, Any]) -> str:
    """The least and the most that a number may be, where they are bounds that anybody meets."""
    words = ""
    if "minimum" in value:
        words += f" from {value['minimum']:,}"
    elif "exclusiveMinimum" in value:
        words += f" above {value['exclusiveMinimum']:,}"
    if value.get("maximum", 2**53) < 2**53:
        words += f" to {value['maximum']:,}"
    elif value.get("exclusiveMaximum", 2**53) < 2**53:
        words += f" below {value['exclusiveMaximum']:,}"
    return words
