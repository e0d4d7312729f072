"""Lines and paragraphs of a text, and what of them repeats."""

from __future__ import annotations


def repeated_parts(parts: list[str]) -> tuple[int, int]:
    """How many of the parts stood before, and the characters in those."""
    different = set(parts)
    repeated = len(parts) - len(different)
    if repeated == 0:
        return 0, 0
    characters = sum(map(len, parts))
    characters_once = sum(map(len, different))
    return repeated, characters - characters_once


def paragraphs(text: str) -> list[str]:
    """What is between two newlines or more, the outer whitespace left out."""
    parts = text.strip().split("\n\n")
    if "\n\n\n" not in text:
        return parts
    return [part.lstrip("\n") for part in parts if part]


def lines_between(text: str) -> list[str]:
    """What is between newlines, of which several are as one: nothing but at the beginning and the end."""
    parts = text.split("\n")
    lines = list(filter(None, parts))
    outer = text.startswith("\n") + text.endswith("\n")
    nothing = [""] * outer
    return lines + nothing
