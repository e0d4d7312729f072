"""datatrove's filters as functions over our documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codemix.data.document import Document, Drop
from codemix.data.text.words import WORD


def as_op(block: Any) -> Callable[[Document], Document | Drop]:
    """A function that applies one datatrove `BaseFilter`; its own names are the reasons.

    A text without a single word is dropped as `no_words` before the block sees it: several of them divide by the
    number of words or lines.
    """
    from datatrove.data import Document as DatatroveDocument

    def apply(doc: Document) -> Document | Drop:
        if WORD.search(doc.text) is None:
            return Drop("no_words")
        verdict = block.filter(DatatroveDocument(text=doc.text, id=doc.id))
        if verdict is True:
            return doc
        return Drop(verdict[1] if isinstance(verdict, tuple) else "dropped")

    return apply


def silence() -> None:
    """datatrove logs through loguru to the terminal; what a person should know, codemix says itself."""
    from loguru import logger

    logger.disable("datatrove")
