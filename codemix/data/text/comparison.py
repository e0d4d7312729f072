"""What of a text counts when texts are compared for near-duplicates, and its words, in arrays.

Combining marks and whitespace never count. Folded (for prose), neither do case, punctuation and digits: marks
of punctuation are blanks, and a number is a single 0. A word is what lies between blanks; in scripts without
whitespace each letter is one, and so is every symbol that is left, and each character beyond 16 bits.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from codemix.data.text.word_runs import U64, WordRuns, code_points
from codemix.data.text.words import unspaced_characters

_BLANK, _ALONE, _DROPPED, _DIGIT, _POINT = 1, 2, 4, 8, 16  # kinds of characters, as bits
_LAST = 0xFFFF  # no character; stands for all beyond
_POINTS = ".,،٫"  # in a number, before a digit


def compared_words(text: str, *, fold: bool) -> WordRuns:
    """The words that are compared, hashed by 64 bits."""
    table = _table(fold)
    characters = code_points(text)
    near = characters if text.isascii() else np.minimum(characters, _LAST)
    kinds = table.kinds.take(near)
    folded = table.folded.take(near)
    if not text.isascii():
        np.copyto(folded, characters, where=characters > _LAST)
    dropped = kinds & _DROPPED
    is_kept = dropped == 0
    if fold:
        is_kept &= _begins_number_or_none(kinds)
    folded = folded[is_kept]
    kinds = kinds[is_kept]
    blank = kinds & _BLANK
    is_blank = blank.astype(bool)
    alone = kinds & _ALONE
    is_alone = alone.astype(bool)
    ends_word = is_blank | is_alone
    is_behind_end = ends_word[:-1]
    is_first = is_alone
    is_first[:1] = True
    is_first[1:] |= is_behind_end
    return WordRuns.parted(folded, is_blank, is_first, U64)


def _begins_number_or_none(kinds: np.ndarray) -> np.ndarray:
    """Where a number begins and where there is none; points inside numbers become digits of them."""
    digit = kinds & _DIGIT
    point = kinds & _POINT
    is_digit = digit.astype(bool)
    is_point = point.astype(bool)
    digit_before = is_digit[:-2]
    digit_behind = is_digit[2:]
    between_digits = digit_before & digit_behind
    between_digits &= is_point[1:-1]
    in_number = is_digit.copy()
    in_number[1:-1] |= between_digits
    number_before = in_number[:-1]
    continues = in_number.copy()
    continues[:1] = False
    continues[1:] &= number_before
    return ~continues


@dataclass(frozen=True)
class _Table:
    folded: np.ndarray  # by code point, uint32
    kinds: np.ndarray  # uint8


@lru_cache(2)
def _table(fold: bool) -> _Table:
    from codemix.data.text.punctuation import PUNCTUATION_SET

    folded = np.arange(_LAST + 1, dtype=np.uint32)
    kinds = np.zeros(_LAST + 1, np.uint8)
    unspaced = unspaced_characters()
    for code_point in range(_LAST):
        character = chr(code_point)
        kind = _kind(character, code_point in unspaced)
        if fold and character in PUNCTUATION_SET:
            kind = _BLANK | (kind & _POINT)
        kinds[code_point] = kind
        folded[code_point] = ord(_letter(character, fold))
    kinds[_LAST] = _ALONE
    return _Table(folded, kinds)


def _kind(character: str, is_unspaced: bool) -> int:
    category = unicodedata.category(character)
    if category == "Mn":
        return _DROPPED
    if character.isspace() or character == "\u200b":
        return _BLANK
    if category == "Nd":
        return _DIGIT
    if character in _POINTS:
        return _POINT | _ALONE
    belongs_to_word = character.isalnum() or category in ("Mc", "Pc") or character in "\u200c\u200d"
    return 0 if belongs_to_word and not is_unspaced else _ALONE


def _letter(character: str, fold: bool) -> str:
    """A character without its marks and, folded, in lower case; any digit is 0 then."""
    if fold and unicodedata.category(character) == "Nd":
        return "0"
    parts = unicodedata.normalize("NFD", character)
    letter = parts[0]
    marks = parts[1:]
    if any(unicodedata.category(mark) != "Mn" for mark in marks):
        letter = character  # Hangul: syllables of letters
    lower = letter.lower()
    return lower if fold and len(lower) == 1 else letter
