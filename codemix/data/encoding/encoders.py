"""Text to token ids: `fastokens` where it is known to give the same ids, the `tokenizers` package where it
is not.

The fast encoder takes the same tokenizer.json. It cuts text by a scanner of its own where it knows the
pattern, and by another regular-expression engine where it does not. The scanners are held to `tokenizers` by
tests, for every code point but one, the long s. Of two engines the Unicode tables may differ: every code
point that they class differently is found when an encoder is opened. Documents that hold such code points go
the slow way. Last, both encode pathological texts, the spelling of each entry that merging characters cannot
make, and the first documents, and must agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from codemix.data.encoding.cutting import (
    NotTheSame,
    cutting_patterns,
    entries_outside_alphabet,
    in_known_spelling,
)
from codemix.data.encoding.encoded import Encoded
from codemix.data.encoding.fastokens_adapter import FastTokenizer, unsafe_code_points
from codemix.data.encoding.tokenizer_faults import PATHOLOGICAL, Panicked, panics
from codemix.data.text.word_runs import code_points
from codemix.errors import CodemixError


class SlowEncoder:
    """The `tokenizers` package itself."""

    fast = False

    def __init__(self, path: Path):
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.encode_special_tokens = True  # text that spells a special token stays text
        self._tokenizer.post_processor = None
        self.notice = ""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of each text, no special tokens added."""
        return Encoded.of(self._encode(texts))

    def spelled(self, entries: Mapping[str, int]) -> list[str]:
        """Texts that an encoder could take for entries of the vocabulary: their names, and what they decode
        to."""
        spellings = set(entries)
        for number in entries.values():
            meaning = self._tokenizer.decode([number], skip_special_tokens=False)
            spellings.add(meaning)
        inside_words = [f"a{spelling} b" for spelling in spellings]
        return sorted(spellings.union(inside_words))

    def _encode(self, texts: Sequence[str]) -> list[ndarray]:
        try:
            with panics():
                encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
                return [np.array(encoding.ids, np.uint32) for encoding in encodings]
        except Panicked as why:
            if len(texts) > 1:  # one by one, to find it
                return [ids for text in texts for ids in self._encode([text])]
            raise CodemixError(
                f"the tokenizer cannot encode a text of {len(texts[0]):,} characters "
                f"that begins {texts[0][:40]!r}: {why}",
                hints=[
                    "its regular expression backtracks too far; drop such documents with `ops:`, "
                    "or give a different tokenizer"
                ],
                rule="bad-tokenizer",
            ) from None


class FastEncoder:
    """The package `fastokens`, from the same tokenizer.json; texts with an `unsafe` code point are encoded by
    the slow one."""

    fast = True
    notice = ""

    def __init__(self, slow: SlowEncoder, content: dict[str, Any], unsafe: ndarray | None = None):
        self.slow = slow
        self._tokenizer = FastTokenizer(content)
        self._unsafe = unsafe

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of each text, no special tokens added."""
        if any(map(self._is_unsafe, texts)):
            return self._one_by_one(texts)
        try:
            return self._tokenizer.encode(texts)
        except ValueError:
            return self._one_by_one(texts)

    def _one_by_one(self, texts: Sequence[str]) -> Encoded:
        return Encoded.of(map(self._encode_one, texts))

    def _encode_one(self, text: str) -> ndarray:
        if self._is_unsafe(text):
            return self.slow.encode([text]).ids
        try:
            return self._tokenizer.encode([text]).ids
        except ValueError:  # its regular expressions reached a limit
            return self.slow.encode([text]).ids

    def _is_unsafe(self, text: str) -> bool:
        if self._unsafe is None or text.isascii():
            return False
        found = self._unsafe[code_points(text)]
        return bool(found.any())


Encoder = SlowEncoder | FastEncoder


@lru_cache(2)
def load_encoder(path: Path) -> Encoder:
    """The fastest encoder that gives exactly what tokenizer.json at `path` gives; its `notice` says why when
    it is the slow one."""
    import orjson

    slow = SlowEncoder(path)
    content = orjson.loads(path.read_bytes())
    try:
        cuts = cutting_patterns(content)
        unsafe = unsafe_code_points(tuple(cuts))
        encoder = FastEncoder(slow, in_known_spelling(content), unsafe)
        entries = entries_outside_alphabet(content["model"]["vocab"])
        texts = [*PATHOLOGICAL, *slow.spelled(entries)]
        if difference := disagreement(encoder, slow, texts):
            raise NotTheSame(difference)
    except NotTheSame as why:
        slow.notice = fallback_notice(why)
        return slow
    return encoder


def fallback_notice(why: object) -> str:
    """What a build says when it goes the slow way."""
    return f"encoding with `tokenizers`, many times slower than `fastokens`: {why}"


def disagreement(fast: FastEncoder, slow: SlowEncoder, texts: Sequence[str]) -> str:
    """The first text on which the two differ, described; empty when they agree."""
    fast_parts = fast.encode(texts).parts()
    slow_parts = slow.encode(texts).parts()
    for text, fast_ids, slow_ids in zip(texts, fast_parts, slow_parts, strict=True):
        if not np.array_equal(fast_ids, slow_ids):
            return f"they differ on {text[:40]!r}"
    return ""
