"""Drops documents that contain the string `0x`.

Paper (arXiv 2408.10914) App. A.1, second of its four filters, against tables of hexadecimal data. It also
drops ordinary C and Go: look at what it takes with `codemix inspect`, or use `encoded_runs`, which asks for
long runs.

Misfires, measured at the defaults on good documents of a labelled corpus: 205 of 3,443 code files, 22 of 1,066
markup files, 6 of 197 StackExchange threads.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op


class Contains0x(Op):
    """Drops documents with more than `max_count` times the string `0x` (paper App. A.1: any)."""

    kind: Literal["contains_0x"] = "contains_0x"
    max_count: int = Field(0, ge=0, description="occurrences that are still kept; paper: none")
    EXAMPLES: ClassVar = ({"kind": "contains_0x"}, {"kind": "contains_0x", "max_count": 20})

    def apply(self, doc: Document) -> Document | Drop:
        if doc.text.count("0x") > self.max_count:
            return Drop("contains_0x")
        return doc
