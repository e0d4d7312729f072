"""How much of a document is letters: what `alphabetic` and `alphanum` share."""

from collections.abc import Sequence

from codemix.data.document import Document
from codemix.data.text import languages
from codemix.data.text.characters import count_letters, layout_chars


def too_small_share(
    doc: Document, min_frac: float, except_languages: Sequence[str], *, digits: bool
) -> float | None:
    """The share of letters (and digits, if asked) among the characters that do more than lay the text out, where
    it is below `min_frac`; None where it is not, or the language is let through."""
    found = count_letters(doc.text, digits=digits)
    if found >= min_frac * len(doc.text):
        return None
    n_chars = len(doc.text) - layout_chars(doc.text)
    if found >= min_frac * n_chars > 0:
        return None
    if except_languages and languages.of(doc) in map(languages.canonical, except_languages):
        return None
    return found / max(n_chars, 1)
