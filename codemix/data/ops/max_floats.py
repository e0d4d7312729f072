"""Drops documents that are mostly data: more than a given number of floating-point numbers.

Paper (arXiv 2408.10914) App. A.1, first of its four filters: more than 1000 floats. What counts as a float is
not stated there; here it is a decimal point with digits on both sides or on one (`1.5`, `.5`, `1.`,
`1.5e-3`), or an exponent (`1e9`). Dotted versions such as `1.2.3` are not numbers and do not count, nor do
`1.` before a verse or an item of a list and a whole number at the end of a sentence.
"""

import re
from itertools import islice
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text.characters import DIGITS, table

_SHAPE = table({"d": DIGITS, ".": b".", "e": b"eE"}, other="x")
_FLOAT = re.compile(
    r"(?<![\w.])(?:(?:\d+\.\d+|\.\d+)(?:[eE][+-]?\d+)?|\d+\.?[eE][+-]?\d+|\d+(?P<bare>\.))(?![\w.])"
)
_NUMBER_OR_END = re.compile(r"[-+]?\.?\d|[])}*/=<>!?&|%^]")
_NEAR = 16  # characters looked at on either side of a number


class MaxFloats(Op):
    """Drops documents with more than `max_floats` floating-point numbers (paper App. A.1)."""

    kind: Literal["max_floats"] = "max_floats"
    version: ClassVar[int] = 2
    max_floats: int = Field(1000, ge=0, description="floats a document may hold; paper: 1000")
    EXAMPLES: ClassVar = ({"kind": "max_floats"},)

    def apply(self, doc: Document) -> Document | Drop:
        # every float has a digit beside a point or before an exponent, and counting those is far cheaper than
        # matching
        shape = doc.text.encode("utf-8", "replace").translate(_SHAPE)
        if shape.count(b"d.") + shape.count(b".d") + shape.count(b"de") <= self.max_floats:
            return doc
        floats = (
            found
            for found in _FLOAT.finditer(doc.text)
            if found["bare"] is None or _is_number(doc.text, found)
        )
        one_too_many = next(islice(floats, self.max_floats, None), None)
        if one_too_many is None:
            return doc
        n_floats = self.max_floats + 1 + sum(1 for _ in floats)
        return Drop("too_many_floats", measured=f"{n_floats:,} floats", limit="max_floats")


def _is_number(text: str, found: re.Match) -> bool:
    """Whether `1.` is a number, and not a verse, an item of a list or the end of a sentence: by its
    neighbours."""
    start = found.start()
    end = found.end()
    after = text[end : end + _NEAR]
    following = after.lstrip(" \t")
    near_start = max(start - _NEAR, 0)
    before = text[near_start:start].rstrip(" \t")
    if following[:1] in ("", "\n"):  # the end of a line: of a column of numbers, or of a sentence
        return not before or before[-1] in "\n0123456789.,;+-[({="
    if following == after or _NUMBER_OR_END.match(following):
        return True
    return before.endswith(tuple("=([{,+-*/<>&|"))
