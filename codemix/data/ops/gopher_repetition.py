"""Gopher's repetition rules for prose, with the verdicts and reasons of datatrove's filter on the same words.

Gopher (arXiv 2112.11446), Table A1. Code repeats itself by nature, so the op is refused there. Cap the size
of documents first (`size`): the n-grams of one very long text take much memory, some 50 bytes a character.

Misfires, measured at the defaults on good documents of a labelled corpus: 22 of 22 books
(`max_frac_dup_lines`), 128 of 627 C4 pages and 124 of 1,068 CommonCrawl pages (most by runs of 5 words), 27 of 197
StackExchange threads, 1 of 121 Wikipedia pages.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import ProseWordsOp
from codemix.data.text.lines import lines_between, paragraphs, repeated_parts
from codemix.data.text.words import has_words

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

    def apply(self, doc: Document) -> Document | Drop:
        if not has_words(doc.text):
            return Drop("no_words")
        repeated = self._paragraphs(doc.text) or self._lines(doc.text) or self._n_grams(doc.text)
        return repeated or doc

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

    def _n_grams(self, text: str) -> Drop | None:
        from codemix.data.text.prose import prose_text

        prose = prose_text(text, self.words)
        sizes = self.max_frac_top_n_gram.keys() | self.max_frac_dup_n_grams.keys()
        if sizes:
            prose.look_at(range(min(sizes), max(sizes) + 1))
        for n, most in sorted(self.max_frac_top_n_gram.items()):
            above = prose.top_run_above(n, most)
            if above is not None:
                measured = f"{above:.6g} of the characters are in the most frequent run of {n} words"
                return Drop(f"top_{n}_gram", measured=measured, limit=f"max_frac_top_n_gram.{n}")
        for n, most in sorted(self.max_frac_dup_n_grams.items()):
            above = prose.repeated_runs_above(n, most)
            if above is not None:
                measured = f"{above:.6g} of the characters are in repeated runs of {n} words"
                return Drop(f"duplicated_{n}_n_grams", measured=measured, limit=f"max_frac_dup_n_grams.{n}")
        return None


def _above(fraction: float, most: float | None) -> bool:
    return most is not None and fraction > most
