"""A tokenizer as evaluation needs it: text to tokens and back, also in the middle of a text,
and texts cut in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Pair = tuple[str, str]  # context, continuation


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

    def decode(self, ids: Sequence[int]) -> str:
        """The text that begins with `ids`; special tokens are left out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def decode_after(self, ids: Sequence[int]) -> str:
        """What `ids` add to a text that they follow. A tokenizer with a dummy prefix (SentencePiece, Llama)
        takes one space off the start of a text when it decodes: after a prompt that space is the text's own.
        """
        written = [i for i in ids if i not in self._special]
        before = self._tokenizer.decode([self.eos_id], skip_special_tokens=False)
        whole = self._tokenizer.decode([self.eos_id, *written], skip_special_tokens=False)
        return whole[len(before) :]

    def cut(self, pairs: Sequence[Pair]) -> list[Cut]:
        """Each pair as tokens. Pairs of one context are cut at one place:
        their scores are of the same text, and comparable.

        Without a token that ends inside the context, EOS is given.
        """
        texts = [context + continuation for context, continuation in pairs]
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        by_context: dict[str, list[list[tuple[int, int]]]] = {}
        for (context, _), encoding in zip(pairs, encodings, strict=True):
            by_context.setdefault(context, []).append(encoding.offsets)
        boundaries = {context: boundary(places, len(context)) for context, places in by_context.items()}
        cuts = []
        for text, (context, _), encoding in zip(texts, pairs, encodings, strict=True):
            at = boundaries[context]
            n = _tokens_up_to(at, encoding.offsets)
            given = encoding.ids[:n] or [self.eos_id]
            cuts.append(Cut(given, encoding.ids[n:], len(text[at:].encode())))
        return cuts

    def pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokens given and tokens scored of one text in two parts."""
        [cut] = self.cut([(context, continuation)])
        return cut.given, cut.scored


def _tokens_up_to(at: int, places: Sequence[tuple[int, int]]) -> int:
    """Tokens before the first one that ends after `at` [characters]."""
    for number, (_, end) in enumerate(places):
        if end > at:
            return number
    return len(places)


def boundary(texts: Sequence[Sequence[tuple[int, int]]], at: int) -> int:
    """The last place up to `at` [characters] that lies inside no token of any text;
    tokens are (first place, end).

    >>> boundary([[(0, 2), (2, 5), (5, 6)], [(0, 1), (1, 3), (3, 6)]], 4)
    0
    >>> boundary([[(0, 2), (2, 5), (5, 6)]], 4)
    2
    """
    while straddling := [start for places in texts for start, end in places if start < at < end]:
        at = min(straddling)
    return at
