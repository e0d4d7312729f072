"""Gopher's repetition rules for prose, with the verdicts and reasons of datatrove's filter on the same words.

Gopher (arXiv 2112.11446), Table A1. Code repeats itself by nature, so the op is refused there. Cap the size
of documents first (`size`): the n-grams of one very long text take much memory, some 50 bytes a character.

Misfires, measured at the defaults on good documents of a labelled corpus: 22 of 22 books
(`max_frac_dup_lines`), 128 of 627 C4 pages and 124 of 1,068 CommonCrawl pages (most by runs of 5 words), 27 of 197
StackExchange threads, 1 of 121 Wikipedia pages.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Drop
from codemix.data.interfaces import ProseWordsOp
from codemix.data.text.lines import lines_between, paragraphs, repeated_parts

if TYPE_CHECKING:
    from codemix.data.text.prose import ProseText
    from codemix.data.text.prose_batch import Limits

NGram = Annotated[int, Field(ge=1, le=100)]  # words
Fraction = Annotated[float, Field(ge=0, le=1)]


class GopherRepetition(ProseWordsOp):
    """Drops prose that repeats lines, paragraphs or n-grams too much (Gopher's rules)."""

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
    max_frac_top_n_gram: dict[NGram, Fraction] = Field(
        {2: 0.2, 3: 0.18, 4: 0.16}, description="n -> characters in the most frequent n-gram [fraction]"
    )
    max_frac_dup_n_grams: dict[NGram, Fraction] = Field(
        {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
        description="n -> characters in repeated n-grams [fraction]",
    )
    version: ClassVar[int] = 3  # words are pieces between whitespace, unless `words:` says otherwise
    EXAMPLES: ClassVar = (
        {"kind": "gopher_repetition"},
        {"kind": "gopher_repetition", "max_frac_dup_lines": 0.5, "max_frac_dup_n_grams": {10: 0.2}},
    )

    def broken_rule(self, prose: "ProseText") -> Drop | None:
        text = prose.text
        return self._paragraphs(text) or self._lines(text) or self._n_grams(prose)

    def _paragraphs(self, text: str) -> Drop | None:
        parts = paragraphs(text)
        repeated, characters = repeated_parts(parts)
        of_paragraphs = repeated / len(parts)
        if _above(of_paragraphs, self.max_frac_dup_paragraphs):
            measured = f"{of_paragraphs:.6g} of the paragraphs stood before"
            return Drop("dup_para_frac", measured=measured, limit="max_frac_dup_paragraphs")
        of_characters = characters / len(text)
        if _above(of_characters, self.max_frac_chars_in_dup_paragraphs):
            measured = f"{of_characters:.6g} of the characters are in repeated paragraphs"
            return Drop("dup_para_char_frac", measured=measured, limit="max_frac_chars_in_dup_paragraphs")
        return None

    def _lines(self, text: str) -> Drop | None:
        lines = lines_between(text)
        repeated, characters = repeated_parts(lines)
        of_lines = repeated / len(lines)
        if _above(of_lines, self.max_frac_dup_lines):
            measured = f"{of_lines:.6g} of the lines stood before"
            return Drop("dup_line_frac", measured=measured, limit="max_frac_dup_lines")
        of_characters = characters / len(text)
        if _above(of_characters, self.max_frac_chars_in_dup_lines):
            measured = f"{of_characters:.6g} of the characters are in repeated lines"
            return Drop("dup_line_char_frac", measured=measured, limit="max_frac_chars_in_dup_lines")
        return None

    def _n_grams(self, prose: "ProseText") -> Drop | None:
        limits = _ascending(self.max_frac_top_n_gram)
        if top := prose.top_run_above(limits):
            measured = f"{top.of_text:.6g} of the characters are in the most frequent run of {top.n} words"
            return Drop(f"top_{top.n}_gram", measured=measured, limit=f"max_frac_top_n_gram.{top.n}")
        limits = _ascending(self.max_frac_dup_n_grams)
        if repeated := prose.repeated_runs_above(limits):
            n = repeated.n
            measured = f"{repeated.of_text:.6g} of the characters are in repeated runs of {n} words"
            return Drop(f"duplicated_{n}_n_grams", measured=measured, limit=f"max_frac_dup_n_grams.{n}")
        return None


def _above(fraction: float, most: float | None) -> bool:
    return most is not None and fraction > most


def _ascending(limits: dict[int, float]) -> "Limits":
    return tuple(sorted(limits.items()))
