"""Drops data files that are too short to say anything or too long to be anything but data.

StarCoder (arXiv 2305.06161, section 3.1) keeps JSON and YAML of 50 to 5000 characters.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text import languages


class DataFileSize(Op):
    """Drops JSON, YAML and CSV files outside of a range of sizes; other languages pass."""

    kind: Literal["data_file_size"] = "data_file_size"
    min_chars: int = Field(50, ge=0, description="shortest file kept [characters]")
    max_chars: int = Field(5000, ge=1, description="longest file kept [characters]")
    languages: tuple[str, ...] = Field(
        ("JSON", "YAML", "CSV"), description="languages looked at; StarCoder: JSON and YAML"
    )
    EXAMPLES: ClassVar = (
        {"kind": "data_file_size"},
        {"kind": "data_file_size", "max_chars": 20000, "languages": ["JSON"]},
    )

    def apply(self, doc: Document) -> Document | Drop:
        n_chars = len(doc.text)
        if self.min_chars <= n_chars <= self.max_chars or languages.of(doc) not in map(
            languages.canonical, self.languages
        ):
            return doc
        measured = f"{n_chars:,} characters"
        if n_chars < self.min_chars:
            return Drop("small_data_file", measured=measured, limit="min_chars")
        return Drop("large_data_file", measured=measured, limit="max_chars")
