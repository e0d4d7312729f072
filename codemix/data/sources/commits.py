"""Commits as text: message, code before, code after, and their difference, in the order and with the marks
you ask for.

CommitPack's columns (arXiv 2308.07124) are the defaults. StarCoder (arXiv 2305.06161, section 3.3) trains on
`<commit_before>...<commit_msg>...<commit_after>...`; the marks here are plain text, never special tokens. A
row's own `diff` field is used where there is one, else the difference is computed.
"""

import difflib
import io
from itertools import islice
from typing import Any, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Drop
from codemix.data.sources._rows import RowSource, Texter, string_getter
from codemix.recipe.language.quantities import Bytes

Piece = Literal["message", "before", "diff", "after"]


class Commits(RowSource):
    """Commits (CommitPack's columns by default) as before, message, after or as a diff."""

    kind: Literal["commits"] = "commits"
    pieces: tuple[Piece, ...] = Field(
        ("before", "message", "after"), min_length=1, description="what the text is made of, in this order"
    )
    marks: dict[Piece, str] = Field(
        {
            "message": "<commit_msg>",
            "before": "<commit_before>",
            "diff": "<commit_diff>",
            "after": "<commit_after>",
        },
        description="what precedes each piece; a piece begins on the next line",
    )
    before: str = Field("old_contents", description="field of the file before")
    after: str = Field("new_contents", description="field of the file after")
    message: str = Field("message", description="field of the commit message")
    diff: str | None = Field(
        None, description="field of the difference; default: computed from before and after"
    )
    context_lines: int = Field(
        3, ge=0, le=1000, description="[computed diff] unchanged lines around each change"
    )
    max_bytes: Bytes = Field(
        200_000,
        ge=1,
        description="before and after together; larger ones, slow to compare, are dropped and counted [bytes]",
    )
    EXAMPLES: ClassVar = (
        {
            "kind": "commits",
            "paths": "commits/*.jsonl.gz",
            "metadata": {"path": "new_file", "language": "lang", "licence": "license"},
        },
        {
            "kind": "commits",
            "paths": "commits/*.jsonl.gz",
            "pieces": ["message", "diff"],
            "marks": {"message": "", "diff": ""},
            "context_lines": 10,
        },
    )

    def text_fields(self) -> list[str]:
        fields: list[str] = []
        for piece in self.pieces:
            field = self._field_of(piece)
            fields += [field] if field else [self.before, self.after]
        return list(dict.fromkeys(fields))

    def _field_of(self, piece: Piece) -> str | None:
        """The field that holds a piece; None for a difference that is computed."""
        fields = {
            "message": self.message,
            "before": self.before,
            "after": self.after,
            "diff": self.diff,
        }
        return fields[piece]

    def texter(self) -> Texter:
        sides = (self.before, self.after)  # a created file has no before, a deleted one no after
        getters = {}
        for field in self.text_fields():
            getters[field] = string_getter(field, optional=field in sides)

        def text(row: dict[str, Any]) -> str | Drop:
            contents = {field: get(row) for field, get in getters.items()}
            before = contents.get(self.before, "")
            after = contents.get(self.after, "")
            size = _utf8_bytes(before) + _utf8_bytes(after)
            if size > self.max_bytes:
                return Drop("too_large")
            if not any(content.strip() for content in contents.values()):
                return ""
            pieces = []
            for piece in self.pieces:
                field = self._field_of(piece)
                content = contents[field] if field else self._diff(before, after)
                mark = self.marks.get(piece, "")
                pieces.append(f"{mark}\n{content}" if mark else content)
            stripped = [piece.rstrip("\n") for piece in pieces]
            return "\n".join(stripped) + "\n"

        return text

    def _diff(self, before: str, after: str) -> str:
        lines = difflib.unified_diff(_lines(before), _lines(after), n=self.context_lines)
        text = []
        for line in islice(lines, 2, None):  # without the two lines that would name the files
            text.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
        return "".join(text)


def _utf8_bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _lines(text: str) -> list[str]:
    """Lines as git sees them: only a newline ends one."""
    return list(io.StringIO(text, newline="\n"))
