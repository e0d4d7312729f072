"""How often each word occurs in texts, where a word is a piece that the pattern of Qwen2 cuts out of them.

`tokenizers` says what the words are; the package `regex` cuts them in a third of the time and a fraction of the
memory. The two differ where their versions of Unicode do, and perhaps on the long s: texts with such a code
point are left to `tokenizers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from numpy import ndarray

from codemix.data.encoding import patterns
from codemix.data.encoding.fastokens_adapter import (
    LONG_S,
    every_code_point,
    marked,
    members_in_tokenizers,
)
from codemix.data.text.word_runs import code_points

# Runs are cut every 256 characters: to learn merges takes the square of the longest word.
SHORT_PATTERN = patterns.QWEN2.replace("+", "{1,256}").replace("*", "{0,256}")
_CLASSES = (r"\p{L}", r"\p{N}", r"\s")


def count_words(texts: Iterable[str]) -> dict[bytes, int]:
    """The words of all texts in UTF-8, and how often each occurs."""
    import regex
    from tokenizers import Regex, pre_tokenizers

    cut = regex.compile(SHORT_PATTERN).findall
    slow = pre_tokenizers.Split(Regex(SHORT_PATTERN), behavior="isolated")
    counts: Counter[str] = Counter()
    for text in texts:
        if text.isascii() or not classed_differently()[code_points(text)].any():
            counts.update(cut(text))
        else:
            counts.update(word for word, _ in slow.pre_tokenize_str(text))
    in_utf8: dict[bytes, int] = {}
    while counts:  # one of the two at a time
        word, count = counts.popitem()
        in_utf8[word.encode()] = count
    return in_utf8


@cache
def classed_differently() -> ndarray:
    """The code points that `regex` and `tokenizers` may class differently: bool [0x110000]."""
    import regex

    text = "".join(every_code_point())
    differ = marked(LONG_S)
    for character_class in _CLASSES:
        members = regex.findall(f"{character_class}+", text)
        differ |= marked("".join(members)) != members_in_tokenizers(character_class)
    return differ
