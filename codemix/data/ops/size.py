"""Keeps documents of a range of sizes.

One file of many megabytes costs MinHash and Gopher's repetition filter gigabytes of memory: cap sizes before
those.
"""

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.recipe.language.quantities import Bytes


class Size(Op):
    """Keeps documents of at least `min_bytes` and at most `max_bytes` of UTF-8."""

    kind: Literal["size"] = "size"
    min_bytes: Bytes = Field(1, ge=0, description="smallest document kept [bytes]")
    max_bytes: Bytes | None = Field(None, description="largest document kept [bytes]; null for no limit")
    EXAMPLES: ClassVar = (
        {"kind": "size", "max_bytes": "1MB"},
        {"kind": "size", "min_bytes": 100, "max_bytes": "64KiB"},
    )

    @model_validator(mode="after")
    def _in_order(self):
        if self.max_bytes is not None and self.max_bytes < self.min_bytes:
            raise PydanticCustomError(
                "size", "`max_bytes` is less than `min_bytes`", {"hints": ["nothing would be kept"]}
            )
        return self

    def apply(self, doc: Document) -> Document | Drop:
        n_chars = len(
            doc.text
        )  # between a quarter of the bytes and all of them: most documents need no encoding to decide
        if n_chars >= self.min_bytes and (self.max_bytes is None or 4 * n_chars <= self.max_bytes):
            return doc
        n_bytes = len(doc.text.encode())
        measured = f"{n_bytes:,} bytes"
        if n_bytes < self.min_bytes:
            return Drop("too_small", measured=measured, limit="min_bytes")
        if self.max_bytes is None or n_bytes <= self.max_bytes:
            return doc
        return Drop("too_large", measured=measured, limit="max_bytes")
