"""Words, for whatever counts or compares them: regular expressions instead of spaCy, several times faster,
nothing to download.

Blanks do not part words in every script. In those whose words only a dictionary could part (Han, Hiragana,
Katakana, and the South East Asian ones of Unicode's line-breaking class SA: Thai, Lao, Khmer, Myanmar, Tai
scripts, Ahom) each letter with the marks after it is a word, as in Unicode Annex 29's default word boundaries
(there, Katakana stays in runs). A zero-width space is whitespace there. In all others marks belong to their
letter, so that Hindi and Tamil words stay whole.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# numbers with their points and commas, words with their apostrophes, dots in a row, and any other punctuation
# mark alone
WORD = re.compile(r"\d+(?:[.,]\d+)+|\w+(?:['’]\w+)*|\.{2,}|[^\w\s]")
# as spaCy's English rules would cut prose: punctuation inside a word stays, hyphens and slashes part words,
# `'s` is a word; a run of
# hyphens is tried at its beginning alone (or after a word's own), since one try reads the whole run
PROSE_WORD = re.compile(
    r"https?://[^\s<>\"]+|[A-Za-z]+(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b"
    r"|(?:(?:(?<![\w)/-])|(?<=[\w)][-/]))[-/]++)?\w+(?:[.(@&+$]\w+|[-/,]\d\w*)*(?:\((?=\)))?|\.{2,}|[^\w\s]"
)
# beyond Latin, Greek, Cyrillic, Armenian and common punctuation; most texts need no closer look
_OTHER = re.compile("[^\x00-\u02ff\u0370-\u0482\u048a-\u0590\u2010-\u203f]")
_BEYOND_16_BITS = re.compile("[\U00010000-\U0010ffff]")
_NO_WHITESPACE = (  # blocks of scripts whose words are not separated by whitespace
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x1950, 0x19FF),
    (0x1A20, 0x1AAF),
    (0x2E80, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAADF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x11700, 0x1174F),
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)
_STACKERS = (
    "\u1039\u17d2\u1a60"  # Myanmar, Khmer, Tai Tham: the letter after them belongs to the same cluster
)
_JOINERS = (0x200C, 0x200D)
ZERO_WIDTH_SPACE = "\u200b"


@dataclasses.dataclass(frozen=True)
class Characters:
    """A set of characters to look for. Within 16 bits a class of an expression is a table; beyond, a slow
    list."""

    near: re.Pattern[str]
    far: re.Pattern[str]

    def are_in(self, text: str) -> bool:
        if self.near.search(text):
            return True
        beyond = "".join(_BEYOND_16_BITS.findall(text))
        return self.far.search(beyond) is not None


@dataclasses.dataclass(frozen=True)
class Wide:
    """Both expressions for texts that hold a mark, or a letter of a script without whitespace."""

    needed: Characters  # what asks for these expressions
    needed_for_pieces: Characters
    word: re.Pattern[str]
    prose_word: re.Pattern[str]
    piece: re.Pattern[str]


def unspaced_characters() -> set[int]:
    """Code points at which words end without whitespace: letters of such scripts, and the blank of no
    width."""
    return {*_unspaced_letters(), ord(ZERO_WIDTH_SPACE)}


def _unspaced_letters() -> list[int]:
    return [
        i for a, b in _NO_WHITESPACE for i in range(a, b + 1) if chr(i).isalnum() and not chr(i).isdecimal()
    ]


@lru_cache(1)
def _wide() -> Wide:
    letters = _unspaced_letters()
    signs = [
        i for i in range(sys.maxunicode + 1) if unicodedata.category(chr(i)) in ("Mn", "Mc") or i in _JOINERS
    ]
    unspaced = unspaced_characters()
    alone, marks = _ranges(letters), _ranges(signs)
    one = f"[{alone}][{marks}]*+(?:(?<=[{_STACKERS}])[{alone}][{marks}]*+)*+"
    word = rf"(?:[^\W{alone}]++[{marks}]*+)++"
    rest = rf"[{marks}]*+(?:[^\W{alone}]++[{marks}]*+)*+"  # of a word, after its first digit
    sign = rf"\.{{2,}}|[^\w\s{ZERO_WIDTH_SPACE}]"
    prose = (
        r"https?://[^\s<>\"]+|[A-Za-z]+(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b"
        rf"|{one}|(?:(?:(?<![\w)/-])|(?<=[\w)][-/]))[-/]++)?{word}(?:[.(@&+$]{word}|[-/,]\d{rest})*(?:\((?=\)))?|{sign}"
    )
    return Wide(
        _characters({*unspaced, *signs}),
        _characters(unspaced),
        re.compile(rf"\d+(?:[.,]\d+)+|{one}|{word}(?:['’]{word})*|{sign}"),
        re.compile(prose),
        re.compile(
            rf"[^\w\s{ZERO_WIDTH_SPACE}]*+{one}[^\w\s{ZERO_WIDTH_SPACE}]*+|[^\s{alone}{ZERO_WIDTH_SPACE}]+"
        ),
    )


def _characters(code_points: set[int]) -> Characters:
    ascending = sorted(code_points)
    near = _ranges(ascending, 0, 0xFFFF)
    far = _ranges(ascending, 0x10000, 0x10FFFF)
    near_class = f"[{near}]"
    far_class = f"[{far}]"
    return Characters(re.compile(near_class), re.compile(far_class))


def _ranges(code_points: Iterable[int], least: int = 0, most: int = sys.maxunicode) -> str:
    """Those of ascending code points that lie between two, as the inside of a character class."""
    ranges: list[list[int]] = []
    for code_point in code_points:
        previous = code_point - 1
        if ranges and ranges[-1][1] == previous:
            ranges[-1][1] = code_point
        elif least <= code_point <= most:
            ranges.append([code_point, code_point])
    spelled = [f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges]
    return "".join(spelled)


def words(text: str) -> list[str]:
    """Words for comparing texts: each punctuation mark is a word, numbers and words with apostrophes stay
    whole."""
    pattern = WORD
    if _has_other(text) and _wide().needed.are_in(text):
        pattern = _wide().word
    return pattern.findall(text)


def prose_words(text: str) -> list[str]:
    """Words as rules for English prose count them."""
    pattern = PROSE_WORD
    if _has_other(text) and _wide().needed.are_in(text):
        pattern = _wide().prose_word
    return pattern.findall(text)


def _has_other(text: str) -> bool:
    return not text.isascii() and _OTHER.search(text) is not None


def has_words(text: str) -> bool:
    """Whether a text has a word at all; one of whitespace has none."""
    return WORD.search(text) is not None


def pieces(text: str) -> list[str]:
    """What is between whitespace; in scripts without it each letter, with its marks and the punctuation
    around it."""
    if _has_other(text) and _wide().needed_for_pieces.are_in(text):
        return _wide().piece.findall(text)
    return text.split()
