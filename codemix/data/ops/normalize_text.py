"""Evens out how text is written, without touching what it says: newlines, a byte order mark, control
characters. A transform.

Each part is switchable; the defaults change nothing that a reader could see.
"""

import re
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text.unicode_forms import normalized

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")  # all but tab, line feed, form feed, carriage return
_TRAILING = re.compile(r"(?<![ \t])[ \t]++(?=\n|\Z)")  # tried once per run of spaces, not once per space


class NormalizeText(Op):
    """Evens out newlines, byte order marks and control characters; optionally Unicode form and trailing
    spaces."""

    kind: Literal["normalize_text"] = "normalize_text"
    line_ends: bool = Field(True, description="\\r\\n and \\r become \\n")
    control_characters: bool = Field(
        True, description="remove control characters and a byte order mark at the start"
    )
    unicode: Literal["NFC", "NFKC"] | None = Field(
        None, description="Unicode normal form; NFKC changes what code means"
    )
    trailing_blanks: bool = Field(
        False, description="remove spaces and tabs at the ends of lines; Markdown's line breaks go with them"
    )
    EXAMPLES: ClassVar = (
        {"kind": "normalize_text"},
        {"kind": "normalize_text", "unicode": "NFC", "trailing_blanks": True},
    )

    def apply(self, doc: Document) -> Document | Drop:
        text = doc.text
        if self.line_ends and "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if self.control_characters:
            text = _CONTROL.sub("", text.removeprefix("\ufeff"))
        if self.unicode is not None and not text.isascii():
            text = normalized(self.unicode, text)
        if self.trailing_blanks:
            text = _TRAILING.sub("", text)
        return doc if text == doc.text else doc.with_text(text)
