"""datatrove's filters as functions over our documents. `rules` are the names that datatrove gives to
thresholds."""

from __future__ import annotations

from typing import Any

from datatrove.data import Document as DatatroveDocument
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter

from codemix.data.datatrove_adapter.logs import silence
from codemix.data.datatrove_adapter.words import ProseWords, WhitespaceWords
from codemix.data.document import Apply, Document, Drop
from codemix.data.text.words import WORD


def gopher_quality(*, whitespace_words: bool, **rules: Any) -> Apply:
    words = WhitespaceWords() if whitespace_words else ProseWords()
    return _as_op(GopherQualityFilter(language=words, **rules))


def gopher_repetition(**rules: Any) -> Apply:
    return _as_op(GopherRepetitionFilter(language=ProseWords(), **rules))


def fineweb_quality(**rules: Any) -> Apply:
    return _as_op(FineWebQualityFilter(language=ProseWords(), **rules))


def _as_op(block: BaseFilter) -> Apply:
    """A function that applies one datatrove filter; the filter's own names are the reasons.

    A text without a single word is dropped as `no_words` before the block sees it: several of them divide by
    the number of words or lines.
    """
    silence()

    def apply(doc: Document) -> Document | Drop:
        if WORD.search(doc.text) is None:
            return Drop("no_words")
        verdict = block.filter(DatatroveDocument(text=doc.text, id=doc.id))
        if verdict is True:
            return doc
        return Drop(verdict[1] if isinstance(verdict, tuple) else "dropped")

    return apply
