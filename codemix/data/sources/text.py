"""Plain text files, compressed or not: a document each, or one a line, or divided at a separator.

Text must be UTF-8; a byte that is not is reported with its place, and so are Git LFS pointers, UTF-16 and binary files.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.binary import no_text
from codemix.data.decompress import Damaged
from codemix.data.document import Document, Unreadable
from codemix.data.inputs import Input, Part
from codemix.data.locations import redacted
from codemix.data.opening import Opener
from codemix.data.rows import FileSource

NO_TEXT = {
    "lfs_pointer": "it stands for a file that Git LFS keeps elsewhere",
    "utf16": "it is UTF-16",
    "binary": "it holds zero bytes",
}


class Text(FileSource):
    """Plain text files, one document a file, a line, or a piece between separators."""

    kind: Literal["text"] = "text"
    version: ClassVar[int] = 2
    split: Literal["file", "line"] = Field("file", description="what one document is; blank lines are none")
    separator: str | None = Field(None, min_length=1, description="with `split: file`: divide files here, e.g. `<|endoftext|>`")
    language: str | None = Field(None, description="language noted for every document, e.g. English")
    EXAMPLES: ClassVar = (
        {"kind": "text", "paths": "books/**/*.txt"},
        {"kind": "text", "paths": "lines.txt.zst", "split": "line", "language": "English"},
    )

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        return opener.line_parts(given, part_bytes) if self.split == "line" else [Part(given)]

    def read(self, part: Part, opener: Opener) -> Iterator[Document | Unreadable]:
        name, opener = redacted(part.input.path), self.bounded(opener)
        meta = {"path": name} | ({"language": self.language} if self.language else {})
        if self.split == "line":
            for row, line in enumerate(opener.lines(part), part.first_row):
                if isinstance(line, Unreadable):
                    yield line
                elif line.strip():
                    yield document(line.rstrip(b"\r\n"), name, row, meta)
            return
        try:
            data = opener.whole(part.input)
        except Damaged as damage:
            yield Unreadable(damage.reason, f"{name}#0", damage.detail, rest_lost=True)
            return
        for row, piece in enumerate(data.split(self.separator.encode()) if self.separator else [data]):
            yield document(piece, name, row, meta)


def document(data: bytes, name: str, row: int, meta: dict) -> Document | Unreadable:
    """A document of strict UTF-8 bytes, a byte order mark left out."""
    if reason := no_text(data):
        return Unreadable(reason, f"{name}#{row}", NO_TEXT[reason])
    try:
        return Document(f"{name}#{row}", data.decode("utf-8").removeprefix("\ufeff"), dict(meta))
    except UnicodeDecodeError as bad:
        return Unreadable("bad_utf8", f"{name}#{row}", f"byte {data[bad.start]:#04x} at byte {bad.start}")
