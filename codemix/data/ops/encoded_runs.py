r"""Drops documents with long runs of encoded data: base64, hexadecimal bytes, `\u....` escapes.

StarCoder2 (arXiv 2402.19173, section 3.4) drops files in which such runs are longer than 1024 characters or
make up more than half of the file; the patterns here are ours. A run continues over newlines and the
separators between bytes. Numbers without hexadecimal letters are not a run, unless they are zeros: tables of
numbers and long decimals stay.
"""

import re
from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text.characters import DIGITS, LETTERS, table

# possessive quantifiers (++): a long line that is not a run costs one look, not one for every way to cut it
_BASE64 = re.compile(
    r"(?:[A-Za-z0-9+/]{60,}+={0,2}[\"']?[,+\\]?\s{0,40}[\"']?){1,}+"
    # its last, shorter line
    r"(?:(?:[A-Za-z0-9+/]{4}){0,14}(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)(?![\w+/=]))?"
)
_DIGITS = re.compile(r"[0-9A-Fa-f]{32,}+")
_PAIRS = re.compile(r"(?:[0-9A-Fa-f]{2}[ ,:;\t]{0,3}[ ,:;\n\t]\s{0,40}){16,}+")
_NUMBERS = re.compile(r"(?:0[xX][0-9A-Fa-f]{2,16}[A-Za-z]{0,3}[^\w\s]{0,3}\s{0,40}){8,}+")
_ESCAPES = re.compile(r"(?:\\x[0-9A-Fa-f]{2}[\"'\s]{0,40}){16,}+|(?:\\u[0-9A-Fa-f]{4}){8,}+")

_DECIMAL, _HEX_LETTERS = frozenset("0123456789"), frozenset("abcdefABCDEF")

# What must be there for a pattern to match, looked for first in a text of classes: most documents hold none
# of it.
_BASE64_CLASS = table({"b": LETTERS + DIGITS + b"+/"}, other=" ")
_HEX_CLASS = table({"h": DIGITS + b"abcdefABCDEF", "s": b" ,:;\n\t"}, other="x")
_PAIR_HINTS = tuple((b"hh" + b"s" * n) * 4 for n in (1, 2, 3, 4))


Spans = list[tuple[int, int]]


def encoded_runs(text: str) -> Spans:
    """Where the runs of encoded data lie, [start, end) in characters, none within another."""
    data = text.encode("utf-8", "replace")
    hexes = data.translate(_HEX_CLASS)
    spans: Spans = []
    if "\\" in text:
        spans += _spans(_ESCAPES, text)
    if data.count(b"0x") + data.count(b"0X") >= 8:
        spans += _spans(_NUMBERS, text)
    if any(hint in hexes for hint in _PAIR_HINTS):
        spans += _spans(_PAIRS, text, _hexadecimal)
    if b"h" * 32 in hexes:
        spans += _spans(_DIGITS, text, _hexadecimal)
    if b"b" * 60 in data.translate(_BASE64_CLASS):
        spans += _spans(_BASE64, text, _mixed)
    return _merged(spans)


def _spans(pattern: re.Pattern[str], text: str, is_data: Callable[[str], bool] | None = None) -> Spans:
    """Where a pattern matches, unless what it matches does not look like data."""
    spans = []
    for match in pattern.finditer(text):
        if is_data is None or is_data(match[0]):
            spans.append(match.span())
    return spans


def _merged(spans: Spans) -> Spans:
    """Spans in order, overlapping ones made one."""
    merged: Spans = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            first, last = merged.pop()
            merged.append((first, max(end, last)))
        else:
            merged.append((start, end))
    return merged


def _hexadecimal(run: str) -> bool:
    """Hexadecimal of anything mixes digits and letters, or is zeros; a word does not, nor does a table of
    numbers or a factorial."""
    digits = set(run) & _DECIMAL
    if not digits:
        return False
    return digits == {"0"} or not _HEX_LETTERS.isdisjoint(run)


def _mixed(run: str) -> bool:
    """Base64 of anything mixes digits, capitals and small letters; a long path or a ruler does not."""
    if not any(map(str.isdigit, run)):
        return False
    return any(map(str.isupper, run)) and any(map(str.islower, run))


class EncodedRuns(Op):
    """Drops documents with long, or with many, runs of base64, hexadecimal or escaped data."""

    kind: Literal["encoded_runs"] = "encoded_runs"
    version: ClassVar[int] = 2
    max_run_chars: int = Field(1024, ge=1, description="longest run kept [characters]; StarCoder2: 1024")
    max_frac: float = Field(
        0.5, ge=0, le=1, description="share of the document that runs may be [fraction]; StarCoder2: 0.5"
    )
    EXAMPLES: ClassVar = ({"kind": "encoded_runs"},)

    def apply(self, doc: Document) -> Document | Drop:
        runs = [end - start for start, end in encoded_runs(doc.text)]
        if not runs:
            return doc
        if max(runs) > self.max_run_chars:
            longest = f"a run of {max(runs):,} characters"
            return Drop("long_encoded_run", measured=longest, limit="max_run_chars")
        if sum(runs) <= self.max_frac * len(doc.text):
            return doc
        share = sum(runs) / len(doc.text)
        return Drop("mostly_encoded", measured=f"{share:.4g} of the characters", limit="max_frac")
