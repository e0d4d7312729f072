"""Drops HTML documents that show little text: templates, trackers, pages of scripts.

StarCoder (arXiv 2305.06161, section 3.1) keeps HTML in which visible text is at least 20 % of the characters,
and at least 100 characters long. Visible is what is left without scripts, styles, comments and tags.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text import languages
from codemix.data.text.html_text import visible_text


class HtmlVisibleText(Op):
    """Drops HTML with too little visible text, as a share and in characters."""

    kind: Literal["html_visible_text"] = "html_visible_text"
    version: ClassVar[int] = 2
    min_frac: float = Field(0.2, ge=0, le=1, description="visible share of the characters [fraction]")
    min_chars: int = Field(100, ge=0, description="visible characters")
    languages: tuple[str, ...] = Field(("HTML",), description="languages looked at; others pass")
    EXAMPLES: ClassVar = ({"kind": "html_visible_text"},)

    def apply(self, doc: Document) -> Document | Drop:
        if languages.of(doc) not in map(languages.canonical, self.languages):
            return doc
        n_visible = len(visible_text(doc.text))
        if n_visible < self.min_chars:
            measured = f"{n_visible:,} visible characters"
            return Drop("little_visible_text", measured=measured, limit="min_chars")
        if n_visible >= self.min_frac * len(doc.text):
            return doc
        share = n_visible / len(doc.text)
        measured = f"{share:.4g} of the characters visible"
        return Drop("small_visible_share", measured=measured, limit="min_frac")
