r"""Drops documents with long runs of encoded data: base64, hexadecimal bytes, `\u....` escapes.

StarCoder2 (arXiv 2402.19173, section 3.4) drops files in which such runs are longer than 1024 characters or make up
more than half of the file; the patterns here are ours. A run goes on over line ends and the separators between bytes.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop, Op

# possessive quantifiers (++, *+): a long line that is no run costs one look, not one for every way to cut it
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{60,}+={0,2}[\"']?[,+\\]?\s{0,4}[\"']?){1,}+")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:(?:0[xX]|\\x)?[0-9A-Fa-f]{2}[\s,;:\"']*+){16,}+")
_ESCAPES = re.compile(r"(?:\\u[0-9A-Fa-f]{4}){8,}+")


def encoded_runs(text: str) -> list[int]:
    """Lengths of the runs of encoded data, longest kind first where they overlap [characters]."""
    lengths = [len(m[0]) for m in _ESCAPES.finditer(text)] if "\\u" in text else []
    spans = [m.span() for m in _HEX.finditer(text) if any(c.isdigit() for c in m[0])]
    for m in _BASE64.finditer(text):
        run = m[0]
        mixed = any(c.isdigit() for c in run) and any(c.isupper() for c in run) and any(c.islower() for c in run)
        if mixed and not any(a < m.end() and m.start() < b for a, b in spans):
            spans.append(m.span())
    return lengths + [b - a for a, b in spans]


class EncodedRuns(Op):
    """Drops documents with long, or with many, runs of base64, hexadecimal or escaped data."""

    kind: Literal["encoded_runs"] = "encoded_runs"
    max_run_chars: int = Field(1024, ge=1, description="longest run kept [characters]; StarCoder2: 1024")
    max_frac: float = Field(0.5, ge=0, le=1, description="share of the document that runs may be [fraction]; StarCoder2: 0.5")
    EXAMPLES: ClassVar = ({"kind": "encoded_runs"},)

    def apply(self, doc: Document) -> Document | Drop:
        runs = encoded_runs(doc.text)
        if not runs:
            return doc
        if max(runs) > self.max_run_chars:
            return Drop("long_encoded_run")
        return Drop("mostly_encoded") if sum(runs) > self.max_frac * len(doc.text) else doc
