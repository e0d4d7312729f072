"""Counting and finding characters by class, many times faster than a regular expression: bytes mapped by a
table, then searched."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

LETTERS = string.ascii_letters.encode()
DIGITS = string.digits.encode()
_ASCII = re.compile(r"[\x00-\x7f]+")


def table(classes: dict[str, Iterable[int]], other: str) -> bytes:
    """A table for `bytes.translate`: every byte of a class becomes the class's one-character name, any other
    `other`."""
    mapped = bytearray(other.encode() * 256)
    for name, members in classes.items():
        for byte in members:
            mapped[byte] = ord(name)
    return bytes(mapped)


_RULER = re.compile(r"([^\w\s])\1{7,}+")
_INDENTATION = re.compile(r"^[^\S\n]++", re.MULTILINE)


def layout_chars(text: str) -> int:
    """How many characters only lay a text out: rulers and banners (one mark eight times or more in a row),
    and indentation."""
    total = 0
    for pattern in (_RULER, _INDENTATION):
        total += sum(len(match[0]) for match in pattern.finditer(text))
    return total


def count_letters(text: str, *, digits: bool) -> int:
    """How many characters are letters (or digits, if asked) by Unicode."""
    ascii_wanted = LETTERS + DIGITS if digits else LETTERS
    is_wanted = str.isalnum if digits else str.isalpha
    ascii_text = text.encode("ascii", "ignore")
    count = len(ascii_text) - len(ascii_text.translate(None, ascii_wanted))
    if len(ascii_text) < len(text):
        others = _ASCII.sub("", text)
        count += sum(map(is_wanted, others))
    return count
