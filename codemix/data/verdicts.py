"""What becomes of each document: kept, dropped by an op and a reason, or unreadable. Each is counted exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from codemix.data.document import Document, Drop, Unreadable, utf8_bytes
from codemix.data.funnel import UNKNOWN, Funnel
from codemix.data.samples import Samples
from codemix.errors import CodemixError

READ = "00-read"  # the step before the first op, for drops at reading


def through(
    read: Iterable[Document | Unreadable | Drop], steps: list[tuple[str, Callable[[Document], Document | Drop]]],
    funnel: Funnel, dropped: Samples, *, strict: bool,
) -> Iterator[Document]:  # fmt: skip
    """What is left of `read` after the ops `steps`; every document is counted in `funnel` exactly once."""
    for doc in read:
        if isinstance(doc, Unreadable):
            if strict:
                raise _unreadable_problem(doc)
            funnel.add_unreadable(doc.reason)
            continue
        if isinstance(doc, Drop):  # a source's own condition, judged before the text was decoded
            funnel.add_dropped(UNKNOWN, 0, READ, doc.reason)
            continue
        original = doc
        try:
            size = utf8_bytes(doc.text)
        except UnicodeEncodeError as error:  # half of a surrogate pair, escaped in JSON: no encoding can write it
            bad = Unreadable("lone_surrogate", doc.id, f"character {error.start}")
            if strict:
                raise _unreadable_problem(bad) from None
            funnel.add_unreadable(bad.reason)
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
    "missing_text": FIELD_HINT, "bad_text": FIELD_HINT, "missing_column": FIELD_HINT, "column_type": FIELD_HINT, "missing_field": FIELD_HINT,
    "lfs_pointer": "fetch the file itself with `git lfs pull`", "utf16": "convert it to UTF-8, for example with `iconv -f utf-16 -t utf-8`",
    "missing_id": FIELD_HINT, "wrong_suffix": "rename the file", "expands_too_much": "if it is no bomb, raise `max_expansion:` in the source's `read:`",
}  # fmt: skip


def _unreadable_problem(bad: Unreadable) -> CodemixError:
    more = "; the rest of the file is lost" if bad.rest_lost else ""
    return CodemixError(
        f"a document cannot be read: {bad}{more}",
        hints=[HINTS.get(bad.reason, "repair or replace the file"), "or skip and count such documents: `on_bad: skip` in the source, with `max_bad:` as the limit"],
        rule="unreadable-document",
    )  # fmt: skip
