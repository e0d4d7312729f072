"""Drops documents that are mostly data: more than so many floating-point numbers.

Paper (arXiv 2408.10914) App. A.1, first of its four filters: more than 1000 floats. What counts as a float is not
stated there; here it is a decimal point with digits on both sides or on one (`1.5`, `.5`, `1.`, `1.5e-3`), or an
exponent (`1e9`). Dotted versions such as `1.2.3` are not numbers and do not count.
"""

import re
from itertools import islice
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.char_classes import DIGITS, table
from codemix.data.document import Document, Drop
from codemix.data.families import Op

_SHAPE = table({"d": DIGITS, ".": b".", "e": b"eE"}, other="x")
_FLOAT = re.compile(r"(?<![\w.])(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])|(?<![\w.])\d+[eE][+-]?\d+(?![\w.])")


class MaxFloats(Op):
    """Drops documents with more than `max_floats` floating-point numbers (paper App. A.1)."""

    kind: Literal["max_floats"] = "max_floats"
    max_floats: int = Field(1000, ge=0, description="floats a document may hold; paper: 1000")
    EXAMPLES: ClassVar = ({"kind": "max_floats"},)

    def apply(self, doc: Document) -> Document | Drop:
        # every float has a digit beside a point or before an exponent, and counting those is far cheaper than matching
        shape = doc.text.encode("utf-8", "replace").translate(_SHAPE)
        if shape.count(b"d.") + shape.count(b".d") + shape.count(b"de") <= self.max_floats:
            return doc
        beyond = next(islice(_FLOAT.finditer(doc.text), self.max_floats, None), None)
        return doc if beyond is None else Drop("too_many_floats")
