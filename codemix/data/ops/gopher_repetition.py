"""Gopher's repetition rules for prose, with the verdicts and reasons of datatrove's filter on the same words.

Gopher (arXiv 2112.11446), Table A1. Code repeats itself by nature, so the op is refused there. Cap the size
of documents first (`size`): the n-grams of one very long text take much memory, some 50 bytes a character.
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
        return Drop(repeated) if repeated else doc

    def _paragraphs(self, text: str) -> str | None:
        parts = paragraphs(text)
        repeated, characters = repeated_parts(parts)
        if _above(repeated / len(parts), self.max_frac_dup_paragraphs):
            return "dup_para_frac"
        if _above(characters / len(text), self.max_frac_chars_in_dup_paragraphs):
            return "dup_para_char_frac"
        return None

    def _lines(self, text: str) -> str | None:
        lines = lines_between(text)
        repeated, characters = repeated_parts(lines)
        if _above(repeated / len(lines), self.max_frac_dup_lines):
            return "dup_line_frac"
        if _above(characters / len(text), self.max_frac_chars_in_dup_lines):
            return "dup_line_char_frac"
        return None

    def _n_grams(self, text: str) -> str | None:
        from codemix.data.text.prose import prose_text

        prose = prose_text(text, self.words)
        sizes = self.max_frac_top_n_gram.keys() | self.max_frac_dup_n_grams.keys()
        if sizes:
            prose.look_at(range(min(sizes), max(sizes) + 1))
        for n, most in sorted(self.max_frac_top_n_gram.items()):
            if prose.top_run_exceeds(n, most):
                return f"top_{n}_gram"
        for n, most in sorted(self.max_frac_dup_n_grams.items()):
            if prose.repeated_runs_exceed(n, most):
                return f"duplicated_{n}_n_grams"
        return None


def _above(fraction: float, most: float | None) -> bool:
    return most is not None and fraction > most
