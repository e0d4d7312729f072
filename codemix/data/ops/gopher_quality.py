"""Gopher's quality rules for prose, by datatrove's block.

Gopher (arXiv 2112.11446), Table A1. Made for English web text: on code nearly everything is dropped, so it is
refused there. `null` switches one rule off. A word is a piece between whitespace, as in the paper. datatrove
counts punctuation marks as words as well, and so drops most good texts by `min_frac_alpha_words`: `words:
datatrove` does as it does, with a regular expression in place of spaCy.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Apply
from codemix.data.interfaces import ProseOp


class GopherQuality(ProseOp):
    """Drops prose that fails Gopher's quality rules: words, symbols, bullets, stop words (datatrove)."""

    kind: Literal["gopher_quality"] = "gopher_quality"
    words: Literal["whitespace", "datatrove"] = Field(
        "whitespace",
        description="what a word is: a piece between whitespace, or as datatrove counts, punctuation marks and "
        "parts of contractions too",
    )
    min_words: int | None = Field(50, ge=1, description="words that are not symbols")
    max_words: int | None = Field(100_000, ge=1, description="words that are not symbols")
    min_mean_word_chars: float | None = Field(3, gt=0, description="mean length of a word [characters]")
    max_mean_word_chars: float | None = Field(10, gt=0, description="mean length of a word [characters]")
    max_symbols_per_word: float | None = Field(0.1, gt=0, description="`#` or `...` per word")
    max_frac_bullet_lines: float | None = Field(
        0.9, gt=0, le=1, description="lines that begin with a bullet or hyphen [fraction]"
    )
    max_frac_ellipsis_lines: float | None = Field(
        0.3, gt=0, le=1, description="lines that end in an ellipsis [fraction]"
    )
    min_frac_alpha_words: float | None = Field(
        0.8, gt=0, le=1, description="words with at least one letter [fraction]"
    )
    min_stop_words: int | None = Field(2, ge=1, description="different stop words")
    stop_words: tuple[str, ...] = Field(
        ("the", "be", "to", "of", "and", "that", "have", "with"),
        description="stop words, as written in lower case",
    )
    version: ClassVar[int] = 3  # words of scripts without whitespace, also by pieces
    EXAMPLES: ClassVar = (
        {"kind": "gopher_quality"},
        {"kind": "gopher_quality", "min_words": 20, "min_stop_words": None},
    )

    def start(self, state: Any) -> Apply:
        from codemix.data.datatrove_adapter.filters import gopher_quality

        return gopher_quality(
            whitespace_words=self.words == "whitespace",
            min_doc_words=self.min_words,
            max_doc_words=self.max_words,
            min_avg_word_length=self.min_mean_word_chars,
            max_avg_word_length=self.max_mean_word_chars,
            max_symbol_word_ratio=self.max_symbols_per_word,
            max_bullet_lines_ratio=self.max_frac_bullet_lines,
            max_ellipsis_lines_ratio=self.max_frac_ellipsis_lines,
            max_non_alpha_words_ratio=self.min_frac_alpha_words,
            min_stop_words=self.min_stop_words,
            stop_words=list(self.stop_words),
        )
