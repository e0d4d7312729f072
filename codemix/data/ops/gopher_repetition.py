"""Gopher's repetition rules for prose, by datatrove's block with a regular-expression word tokenizer in place
of spaCy.

Gopher (arXiv 2112.11446), Table A1. Code repeats itself by nature, so the op is refused there. Cap the size
of documents first (`size`): the sets of n-grams of one very long text take much memory.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Apply
from codemix.data.interfaces import ProseOp


class GopherRepetition(ProseOp):
    """Drops prose that repeats lines, paragraphs or n-grams too much (Gopher's rules, datatrove)."""

    kind: Literal["gopher_repetition"] = "gopher_repetition"
    max_frac_dup_lines: float | None = Field(
        0.3, gt=0, le=1, description="lines that were there before [fraction]"
    )
    max_frac_dup_paragraphs: float | None = Field(
        0.3, gt=0, le=1, description="paragraphs that were there before [fraction]"
    )
    max_frac_chars_in_dup_lines: float | None = Field(
        0.2, gt=0, le=1, description="characters in repeated lines [fraction]"
    )
    max_frac_chars_in_dup_paragraphs: float | None = Field(
        0.2, gt=0, le=1, description="characters in repeated paragraphs [fraction]"
    )
    max_frac_top_n_gram: dict[int, float] = Field(
        {2: 0.2, 3: 0.18, 4: 0.16}, description="n -> characters in the most frequent n-gram [fraction]"
    )
    max_frac_dup_n_grams: dict[int, float] = Field(
        {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
        description="n -> characters in repeated n-grams [fraction]",
    )
    version: ClassVar[int] = 2  # words of scripts without whitespace
    EXAMPLES: ClassVar = (
        {"kind": "gopher_repetition"},
        {"kind": "gopher_repetition", "max_frac_dup_lines": 0.5, "max_frac_dup_n_grams": {10: 0.2}},
    )

    def start(self, state: Any) -> Apply:
        from codemix.data.datatrove_adapter.filters import gopher_repetition

        return gopher_repetition(
            dup_line_frac=self.max_frac_dup_lines,
            dup_para_frac=self.max_frac_dup_paragraphs,
            dup_line_char_frac=self.max_frac_chars_in_dup_lines,
            dup_para_char_frac=self.max_frac_chars_in_dup_paragraphs,
            top_n_grams=tuple(sorted(self.max_frac_top_n_gram.items())),
            dup_n_grams=tuple(sorted(self.max_frac_dup_n_grams.items())),
        )
