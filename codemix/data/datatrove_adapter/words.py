"""Our words as datatrove's `WordTokenizer`s, and its normalization of text in linear time."""

from __future__ import annotations

import dataclasses
import re
import sys
import unicodedata
from functools import lru_cache

from datatrove.utils.text import TextNormConfig, simplify_text
from datatrove.utils.word_tokenizers import WordTokenizer

from codemix.data.text.unicode_forms import normalized
from codemix.data.text.words import words

_BEYOND_16_BITS = re.compile("[\U00010000-\U0010ffff]")


class Words:
    """A `WordTokenizer`. All of a class are equal, so that neighbouring blocks share one splitting of a
    document."""

    language = "any"

    def word_tokenize(self, text: str) -> list[str]:
        return words(text)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


WordTokenizer.register(Words)  # not by inheritance: nothing here splits sentences or spans


@lru_cache(2)
def _marks(start: int, stop: int) -> re.Pattern[str]:
    """Every combining mark in a range of code points. Within 16 bits such a class is a table; beyond, a slow
    list."""
    marks: list[str] = []
    for character in map(chr, range(start, stop)):
        if unicodedata.category(character) == "Mn":
            marks.append(character)
    inside = "".join(marks)
    return re.compile(f"[{inside}]+")


def simplified(text: str, norm: TextNormConfig) -> str:
    """datatrove's `simplify_text` in linear time: diacritics are looked for by expressions, not in a loop
    over characters, and in ASCII not at all."""
    text = simplify_text(text, dataclasses.replace(norm, norm_unicode_diacritics=False))
    if not norm.norm_unicode_diacritics or text.isascii():
        return text
    text = _marks(0, 0x10000).sub("", normalized("NFD", text))
    if _BEYOND_16_BITS.search(text):
        text = _marks(0x10000, sys.maxunicode + 1).sub("", text)
    return text.strip()
