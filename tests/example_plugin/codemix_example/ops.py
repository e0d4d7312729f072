"""An op: a filter over single documents."""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op


class MaxTodos(Op):
    """Drops documents with more than `max_todos` notes to self."""

    kind: Literal["max_todos"] = "max_todos"
    max_todos: int = Field(3, ge=0, description="how many times `TODO` may appear")

    EXAMPLES: ClassVar = ({"kind": "max_todos"}, {"kind": "max_todos", "max_todos": 0})

    def apply(self, doc: Document) -> Document | Drop:
        if doc.text.count("TODO") > self.max_todos:
            return Drop("too_many_todos")
        return doc
