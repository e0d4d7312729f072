"""What each character is to rules for prose, looked up in one table."""

from __future__ import annotations

import sys
from functools import lru_cache

import numpy as np

from codemix.data.text.words import unspaced_characters

NO_SYMBOL, LETTER, BLANK, UNSPACED = 1, 2, 4, 8  # bits


def character_classes(characters: np.ndarray) -> np.ndarray:
    """The classes of each code point, as bits: uint8 of the same shape."""
    return _class_table().take(characters)


@lru_cache(1)
def _class_table() -> np.ndarray:
    from codemix.data.text.punctuation import PUNCTUATION_SET

    everything = list(map(chr, range(sys.maxunicode + 1)))
    symbols = list(map(ord, PUNCTUATION_SET))
    letters = list(map(str.isalpha, everything))
    blanks = list(map(str.isspace, everything))
    unspaced = sorted(unspaced_characters())
    table = np.full(len(everything), NO_SYMBOL, np.uint8)
    table[symbols] = 0
    table[letters] |= LETTER
    table[blanks] |= BLANK
    table[unspaced] |= UNSPACED
    return table
