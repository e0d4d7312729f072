"""FineWeb's own quality rules for prose, by datatrove's block with a regular-expression word tokenizer in
place of spaCy.

FineWeb (arXiv 2406.17557), section 3.6: lines that end in punctuation, short lines, repeated lines, lists.
Code fails all of them, so the op is refused there.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Apply
from codemix.data.interfaces import ProseOp


class FinewebQuality(ProseOp):
    """Drops prose that fails FineWeb's rules: punctuation, short lines, repeated lines, lists (datatrove)."""

    kind: Literal["fineweb_quality"] = "fineweb_quality"
    min_frac_lines_punctuated: float = Field(
        0.12, ge=0, le=1, description="lines that end in terminal punctuation [fraction]"
    )
    keep_unpunctuated: bool = Field(
        False, description="keep documents in which no line at all ends in punctuation"
    )
    max_frac_short_lines: float = Field(
        0.67, ge=0, le=1, description="lines of at most `short_line_chars` [fraction]"
    )
    short_line_chars: int = Field(30, ge=0, description="what a short line is [characters]")
    max_frac_chars_in_dup_lines: float = Field(
        0.01, ge=0, le=1, description="characters in repeated lines [fraction]"
    )
    max_lines_per_word: float = Field(0.3, ge=0, description="newlines per word; more is a list")
    version: ClassVar[int] = 2  # words of scripts without whitespace
    EXAMPLES: ClassVar = (
        {"kind": "fineweb_quality"},
        {"kind": "fineweb_quality", "max_frac_chars_in_dup_lines": 0.1},
    )

    def start(self, state: Any) -> Apply:
        from codemix.data.datatrove_adapter.filters import fineweb_quality

        return fineweb_quality(
            line_punct_thr=self.min_frac_lines_punctuated,
            line_punct_exclude_zero=self.keep_unpunctuated,
            short_line_thr=self.max_frac_short_lines,
            short_line_length=self.short_line_chars,
            char_duplicates_ratio=self.max_frac_chars_in_dup_lines,
            new_line_ratio=self.max_lines_per_word,
        )
