"""FineWeb's own quality rules for prose, with the verdicts and reasons of datatrove's filter on the same words.

FineWeb (arXiv 2406.17557), section 3.6: lines that end in punctuation, short lines, repeated lines, lists.
Code fails all of them, so the op is refused there.

Misfires, measured at the defaults on good documents of a labelled corpus: 22 of 22 books,
364 of 627 C4 pages, 428 of 1,068 CommonCrawl pages, 93 of 197 StackExchange threads, 2 of 121 Wikipedia pages;
most by `min_frac_lines_punctuated` and `max_frac_chars_in_dup_lines`.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Drop
from codemix.data.interfaces import ProseWordsOp
from codemix.data.text.lines import repeated_parts

if TYPE_CHECKING:
    from codemix.data.text.prose import ProseText


class FinewebQuality(ProseWordsOp):
    """Drops prose that fails FineWeb's rules: punctuation, short lines, repeated lines, lists."""

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
    version: ClassVar[int] = 3  # words are pieces between whitespace, unless `words:` says otherwise
    EXAMPLES: ClassVar = (
        {"kind": "fineweb_quality"},
        {"kind": "fineweb_quality", "max_frac_chars_in_dup_lines": 0.1},
    )

    def broken_rule(self, prose: "ProseText") -> Drop | None:
        text = prose.text
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        n_newlines = text.count("\n")
        stops = _stops()
        frac_punctuated = sum([line[-1] in stops for line in lines]) / len(lines)
        tolerated = self.keep_unpunctuated and frac_punctuated == 0
        if frac_punctuated < self.min_frac_lines_punctuated and not tolerated:
            measured = f"{frac_punctuated:.6g} of the lines end in punctuation"
            return Drop("line_punct_ratio", measured=measured, limit="min_frac_lines_punctuated")
        most = self.short_line_chars
        short = sum([len(line) <= most for line in lines])
        frac_short = short / len(lines)
        if frac_short > self.max_frac_short_lines:
            measured = f"{frac_short:.6g} of the lines are short"
            return Drop("short_line_ratio", measured=measured, limit="max_frac_short_lines")
        _, characters = repeated_parts(lines)
        frac_repeated = characters / (len(text) - n_newlines)
        if frac_repeated > self.max_frac_chars_in_dup_lines:
            measured = f"{frac_repeated:.6g} of the characters are in repeated lines"
            return Drop("char_dup_ratio", measured=measured, limit="max_frac_chars_in_dup_lines")
        if prose.n_words == 0:  # a blank of no width alone
            return Drop("no_words")
        per_word = n_newlines / prose.n_words
        if per_word > self.max_lines_per_word:
            return Drop(
                "list_ratio", measured=f"{per_word:.6g} newlines per word", limit="max_lines_per_word"
            )
        return None


@lru_cache(1)
def _stops() -> frozenset[str]:
    from codemix.data.text.punctuation import TERMINAL_PUNCTUATION

    return frozenset(TERMINAL_PUNCTUATION)
