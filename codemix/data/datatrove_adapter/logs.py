"""datatrove's own output, which would run over ours."""

from __future__ import annotations

from loguru import logger


def silence() -> None:
    """Keep datatrove's log lines off the terminal: what a person should know, codemix reports itself."""
    logger.disable("datatrove")
