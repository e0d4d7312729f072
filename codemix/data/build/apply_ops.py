"""What becomes of each document: kept, dropped by an op for a reason, or unreadable. Each is counted exactly
once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from codemix.data.build.funnel import UNKNOWN, Funnel
from codemix.data.build.samples import Samples, Shown
from codemix.data.document import ApplyBatch, Document, Drop, Item, Unreadable, utf8_bytes
from codemix.errors import CodemixError, Problem

READ = "00-read"  # the step before the first op, for drops at reading
UNREADABLE = (
    "unreadable"  # the step of samples of unreadable documents: the place for an id, the cause for a text
)
EMPTY = "empty"
_BATCH = 2**18  # bytes of documents that the ops see together
_LEAST = 100  # that a document counts for, besides its text


class Step(NamedTuple):
    """An op as a build runs it."""

    name: str  # `<position>-<kind>`, as the funnel has it
    apply: ApplyBatch
    shown: Shown | None = None  # where the op hides something from samples


class Readable(NamedTuple):
    document: Document
    size: int  # of its text [bytes]


class Judged(NamedTuple):
    """What the ops made of a document."""

    document: Document  # as the last op that did not drop it left it
    step: str = ""  # that dropped it
    drop: Drop | None = None


def apply_ops(
    read: Iterable[Item],
    steps: Sequence[Step],
    funnel: Funnel,
    dropped: Samples,
    *,
    strict: bool,
) -> Iterator[Readable]:
    """The documents of `read` that the ops `steps` keep, in their order, with what is left of their sizes; every
    document is counted in `funnel` exactly once."""
    shown = _shown_by(steps)
    readable = _readable(read, funnel, dropped, strict=strict)
    for batch in in_batches(readable):
        items = [each.document for each in batch]
        for (item, size), judged in zip(batch, judge(items, steps, funnel), strict=True):
            doc = judged.document
            language = str(doc.meta.get("language") or UNKNOWN)  # after the ops: one may have noted it
            if judged.drop is not None:
                funnel.add_dropped(language, size, judged.step, judged.drop.reason)
                dropped.add(f"{judged.step}/{judged.drop.reason}", item, shown)
                continue
            kept_size = size if doc is item else utf8_bytes(doc.text)
            funnel.add_kept(language, size, kept_size)
            yield Readable(doc, kept_size)


def _readable(read: Iterable[Item], funnel: Funnel, dropped: Samples, *, strict: bool) -> Iterator[Readable]:
    """The documents among what is read; everything else is counted."""

    def count_unreadable(bad: Unreadable) -> None:
        if strict:
            raise CodemixError(unreadable_problem(bad)) from None
        funnel.add_unreadable(bad.reason)
        meta = {"rest_lost": True} if bad.rest_lost else {}
        dropped.add(f"{UNREADABLE}/{bad.reason}", Document(bad.where, bad.detail, meta))

    for item in read:
        if isinstance(item, Unreadable):
            count_unreadable(item)
        elif isinstance(item, Drop):  # a source's own condition, judged before the text was decoded
            funnel.add_dropped(UNKNOWN, 0, READ, item.reason)
        else:
            try:
                size = utf8_bytes(item.text)
            except (
                UnicodeEncodeError
            ) as error:  # half of a surrogate pair, escaped in JSON: nothing can write it
                count_unreadable(Unreadable("lone_surrogate", item.id, f"character {error.start}"))
            else:
                yield Readable(item, size)


def in_batches(documents: Iterable[Readable]) -> Iterator[list[Readable]]:
    """Documents in groups of about so many bytes, which bounds memory, for ops that gain by seeing many."""
    batch: list[Readable] = []
    held = 0
    for each in documents:
        batch.append(each)
        held += each.size + _LEAST
        if held >= _BATCH:
            yield batch
            batch = []
            held = 0
    if batch:
        yield batch


def _shown_by(steps: Sequence[Step]) -> Shown | None:
    """What hides from samples all that any of the ops hides; None where nothing is hidden."""
    hiding = [step.shown for step in steps if step.shown is not None]
    if not hiding:
        return None

    def shown(text: str) -> str:
        for hide in hiding:
            text = hide(text)
        return text

    return shown


def judge(docs: Sequence[Document], steps: Sequence[Step], funnel: Funnel) -> list[Judged]:
    """Apply the ops to each document until one drops it. Edits are counted."""
    judged = [_empty_dropped(doc, READ) for doc in docs]
    for step in steps:
        left = [number for number, each in enumerate(judged) if each.drop is None]
        if not left:
            break
        docs = [judged[number].document for number in left]
        outcomes = step.apply(docs)
        for number, doc, outcome in zip(left, docs, outcomes, strict=True):
            judged[number] = _judged(doc, outcome, step.name, funnel)
    return judged


def _judged(doc: Document, outcome: Document | Drop, step: str, funnel: Funnel) -> Judged:
    if isinstance(outcome, Drop):
        return Judged(doc, step, outcome)
    if outcome.text == doc.text:
        return Judged(outcome)
    funnel.add_edited(step, outcome.edits)
    judged = _empty_dropped(outcome, step)
    return judged if judged.drop is None else Judged(doc, step, judged.drop)


def _empty_dropped(doc: Document, step: str) -> Judged:
    if not doc.text or doc.text.isspace():
        return Judged(doc, step, Drop(EMPTY))
    return Judged(doc)


_FIELD_HINT = "say in the source's `read:` which field holds what, for example `text: content`"
_CONDITION_HINT = (
    "correct the field's name, or say what becomes of such rows by `missing: keep` or `missing: drop` "
    "in the condition"
)
HINTS = {  # by reason, where another remedy is likelier than another file
    "missing_text": _FIELD_HINT,
    "bad_text": _FIELD_HINT,
    "missing_column": _FIELD_HINT,
    "column_type": _FIELD_HINT,
    "missing_field": _CONDITION_HINT,
    "not_a_number": "name a field of numbers in the condition, or compare values with `in`",
    "duplicate_column": "rename one of the columns",
    "bad_id": _FIELD_HINT,
    "lfs_pointer": "fetch the file itself with `git lfs pull`",
    "utf16": "convert it to UTF-8, for example with `iconv -f utf-16 -t utf-8` (or `-f utf-32`)",
    "missing_id": _FIELD_HINT,
    "wrong_suffix": "rename the file, or unpack it",
    "expands_too_much": "if the file is trusted, raise `max_expansion:` in the source's `read:`",
}
_SKIP_HINT = "or skip and count such documents: `on_bad: skip` in the source, with `max_bad:` as the limit"


def unreadable_problem(bad: Unreadable, of: str = "") -> Problem:
    """The problem of a document that cannot be read; `of` begins the sentence."""
    more = "; the rest of the file is lost" if bad.rest_lost else ""
    remedy = HINTS.get(bad.reason, "repair or replace the file")
    return Problem(
        f"{of}a document cannot be read: {bad}{more}",
        hints=(remedy, _SKIP_HINT),
        rule="unreadable-document",
    )
