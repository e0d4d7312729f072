"""Threads of posts as text: issues with their comments, questions with their answers; authors numbered, never named."""

from __future__ import annotations

import html
import re
from typing import Any

from codemix.data.decompress import Damaged

_BLOCK = re.compile(r"<(?:br|/?p|/?div|/?h[1-6]|/?ul|/?ol|/?li|/?blockquote|hr)\b[^<>]*>", re.IGNORECASE)
_PRE = re.compile(r"<pre\b[^<>]*>(.*?)(?:</pre>|\Z)", re.DOTALL | re.IGNORECASE)
_INLINE_CODE = re.compile(r"<code\b[^<>]*>(.*?)(?:</code>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[/!]?[a-zA-Z][^<>]*>")


def html_to_text(source: str) -> str:
    """The text of a post in HTML: blocks on lines of their own, `<pre>` as fenced code, `<code>` in backquotes, entities resolved."""
    kept: list[str] = []

    def fence(match: re.Match) -> str:
        kept.append("\n```\n" + html.unescape(_TAG.sub("", match[1])).strip("\n") + "\n```\n")
        return f"\0{len(kept) - 1}\0"

    text = _PRE.sub(fence, source.replace("\0", ""))
    text = _INLINE_CODE.sub(lambda m: f"`{m[1]}`", text)
    text = html.unescape(_TAG.sub("", _BLOCK.sub("\n", text)))
    text = re.sub(r"(?:(?<![ \t])[ \t]++)?\n[ \t]*+", "\n", text)
    text = re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


class Authors:
    """Authors of one thread in the order they first write: `user_0`, `user_1`, ..."""

    def __init__(self):
        self._numbers: dict[str, int] = {}

    def label(self, author: Any) -> str:
        return f"user_{self._numbers.setdefault(str(author), len(self._numbers))}"


def is_bot(author: Any) -> bool:
    """Whether an account's name says that a program writes: `dependabot[bot]`, `k8s-ci-bot`, `botmaster` does not."""
    return bool(re.search(r"\[bot\]\Z|(?:^|[-_])bot\Z", str(author), re.IGNORECASE))


def posts(value: Any, field: str) -> list[dict]:
    """The list of posts in a row's field. Raises Damaged for anything else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(post, dict) for post in value):
        raise Damaged("bad_thread", f"`{field}` is not a list of posts")
    return value
