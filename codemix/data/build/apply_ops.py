"""What becomes of each document: kept, dropped by an op for a reason, or unreadable. Each is counted exactly
once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from codemix.data.build.funnel import UNKNOWN, Funnel
from codemix.data.build.samples import Samples, Shown
from codemix.data.document import Apply, Document, Drop, Item, Unreadable, utf8_bytes
from codemix.errors import CodemixError, Problem

READ = "00-read"  # the step before the first op, for drops at reading
UNREADABLE = (
    "unreadable"  # the step of samples of unreadable documents: the place for an id, the cause for a text
)
EMPTY = "empty"


class Step(NamedTuple):
    """An op as a build runs it."""

    name: str  # `<position>-<kind>`, as the funnel has it
    apply: Apply
    shown: Shown | None = None  # where the op hides something from samples


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
) -> Iterator[Document]:
    """The documents of `read` that the ops `steps` keep; every document is counted in `funnel` exactly
    once."""

    def count_unreadable(bad: Unreadable) -> None:
        if strict:
            raise CodemixError(unreadable_problem(bad)) from None
        funnel.add_unreadable(bad.reason)
        meta = {"rest_lost": True} if bad.rest_lost else {}
        dropped.add(f"{UNREADABLE}/{bad.reason}", Document(bad.where, bad.detail, meta))

    shown = _shown_by(steps)
    for item in read:
        if isinstance(item, Unreadable):
            count_unreadable(item)
            continue
        if isinstance(item, Drop):  # a source's own condition, judged before the text was decoded
            funnel.add_dropped(UNKNOWN, 0, READ, item.reason)
            continue
        try:
            size = utf8_bytes(item.text)
        except (
            UnicodeEncodeError
        ) as error:  # half of a surrogate pair, escaped in JSON: no encoding can write it
            count_unreadable(Unreadable("lone_surrogate", item.id, f"character {error.start}"))
            continue
        judged = judge(item, steps, funnel)
        doc = judged.document
        language = str(doc.meta.get("language") or UNKNOWN)  # after the ops: one of them may have noted it
        if judged.drop is not None:
            funnel.add_dropped(language, size, judged.step, judged.drop.reason)
            dropped.add(f"{judged.step}/{judged.drop.reason}", item, shown)
            continue
        kept_size = size if doc is item else utf8_bytes(doc.text)
        funnel.add_kept(language, size, kept_size)
        yield doc


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


def judge(doc: Document, steps: Sequence[Step], funnel: Funnel) -> Judged:
    """Apply the ops until one drops the document. Edits are counted."""
    if _is_empty(doc.text):
        return Judged(doc, READ, Drop(EMPTY))
    for step in steps:
        name = step.name
        outcome = step.apply(doc)
        if isinstance(outcome, Drop):
            return Judged(doc, name, outcome)
        if outcome.text != doc.text:
            funnel.add_edited(name, outcome.edits)
            if _is_empty(outcome.text):
                return Judged(doc, name, Drop(EMPTY))
        doc = outcome
    return Judged(doc)


def _is_empty(text: str) -> bool:
    return not text or text.isspace()


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
    "utf16": "convert it to UTF-8, for example with `iconv -f utf-16 -t utf-8`",
    "missing_id": _FIELD_HINT,
    "wrong_suffix": "rename the file",
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
