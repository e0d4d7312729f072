"""Keeps documents by exact conditions on what is known of them: repository, set, stars, any kept metadata.

A condition means the same here and in a source's `where:`. Null counts as missing, since metadata keeps no
null. With `missing: error`, the default, a source's `where:` calls such a row unreadable; this op drops the
document and counts it as `missing_<name>`, where a misspelt name shows at once. Likewise, a value that is no number
under `min` or `max` is unreadable there, and is counted as `not_a_number` here.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Apply, Document, Drop
from codemix.data.inputs.conditions import Where, compiled
from codemix.data.inputs.decompression import Damaged
from codemix.data.interfaces import Op


class WhereOp(Op):
    """Keeps documents whose metadata satisfies every condition."""

    kind: Literal["where"] = "where"
    version: ClassVar[int] = 3  # `min` and `max` compare every digit of a number
    fields: Where = Field(
        min_length=1,
        description="metadata name -> a value, a list of values, or {in, not_in, all_in, min, max, missing}",
    )
    EXAMPLES: ClassVar = (
        {"kind": "where", "fields": {"set": {"not_in": ["Github", "StackExchange"]}}},
        {"kind": "where", "fields": {"stars": {"min": 10, "missing": "drop"}, "language": ["Python", "Go"]}},
    )

    def start(self, state: Any) -> Apply:
        passes = compiled(self.fields)

        def apply(doc: Document) -> Document | Drop:
            try:
                passed, missing = passes(doc.meta)
            except Damaged as damage:  # `min` or `max` of what is no number: no threshold can judge it
                return Drop(damage.reason)
            if missing:  # counted under its own reason: a name that no document has would show there at once
                return Drop(f"missing_{missing}")
            return doc if passed else Drop("where")

        return apply
