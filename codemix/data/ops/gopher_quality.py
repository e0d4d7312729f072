"""Gopher's quality rules for prose, with the verdicts and reasons of datatrove's filter on the same words.

Gopher (arXiv 2112.11446), Table A1. Made for English web text: on code nearly everything is dropped, so it is
refused there. `null` switches one rule off. A word is a piece between whitespace, as in the paper. datatrove
counts punctuation marks as words as well, and so drops most good texts by `min_frac_alpha_words`: `words:
datatrove` does as it does, with a regular expression in place of spaCy.

Misfires, measured at the defaults on good documents of a labelled corpus: 7 of 22 books (`max_words`), 83 of
197 StackExchange threads (41 of them by `min_stop_words`), 27 of 627 C4 pages, 21 of 1,068 CommonCrawl pages.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Drop
from codemix.data.interfaces import ProseWordsOp

if TYPE_CHECKING:
    from codemix.data.text.prose import ProseText

_BULLETS = ("•", "-")
_ELLIPSES = ("...", "…")


class GopherQuality(ProseWordsOp):
    """Drops prose that fails Gopher's quality rules: words, symbols, bullets, stop words."""

    kind: Literal["gopher_quality"] = "gopher_quality"
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

    def broken_rule(self, prose: "ProseText") -> Drop | None:
        if broken := self._lengths(prose):
            return broken
        if prose.n_words == 0:  # a blank of no width alone
            return Drop("no_words")
        return self._symbols(prose) or self._lines(prose) or self._kinds_of_words(prose)

    def _lengths(self, prose: "ProseText") -> Drop | None:
        """The rules for the number and the mean length of words that are not symbols."""
        from codemix.data.text.character_classes import NO_SYMBOL

        counted = prose.words_with(NO_SYMBOL)
        n_words = counted.words
        if self.min_words is not None and n_words < self.min_words:
            return _drop("short_doc", f"{n_words:,} words", "min_words")
        if self.max_words is not None and n_words > self.max_words:
            return _drop("long_doc", f"{n_words:,} words", "max_words")
        if n_words == 0:
            return None
        mean_chars = counted.characters / n_words
        if self.min_mean_word_chars is not None and mean_chars < self.min_mean_word_chars:
            measured = f"{mean_chars:.6g} characters per word"
            return _drop("below_avg_threshold", measured, "min_mean_word_chars")
        if self.max_mean_word_chars is not None and mean_chars > self.max_mean_word_chars:
            measured = f"{mean_chars:.6g} characters per word"
            return _drop("above_avg_threshold", measured, "max_mean_word_chars")
        return None

    def _symbols(self, prose: "ProseText") -> Drop | None:
        most = self.max_symbols_per_word
        if most is None:
            return None
        n_words = prose.n_words
        hashes = prose.text.count("#") / n_words
        if hashes > most:
            return _drop("too_many_hashes", f"{hashes:.6g} `#` per word", "max_symbols_per_word")
        ellipses = _ellipses(prose.text) / n_words
        if ellipses > most:
            return _drop("too_many_ellipsis", f"{ellipses:.6g} ellipses per word", "max_symbols_per_word")
        return None

    def _lines(self, prose: "ProseText") -> Drop | None:
        """The rules for how lines begin and end. Few marks in the whole text settle them."""
        lines = prose.text.splitlines()
        if (most := self.max_frac_bullet_lines) is not None:
            marks = sum(map(prose.text.count, _BULLETS))
            if marks / len(lines) > most:
                begin = sum(line.lstrip().startswith(_BULLETS) for line in lines)
                share = begin / len(lines)
                if share > most:
                    measured = f"{share:.6g} of the lines begin with a bullet"
                    return _drop("too_many_bullets", measured, "max_frac_bullet_lines")
        if (most := self.max_frac_ellipsis_lines) is not None and _ellipses(prose.text) / len(lines) > most:
            end = sum(line.rstrip().endswith(_ELLIPSES) for line in lines)
            share = end / len(lines)
            if share > most:
                measured = f"{share:.6g} of the lines end in an ellipsis"
                return _drop("too_many_end_ellipsis", measured, "max_frac_ellipsis_lines")
        return None

    def _kinds_of_words(self, prose: "ProseText") -> Drop | None:
        """The rules for words with letters and for stop words."""
        from codemix.data.text.character_classes import LETTER

        least = self.min_frac_alpha_words
        if least is not None:
            with_letters = prose.words_with(LETTER).words / prose.n_words
            if with_letters < least:
                measured = f"{with_letters:.6g} of the words have a letter"
                return _drop("below_alpha_threshold", measured, "min_frac_alpha_words")
        least_words = self.min_stop_words
        stop_words = frozenset(self.stop_words)
        if least_words is not None and not prose.mentions(stop_words, least_words):
            found = stop_words.intersection(prose.words)
            return _drop("enough_stop_words", f"{len(found)} different stop words", "min_stop_words")
        return None


def _drop(reason: str, measured: str, limit: str) -> Drop:
    return Drop(f"gopher_{reason}", measured=measured, limit=limit)


def _ellipses(text: str) -> int:
    return sum(map(text.count, _ELLIPSES))
