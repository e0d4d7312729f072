"""Text and code side by side, marked as Markdown marks them. Standard library only."""

from __future__ import annotations

import re

_BACKQUOTES = re.compile(r"`++")


def fenced(code: str, language: str = "") -> str:
    """Code in a fence that no run of backquotes in it can end."""
    longer_than_any = _longest_run(code) + 1
    fence = "`" * max(3, longer_than_any)
    return f"{fence}{language}\n{code}\n{fence}"


def backquoted(code: str) -> str:
    """Code within a line, in more backquotes than it holds in a row."""
    quotes = "`" * (_longest_run(code) + 1)
    touches_one = "`" in (code[:1], code[-1:])
    apart = " " if touches_one else ""
    return f"{quotes}{apart}{code}{apart}{quotes}"


def _longest_run(code: str) -> int:
    lengths = map(len, _BACKQUOTES.findall(code))
    return max(lengths, default=0)
