"""Counting and finding characters by class, many times faster than a regular expression: bytes mapped by a table, then searched."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

LETTERS = string.ascii_letters.encode()
DIGITS = string.digits.encode()
_ASCII = re.compile(r"[\x00-\x7f]+")


def table(classes: dict[str, Iterable[int]], other: str) -> bytes:
    """A table for `bytes.translate`: every byte of a class becomes the class's one-character name, any other `other`."""
    mapped = bytearray(other.encode() * 256)
    for name, members in classes.items():
        for byte in members:
            mapped[byte] = ord(name)
    return bytes(mapped)


_RULER = re.compile(r"([^\w\s])\1{7,}+")
_INDENTATION = re.compile(r"^[^\S\n]++", re.MULTILINE)


def layout_chars(text: str) -> int:
    """How many characters only lay a text out: rulers and banners (a sign eight times or more in a row), and indentation."""
    return sum(len(found[0]) for pattern in (_RULER, _INDENTATION) for found in pattern.finditer(text))


def count_letters(text: str, *, digits: bool) -> int:
    """How many characters are letters (or digits, if asked) by Unicode."""
    plain = text.encode("ascii", "ignore")
    found = len(plain) - len(plain.translate(None, LETTERS + DIGITS if digits else LETTERS))
    if len(plain) < len(text):
        found += sum(map(str.isalnum if digits else str.isalpha, _ASCII.sub("", text)))
    return found
