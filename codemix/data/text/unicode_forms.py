"""Unicode normal forms in time linear in the text: `unicodedata.normalize` sorts a run of combining marks by
insertion.

Marks are put in their canonical order first (a stable sort by combining class; Unicode Standard, section
3.11, D109), which no normal form changes and which leaves insertion nothing to move. So the result is the
same for every text, and no run needs to be cut, as Unicode Annex 15's Stream-Safe format would.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache
from typing import Literal

Form = Literal["NFC", "NFKC", "NFD", "NFKD"]
STEP = 16  # a run of 80 marks or more (no language writes 30) shows at five places in a row of every 16th
HITS = 5


def normalized(form: Form, text: str) -> str:
    """`unicodedata.normalize(form, text)`."""
    if text.isascii():
        return text
    decomposition: Form = "NFKD" if "K" in form else "NFD"
    if _has_long_run(text, decomposition):
        run = _marks(decomposition, 1)
        text = run.sub(lambda match: _in_order(match[0], decomposition), text)
    return unicodedata.normalize(form, text)


def marks_in_order(text: str) -> str:
    """The same characters, long runs of marks sorted: for what only asks whether a text is valid and
    normalizes it."""
    if text.isascii() or not _has_long_run(text, "NFKD"):
        return text
    run = _marks("NFKD", 1)
    return run.sub(_sorted_marks, text)


def _sorted_marks(run: re.Match[str]) -> str:
    in_order = sorted(run[0], key=_first_class)
    return "".join(in_order)


def _first_class(character: str) -> int:
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.combining(first)


def _has_long_run(text: str, decomposition: Form) -> bool:
    """Whether some run of marks is long; to look at every character would cost far more than normalizing."""
    run = _marks(decomposition, 1)
    hits = _marks(decomposition, HITS)
    for hit in hits.finditer(text[::STEP]):
        first = hit.start() * STEP
        last = (hit.end() - 1) * STEP
        if run.fullmatch(text, first, last + 1):
            return True
    return False


@lru_cache(4)
def _marks(decomposition: Form, least: int) -> re.Pattern[str]:
    """Runs of characters that decompose to nothing but combining marks."""
    marks = []
    for code_point in range(sys.maxunicode + 1):
        character = chr(code_point)
        if _only_marks(character, decomposition):
            marks.append(character)
    any_mark = "".join(marks)
    return re.compile(f"[{any_mark}]{{{least},}}")


def _only_marks(character: str, decomposition: Form) -> bool:
    if not unicodedata.combining(character) and not unicodedata.decomposition(character):
        return False  # most of them, quickly
    decomposed = unicodedata.normalize(decomposition, character)
    return all(map(unicodedata.combining, decomposed))


def _in_order(run: str, decomposition: Form) -> str:
    """The marks of a run, each decomposed, sorted."""
    decomposed = "".join(unicodedata.normalize(decomposition, c) for c in run)
    in_order = sorted(decomposed, key=unicodedata.combining)
    return "".join(in_order)
