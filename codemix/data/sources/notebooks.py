"""Jupyter notebooks as text: from a column of raw .ipynb (The Stack's notebooks), or from .ipynb files.

The paper (arXiv 2408.10914, section 3.4) has notebooks as a part of code-adjacent data. StarCoder (arXiv
2305.06161, section 3.2) turns them into scripts, with Markdown cells as comments; `style: markdown` keeps
prose as prose instead. All formats of notebooks (nbformat 1 to 4) are read, and as Jupyter does also with NaN
or half an emoji in an output.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Item, Unreadable
from codemix.data.inputs.decompression import Damaged
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.data.sources._notebook_text import notebook_text
from codemix.data.sources._row_files import ROW_SUFFIXES
from codemix.data.sources._rows import RowSource, Texter, string_getter
from codemix.data.text.binary import NO_TEXT, no_text


class Notebooks(RowSource):
    """Jupyter notebooks (.ipynb files, or a column of them) as scripts or as Markdown."""

    kind: Literal["notebooks"] = "notebooks"
    version: ClassVar[int] = 3
    SUFFIXES: ClassVar = (".ipynb", *ROW_SUFFIXES)
    text: str = Field(
        "content", min_length=1, description="field that holds the raw notebook; unused for .ipynb files"
    )
    style: Literal["script", "markdown"] = Field(
        "script", description="script: prose as comments; markdown: code in fences"
    )
    outputs: Literal["none", "text"] = Field(
        "none", description="text: keep printed and plain-text results, never images, HTML or tracebacks"
    )
    max_output_chars: int = Field(
        1000, ge=1, description="[outputs: text] longest output of one cell [characters]"
    )
    EXAMPLES: ClassVar = (
        {"kind": "notebooks", "paths": "notebooks/*.parquet", "metadata": {"path": "max_stars_repo_path"}},
        {
            "kind": "notebooks",
            "paths": "work/**/*.ipynb",
            "style": "markdown",
            "outputs": "text",
            "max_output_chars": 500,
        },
    )

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        return (
            [Part(given)]
            if given.path.lower().endswith(".ipynb")
            else super().parts(given, opener, part_bytes)
        )

    def text_fields(self) -> list[str]:
        return [self.text]

    def texter(self) -> Texter:
        get = string_getter(self.text)
        return lambda row: self._as_text(get(row))

    def _as_text(self, raw: str | bytes) -> str:
        return notebook_text(
            raw, style=self.style, outputs=self.outputs, max_output_chars=self.max_output_chars
        )

    def read(self, part: Part, opener: Opener) -> Iterator[Item]:
        name = part.input.path
        if not name.lower().endswith(".ipynb"):
            yield from super().read(part, opener)
            return
        try:
            data = self.bounded(opener).whole(part.input)
            if reason := no_text(data):
                raise Damaged(reason, NO_TEXT[reason])
            text = self._as_text(data)
        except Damaged as damage:
            yield Unreadable(damage.reason, name, damage.detail)
            return
        yield Document(f"{name}#0", text, {"path": name, "language": "Jupyter Notebook"})
