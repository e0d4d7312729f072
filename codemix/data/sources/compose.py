"""Rows whose text several fields make up by a template: instruction, context and response, question and answer.

Instruction sets (Dolly v2 in the paper's cooldown, arXiv 2408.10914, section 2.1; FLAN in others) hold a prompt and
its answer in fields of their own. `{field}` stands for a field's text, `{meta.field}` for one inside another, `{{`
and `}}` for braces. A field named in `optional:` may be missing, null or empty: the part of the template that names
it is then left out. Every other field must be there; a row in which one is empty is dropped and counted as
`lacks_<field>`, one in which it is missing or null is unreadable, or dropped and counted as well, as `missing:`
says.
"""

import re
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from codemix.data.document import Drop
from codemix.data.inputs.conditions import MISSING, field_getter
from codemix.data.sources._rows import Row, RowSource, Texter, not_text
from codemix.recipe.language.lists import Texts

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BRACES = {"{{": "{", "}}": "}"}


class Part(NamedTuple):
    """A part of the template: literal texts, and between each two of them a field."""

    literals: tuple[str, ...]
    fields: tuple[str, ...]

    def fill(self, values: dict[str, str]) -> str:
        pieces = [self.literals[0]]
        literals = self.literals[1:]
        for field, literal in zip(self.fields, literals, strict=True):
            value = values[field]
            pieces += (value, literal)
        return "".join(pieces)


def parsed(template: str) -> Part:
    """A part's literals and fields. Raises ValueError, with what is wrong, for braces that name no field."""
    literals = [""]
    fields: list[str] = []
    at = 0
    for piece in _PIECE.finditer(template):
        literals[-1] += template[at : piece.start()]
        at = piece.end()
        field = piece[1]
        if piece[0] in _BRACES:
            literals[-1] += _BRACES[piece[0]]
        elif field and field == field.strip():
            fields.append(field)
            literals.append("")
        else:
            raise ValueError(f"`{piece[0]}` names no field")
    literals[-1] += template[at:]
    return Part(tuple(literals), tuple(fields))


class Compose(RowSource):
    """JSON lines or Parquet, the text of each row made of several fields by a template."""

    kind: Literal["compose"] = "compose"
    template: Texts = Field(
        min_length=1, description='the text, or a list of its parts, e.g. ["{question}\\n", "{answer}\\n"]'
    )
    optional: Texts = Field((), description="fields without which their part of the template is left out")
    missing: Literal["error", "drop"] = Field(
        "error", description="a row in which another field is missing or null: unreadable, or dropped"
    )
    EXAMPLES: ClassVar = (
        {
            "kind": "compose",
            "paths": "dolly.jsonl",
            "template": ["{instruction}\n\n", "{context}\n\n", "{response}\n"],
            "optional": ["context"],
        },
        {"kind": "compose", "paths": "qa/*.parquet", "template": "Q: {question}\nA: {answers.best}\n"},
    )

    @field_validator("template")
    @classmethod
    def _names_fields(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        hints = ["write `{field}` for a field, and `{{` for a brace"]
        named: list[str] = []
        for part in parts:
            try:
                named += parsed(part).fields
            except ValueError as error:
                raise PydanticCustomError(
                    "template", "{what}", {"what": str(error), "hints": hints}
                ) from None
        if not named:
            raise PydanticCustomError("template", "the template names no field", {"hints": hints})
        return parts

    @model_validator(mode="after")
    def _optional_fields_are_named(self):
        unused = [field for field in self.optional if field not in self._named()]
        if unused:
            context = {"field": unused[0], "hints": [f"it names {', '.join(self._named())}"]}
            raise PydanticCustomError("template", "the template does not name `{field}`", context)
        return self

    def _parts(self) -> list[Part]:
        return [parsed(part) for part in self.template]

    def _named(self) -> list[str]:
        """The fields of the template, each once, in its order."""
        named: dict[str, None] = {}
        for part in self._parts():
            named |= dict.fromkeys(part.fields)
        return list(named)

    def text_fields(self) -> list[str]:
        """The fields that every row must have; a Parquet file without a column of them is refused."""
        named = self._named()
        optional = self.optional
        return [field for field in named if field not in optional]

    def optional_fields(self) -> list[str]:
        return list(self.optional)

    def texter(self) -> Texter:
        parts = self._parts()
        getters = [(field, field_getter(field)) for field in self._named()]
        optional = frozenset(self.optional)

        def text(row: Row) -> str | Drop:
            values: dict[str, str] = {}
            for field, get in getters:
                value = get(row)
                is_missing = value is MISSING or value is None
                if is_missing and self.missing == "error" and field not in optional:
                    not_text(row, field, value)
                if not is_missing and value.__class__ is not str:
                    not_text(row, field, value)
                if not is_missing and value.strip():
                    values[field] = value
                elif field not in optional:
                    return Drop(f"lacks_{field}")
            return _joined(parts, values)

        return text


def _joined(parts: list[Part], values: dict[str, Any]) -> str:
    """The parts all of whose fields have a value."""
    filled: list[str] = []
    for part in parts:
        if values.keys() >= set(part.fields):
            filled.append(part.fill(values))
    return "".join(filled)
