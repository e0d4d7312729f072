"""A tokenizer as evaluation needs it: text to tokens and back, also in the middle of a text,
and texts cut in two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Tokens = Sequence[int] | np.ndarray
Pair = tuple[str, str]  # context, continuation
TokenPair = tuple[list[int], list[int]]  # given, scored
Span = tuple[int, int]  # of a token in a text: its first character, and the one after its last


@dataclass(frozen=True)
class Cut:
    """Context and continuation as tokens of the whole text, and the UTF-8 length of what is scored [bytes].

    A token that holds characters of both belongs to `scored`, so `given` and `scored` together always spell
    the text.
    """

    given: list[int]
    scored: list[int]
    n_bytes: int


class Text:
    """A tokenizer: no special token is ever made from text, and EOS comes before a text."""

    def __init__(self, path: str | Path, eos_id: int):
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.post_processor = None  # one for bytes would leave spaces out of the places of tokens
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._special = {
            i for i, added in self._tokenizer.get_added_tokens_decoder().items() if added.special
        }
        self.eos_id = eos_id

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Tokens) -> str:
        """The text that begins with `ids`; special tokens are left out."""
        numbers = list(ids)
        return self._tokenizer.decode(numbers, skip_special_tokens=True)

    def decode_after(self, ids: Sequence[int]) -> str:
        """What `ids` add to a text that they follow. A tokenizer with a dummy prefix (SentencePiece, Llama)
        takes one space off the start of a text when it decodes: after a prompt that space is the text's own.
        """
        eos = [self.eos_id]
        written = [i for i in ids if i not in self._special]
        before = self._tokenizer.decode(eos, skip_special_tokens=False)
        after = self._tokenizer.decode(eos + written, skip_special_tokens=False)
        n_before = len(before)
        return after[n_before:]

    def cut(self, pairs: Sequence[Pair]) -> list[Cut]:
        """Each pair as tokens. Pairs of one context are cut at one place:
        their scores are of the same text, and comparable.

        Without a token that ends inside the context, EOS is given.
        """
        contexts = [context for context, _ in pairs]
        texts = [context + continuation for context, continuation in pairs]
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        spans: dict[str, list[Span]] = defaultdict(list)
        for context, encoding in zip(contexts, encodings, strict=True):
            spans[context] += encoding.offsets
        boundaries = {context: boundary(found, len(context)) for context, found in spans.items()}
        cuts = []
        for text, context, encoding in zip(texts, contexts, encodings, strict=True):
            at = boundaries[context]
            n = _tokens_up_to(at, encoding.offsets)
            ids = encoding.ids
            given = ids[:n] or [self.eos_id]
            scored = ids[n:]
            own_text = text[at:].encode()
            cut = Cut(given, scored, len(own_text))
            cuts.append(cut)
        return cuts

    def pair(self, context: str, continuation: str) -> TokenPair:
        """Tokens given and tokens scored of one text in two parts."""
        whole = (context, continuation)
        [cut] = self.cut([whole])
        return cut.given, cut.scored


def _tokens_up_to(at: int, places: Sequence[Span]) -> int:
    """Tokens before the first one that ends after `at` [characters]."""
    for number, (_, end) in enumerate(places):
        if end > at:
            return number
    return len(places)


def boundary(spans: Sequence[Span], at: int) -> int:
    """The last place up to `at` [characters] that lies inside none of the tokens, which are of any number of
    texts.

    >>> boundary([(0, 2), (2, 5), (5, 6), (0, 1), (1, 3), (3, 6)], 4)
    0
    >>> boundary([(0, 2), (2, 5), (5, 6)], 4)
    2
    """
    while straddling := [start for start, end in spans if start < at < end]:
        at = min(straddling)
    return at
