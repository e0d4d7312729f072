"""Commits as text: message, code before, code after, and their difference, in the order and with the marks you ask for.

CommitPack's columns (arXiv 2308.07124) are the defaults. StarCoder (arXiv 2305.06161, section 3.3) trains on
`<commit_before>...<commit_msg>...<commit_after>...`; the marks here are plain text, never special tokens. A row's own
`diff` field is used where there is one, else the difference is computed.
"""

import difflib
import io
from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Drop
from codemix.data.sources._rows import RowSource, string_getter
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
        description="what stands before each piece; a piece begins on the next line",
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
        diff = [self.diff] if self.diff else [self.before, self.after]
        fields = {"message": [self.message], "before": [self.before], "after": [self.after], "diff": diff}
        return list(dict.fromkeys(field for piece in self.pieces for field in fields[piece]))

    def texter(self) -> Callable[[dict], str | Drop]:
        sides = (self.before, self.after)  # a created file has no before, a deleted one no after
        get = {field: string_getter(field, optional=field in sides) for field in self.text_fields()}
        names = {"message": self.message, "before": self.before, "after": self.after, "diff": self.diff}

        def text(row: dict) -> str | Drop:
            found = {field: getter(row) for field, getter in get.items()}
            before, after = found.get(self.before, ""), found.get(self.after, "")
            if sum(len(side.encode("utf-8", "replace")) for side in (before, after)) > self.max_bytes:
                return Drop("too_large")
            pieces = []
            for piece in self.pieces:
                content = (
                    self._diff(before, after)
                    if piece == "diff" and self.diff is None
                    else found[names[piece]]
                )
                mark = self.marks.get(piece, "")
                pieces.append(f"{mark}\n{content}" if mark else content)
            if not any(found[field].strip() for field in found):
                return ""
            return "\n".join(piece.rstrip("\n") for piece in pieces) + "\n"

        return text

    def _diff(self, before: str, after: str) -> str:
        sides = (list(io.StringIO(side, newline="\n")) for side in (before, after))
        lines = list(difflib.unified_diff(*sides, n=self.context_lines))[
            2:
        ]  # without the two lines that would name the files
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        )
