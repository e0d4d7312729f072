"""What becomes of each document: kept, dropped by an op and a reason, or unreadable. Each is counted exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from codemix.data.build.funnel import UNKNOWN, Funnel
from codemix.data.build.samples import Samples
from codemix.data.document import Document, Drop, Unreadable, utf8_bytes
from codemix.errors import CodemixError, Problem

READ = "00-read"  # the step before the first op, for drops at reading
UNREADABLE = "unreadable"  # the step of samples that say which documents could not be read: the place for an id, the cause for a text


def apply_ops(
    read: Iterable[Document | Unreadable | Drop],
    steps: list[tuple[str, Callable[[Document], Document | Drop]]],
    funnel: Funnel,
    dropped: Samples,
    *,
    strict: bool,
) -> Iterator[Document]:
    """What is left of `read` after the ops `steps`; every document is counted in `funnel` exactly once."""

    def unreadable(bad: Unreadable) -> None:
        if strict:
            raise CodemixError(unreadable_problem(bad)) from None
        funnel.add_unreadable(bad.reason)
        dropped.add(
            f"{UNREADABLE}/{bad.reason}",
            Document(bad.where, bad.detail, {"rest_lost": True} if bad.rest_lost else {}),
        )

    for doc in read:
        if isinstance(doc, Unreadable):
            unreadable(doc)
            continue
        if isinstance(doc, Drop):  # a source's own condition, judged before the text was decoded
            funnel.add_dropped(UNKNOWN, 0, READ, doc.reason)
            continue
        original = doc
        try:
            size = utf8_bytes(doc.text)
        except (
            UnicodeEncodeError
        ) as error:  # half of a surrogate pair, escaped in JSON: no encoding can write it
            unreadable(Unreadable("lone_surrogate", doc.id, f"character {error.start}"))
            continue
        step, verdict = READ, Drop("empty") if not doc.text or doc.text.isspace() else doc
        for step, apply in steps if not isinstance(verdict, Drop) else ():
            verdict = apply(doc)
            if isinstance(verdict, Drop):
                break
            if verdict.text != doc.text:
                funnel.edited[step] += 1
                if not verdict.text or verdict.text.isspace():
                    verdict = Drop("empty")
                    break
            doc = verdict
        language = str(doc.meta.get("language") or UNKNOWN)  # after the ops: one of them may have noted it
        if isinstance(verdict, Drop):
            funnel.add_dropped(language, size, step, verdict.reason)
            dropped.add(f"{step}/{verdict.reason}", original)
        else:
            funnel.add_kept(language, size, size if doc is original else utf8_bytes(doc.text))
            yield doc


FIELD_HINT = "say in the source's `read:` which field holds what, for example `text: content`"
HINTS = {  # by reason, where another remedy is likelier than another file
    "missing_text": FIELD_HINT,
    "bad_text": FIELD_HINT,
    "missing_column": FIELD_HINT,
    "column_type": FIELD_HINT,
    "missing_field": "correct the field's name, or say what becomes of such rows by `missing: keep` or `missing: drop` in the condition",
    "duplicate_column": "rename one of the columns",
    "bad_id": FIELD_HINT,
    "lfs_pointer": "fetch the file itself with `git lfs pull`",
    "utf16": "convert it to UTF-8, for example with `iconv -f utf-16 -t utf-8`",
    "missing_id": FIELD_HINT,
    "wrong_suffix": "rename the file",
    "expands_too_much": "if it is no bomb, raise `max_expansion:` in the source's `read:`",
}


def unreadable_problem(bad: Unreadable, of: str = "") -> Problem:
    """What is said of a document that cannot be read; `of` begins the sentence."""
    more = "; the rest of the file is lost" if bad.rest_lost else ""
    skip = "or skip and count such documents: `on_bad: skip` in the source, with `max_bad:` as the limit"
    hints = (HINTS.get(bad.reason, "repair or replace the file"), skip)
    return Problem(f"{of}a document cannot be read: {bad}{more}", hints=hints, rule="unreadable-document")
