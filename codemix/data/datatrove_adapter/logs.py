"""datatrove's own output, which would run over ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from loguru import logger

Item = TypeVar("Item")


def silence() -> None:
    """Keep datatrove's log lines off the terminal: what a person should know, codemix reports itself."""
    logger.disable("datatrove")


def without_bar(items: Iterable[Item], **_: Any) -> Iterable[Item]:
    """In place of the progress bars that datatrove draws over ours."""
    return items
