"""A document, and what else can become of one: unreadable, or dropped. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Document:
    """One text with an id that never changes and what is known about it.

    `id` is `<input path or URI>#<row, from 0>`, or what the data itself calls it. Keys of `meta` that the
    project knows: path, language, licence (a string or a list), url, repo, size [bytes], set. `text` may be
    empty: the builder drops that as `empty`. An op that changes the text returns a new document, and is
    counted as an edit.
    """

    id: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    edits: tuple[str, ...] = field(default=(), compare=False)  # kinds of what the last op changed, if it says

    def with_text(self, text: str) -> Document:
        return Document(self.id, text, self.meta)


def utf8_bytes(text: str) -> int:
    """The length of a text in UTF-8 [bytes]. Raises UnicodeEncodeError for half of a surrogate pair."""
    if text.isascii():
        return len(text)
    return len(text.encode())


class Unreadable(Exception):
    """One document, or the rest of one input, that could not be read. Sources *yield* it; the builder counts
    it.

    `reason` is a short name to count by (`bad_json`, `bad_utf8`, `missing_text`, `truncated`, ...), `where`
    is `<input>, row <number from 1>`, the input alone or an id, `detail` says what a person would want to
    know. With `rest_lost` nothing after this place of the input could be read, so the number of lost
    documents is unknown.
    """

    def __init__(self, reason: str, where: str, detail: str = "", rest_lost: bool = False):
        super().__init__(reason, where, detail, rest_lost)  # what pickle makes it from again
        self.reason = reason
        self.where = where
        self.detail = detail
        self.rest_lost = rest_lost

    def __str__(self) -> str:
        what = f"{self.where}: {self.reason}"
        return f"{what} ({self.detail})" if self.detail else what


@dataclass(frozen=True, slots=True)
class Drop:
    """An op's verdict against a document; `reason` is what the funnel counts (from a small, fixed set of
    names).

    `id` names the document where a source drops it before there is one. `measured` is what the op found, with
    its unit ("43 words"), and `limit` the field of the op that it is held against (`a.2`: the entry 2 of `a`): for `codemix why`, never counted.
    """

    reason: str
    id: str = field(default="", compare=False)
    measured: str = field(default="", compare=False)
    limit: str = field(default="", compare=False)


NOT_SAMPLED = "not_sampled"  # why a document is dropped that `subsample:` leaves out
Item = Document | Unreadable | Drop  # what a source yields
Apply = Callable[[Document], Document | Drop]  # an op, ready in one worker
ApplyBatch = Callable[[Sequence[Document]], Sequence[Document | Drop]]


def one_by_one(apply: Apply) -> ApplyBatch:
    """A function of some documents that gives each to another."""

    def apply_batch(docs: Sequence[Document]) -> list[Document | Drop]:
        verdicts = map(apply, docs)
        return list(verdicts)

    return apply_batch


def row_of(name: str, number: int) -> str:
    """A row's place for people, who count from 1 as editors do. `number` is from 0, as in ids."""
    return f"{name}, row {number + 1:,}"
