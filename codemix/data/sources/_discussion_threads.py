"""Threads of posts as text: issues with their comments, questions with their answers; authors numbered, never
named."""

from __future__ import annotations

import re
from typing import Any

from codemix.data.inputs.decompression import Damaged


class Authors:
    """Authors of one thread in the order they first write: `user_0`, `user_1`, ..."""

    def __init__(self):
        self._numbers: dict[str, int] = {}

    def label(self, author: Any) -> str:
        number = self._numbers.setdefault(str(author), len(self._numbers))
        return f"user_{number}"


def is_bot(author: Any) -> bool:
    """Whether an account's name says that a program writes: `dependabot[bot]`, `k8s-ci-bot`, `botmaster` does
    not."""
    return bool(re.search(r"\[bot\]\Z|(?:^|[-_])bot\Z", str(author), re.IGNORECASE))


def posts(value: Any, field: str) -> list[dict]:
    """The list of posts in a row's field. Raises Damaged for anything else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(post, dict) for post in value):
        raise Damaged("bad_thread", f"`{field}` is not a list of posts")
    return value
