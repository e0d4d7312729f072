"""Drops documents with long lines: minified code, data, and generated tables.

The Stack (arXiv 2211.15533) and StarCoder (arXiv 2305.06161, section 3.1) keep files whose lines have at most
100 characters on average and at most 1000 at the longest; Codex (arXiv 2107.03374) had the same two numbers.
StarCoder leaves HTML, JSON, Markdown and the like out of it: name those in `except_languages`.

Misfires, measured at the defaults on good prose of a labelled corpus: 21 of 22 books,
120 of 121 Wikipedia pages, 132 of 627 C4 pages; of good code, 41 of 3,443 files.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text import languages


class LineLengths(Op):
    """Drops documents whose lines are too long on average, or at the longest."""

    kind: Literal["line_lengths"] = "line_lengths"
    max_mean_chars: float = Field(100, gt=0, description="mean length of a line [characters]")
    max_line_chars: int = Field(1000, ge=1, description="length of the longest line [characters]")
    except_languages: tuple[str, ...] = Field(
        (), description="languages let through, e.g. [HTML, JSON, Markdown]"
    )
    EXAMPLES: ClassVar = (
        {"kind": "line_lengths"},
        {"kind": "line_lengths", "max_line_chars": 500, "except_languages": ["Markdown"]},
    )

    def apply(self, doc: Document) -> Document | Drop:
        lines = doc.text.split("\n")
        if len(lines) > 1 and not lines[-1]:
            lines.pop()  # a text that ends with a newline has no empty line after it
        longest = max(map(len, lines))
        too_long = longest > self.max_line_chars
        n_chars = len(doc.text) - doc.text.count("\n")
        if not too_long and n_chars <= self.max_mean_chars * len(lines):
            return doc
        excepted = map(languages.canonical, self.except_languages)
        if self.except_languages and languages.of(doc) in excepted:
            return doc
        if too_long:
            return Drop("long_line", measured=f"{longest:,} characters", limit="max_line_chars")
        mean = f"{n_chars / len(lines):,.4g} characters"
        return Drop("long_mean_line", measured=mean, limit="max_mean_chars")
