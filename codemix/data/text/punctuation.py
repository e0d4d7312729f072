"""datatrove's lists of punctuation, by which its filters tell symbols from words and where sentences end."""

from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION

__all__ = ["PUNCTUATION_SET", "TERMINAL_PUNCTUATION"]
