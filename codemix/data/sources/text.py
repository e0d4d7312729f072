"""Plain text files, compressed or not: a document each, or one a line, or divided at a separator.

Text must be UTF-8 unless `encoding:` names another (`latin-1`, `iso8859-2`, `cp1252`, `shift_jis`, ...). A
byte that is not in the encoding is reported with its place, and so are Git LFS pointers, binary files, and
UTF-16 that is not announced.
"""

import codecs
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from codemix.data.document import Document, Unreadable, row_of
from codemix.data.inputs.decompression import Damaged
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.data.sources._rows import FileSource
from codemix.data.text.binary import NO_TEXT, mostly_control, no_text

_NO_FILES = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)  # of Python's codecs


class Text(FileSource):
    """Plain text files, one document a file, a line, or a piece between separators."""

    kind: Literal["text"] = "text"
    version: ClassVar[int] = 2
    split: Literal["file", "line"] = Field(
        "file", description="what one document is; blank lines are skipped"
    )
    separator: str | None = Field(
        None, min_length=1, description="with `split: file`: divide files here, e.g. `<|endoftext|>`"
    )
    language: str | None = Field(None, description="language noted for every document, e.g. English")
    encoding: str = Field(
        "utf-8",
        description="encoding of the files, by any of Python's names for it, e.g. latin-1 or iso8859-2",
    )
    EXAMPLES: ClassVar = (
        {"kind": "text", "paths": "books/**/*.txt"},
        {"kind": "text", "paths": "lines.txt.zst", "split": "line", "language": "English"},
        {"kind": "text", "paths": "old/*.txt", "encoding": "latin-1"},
    )

    @field_validator("encoding")
    @classmethod
    def _one_name_each(cls, value: str) -> str:
        try:
            name = codecs.lookup(value).name
            known = name not in _NO_FILES and isinstance("a".encode(name), bytes)
        except (LookupError, ValueError):  # the latter for a name with a zero byte
            known = False
        if not known:
            hints = ["for example utf-8, latin-1, iso8859-2, cp1252, koi8-r, shift_jis, gb18030, utf-16"]
            raise PydanticCustomError(
                "encoding", "Python knows no text encoding of this name", {"hints": hints}
            )
        return name.removesuffix("-sig")  # a byte order mark is left out anyway

    @model_validator(mode="after")
    def _lines_end_alike(self):
        if self.split == "line" and not self._extends_ascii:
            hints = [
                "convert the files to UTF-8 first, for example with `iconv`",
                "or read them with `split: file`",
            ]
            raise PydanticCustomError(
                "encoding", "files in this encoding cannot be split into lines", {"hints": hints}
            )
        return self

    @property
    def _extends_ascii(self) -> bool:
        has_states = self.encoding.startswith(("iso2022", "hz"))
        return not has_states and "\n".encode(self.encoding) == b"\n"

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        if self.split == "line":
            return opener.line_parts(given, part_bytes)
        return [Part(given)]

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable]:
        name, opener = part.input.path, self.bounded(opener)
        meta = {"path": name} | ({"language": self.language} if self.language else {})
        if self.split == "line":
            for row, line in opener.lines(part):
                if isinstance(line, Unreadable):
                    yield line
                elif line.strip():
                    yield document(
                        line.rstrip(b"\r\n"), name, row, meta, where=row_of(name, row), encoding=self.encoding
                    )
            return
        try:
            data = opener.whole(part.input)
        except Damaged as damage:
            yield Unreadable(damage.reason, name, damage.detail, rest_lost=True)
            return
        if self.encoding != "utf-8":
            yield from self._pieces(data, name, meta)
            return
        for row, piece in enumerate(data.split(self.separator.encode()) if self.separator else [data]):
            yield document(piece, name, row, meta, where=row_of(name, row) if self.separator else name)

    def _pieces(self, data: bytes, name: str, meta: dict) -> Iterator[Document | Unreadable]:
        """The documents of a file whose bytes may only be divided once they are decoded: a separator's could
        be half of others."""
        if self._extends_ascii and (reason := refused(data, self.encoding)):
            yield Unreadable(reason, name, NO_TEXT[reason])
            return
        whole = decoded(data, name, self.encoding)
        if isinstance(whole, Unreadable):
            yield whole
        elif "\0" in whole:
            yield Unreadable("binary", name, NO_TEXT["binary"])
        else:
            for row, text in enumerate(whole.split(self.separator) if self.separator else [whole]):
                yield Document(f"{name}#{row}", text, dict(meta))


def document(
    data: bytes, name: str, row: int, meta: dict, *, where: str = "", encoding: str = "utf-8"
) -> Document | Unreadable:
    """A document of bytes in an encoding that extends ASCII, strictly decoded, a byte order mark left out."""
    place = where or name
    if reason := refused(data, encoding):
        return Unreadable(reason, place, NO_TEXT[reason])
    text = decoded(data, place, encoding)
    if isinstance(text, Unreadable):
        return text
    return Document(f"{name}#{row}", text, dict(meta))


def refused(data: bytes, encoding: str) -> str | None:
    """Why bytes are not text in an encoding that extends ASCII, before they are decoded; None when they may
    be."""
    if reason := no_text(data):
        return reason
    return (
        "control_characters" if encoding != "utf-8" and mostly_control(data) else None
    )  # others know every byte


def decoded(data: bytes, where: str, encoding: str) -> str | Unreadable:
    """The text of bytes, strictly decoded, without a byte order mark."""
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as bad:
        reason = "bad_utf8" if encoding == "utf-8" else "bad_encoding"
        return Unreadable(reason, where, f"byte {data[bad.start]:#04x} at byte {bad.start}")
