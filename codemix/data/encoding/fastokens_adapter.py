"""The package `fastokens`: its tokenizer, and where it may cut text differently from `tokenizers`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy import ndarray

from codemix.data.encoding import patterns
from codemix.data.encoding.cutting import NotTheSame
from codemix.data.encoding.encoded import Encoded
from codemix.data.encoding.merges import bytes_to_unicode
from codemix.data.text.word_runs import code_points

_CLASSES = re.compile(r"\\[pP]\{\^?\w+\}|\\[sSdDwW]")
_ALL_CODE_POINTS = 0x110000
_CODE_POINTS = [
    *range(0xD800),
    *range(0xE000, 0x40000),
    *range(0xE0000, 0xE0200),
]  # the rest is unassigned or private
LONG_S = "\u017f"


class FastTokenizer:
    """The package's tokenizer for the content of a tokenizer.json. Raises NotTheSame for one that it does not
    take."""

    def __init__(self, content: dict[str, Any]):
        # One worker, one core. It also keeps the caches of its threads few: on random words a worker grows by
        # 140 MB, not 300.
        os.environ.setdefault("FASTOKENS_BPE_THREADS", "1")
        import fastokens
        import orjson

        given = orjson.dumps(content | {"post_processor": None})
        try:
            self._tokenizer = fastokens.Tokenizer.from_json_str(given.decode())
        except ValueError as error:
            raise NotTheSame(f"fastokens does not take it ({error})") from None

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of each text. Raises ValueError where its regular expressions reach a limit."""
        ids, offsets = self._tokenizer.encode_batch_flat(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,  # text that spells a special token stays text
        )
        ends = np.frombuffer(offsets, "<u8").astype(np.int64)
        return Encoded(np.frombuffer(ids, "<u4"), ends[1:])


@lru_cache(16)
def unsafe_code_points(cuts: tuple[str, ...]) -> ndarray | None:
    """The code points that the two may cut differently by some regular expressions: bool [0x110000]; None where
    there are none."""
    unsafe = np.zeros(_ALL_CODE_POINTS, bool)
    if any("(?i" in cut for cut in cuts):  # `'s` has the long s in it, which the scanners do not know
        unsafe[ord(LONG_S)] = True
    if not patterns.KNOWN.issuperset(cuts):  # no scanner
        for character_class in _classes(cuts):
            theirs = members_in_tokenizers(character_class)
            unsafe |= theirs != members_in_fastokens(character_class)
    return unsafe if unsafe.any() else None


def _classes(cuts: tuple[str, ...]) -> list[str]:
    """The character classes that regular expressions name."""
    named: set[str] = set()
    for cut in cuts:
        named.update(_CLASSES.findall(cut))
    return sorted(named)


@lru_cache(16)
def members_in_tokenizers(pattern: str) -> ndarray:
    """The code points that `pattern` matches, as `tokenizers` sees it: bool [0x110000]."""
    from tokenizers import Regex, pre_tokenizers

    several = Regex(f"(?:{pattern})+")
    split = pre_tokenizers.Split(several, behavior="removed", invert=True)
    matched: list[str] = []
    for text in every_code_point():
        matched.extend(piece for piece, _ in split.pre_tokenize_str(text))
    return marked("".join(matched))


@lru_cache(16)
def members_in_fastokens(pattern: str) -> ndarray:
    """The code points that `pattern` matches, as fastokens sees it: bool [0x110000]."""
    matches = {"pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}
    as_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    vocab = {character: byte for byte, character in bytes_to_unicode().items()}
    content = {
        "added_tokens": [],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", **matches}, as_bytes]},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }
    texts = every_code_point()
    encoded = FastTokenizer(content).encode(texts)
    matched = encoded.ids.astype(np.uint8).tobytes()
    return marked(matched.decode())


def every_code_point() -> list[str]:
    """In texts that are short, as engines want them: one is slow on the whole, the other refuses it."""
    text = "".join(map(chr, _CODE_POINTS))
    starts = range(0, len(text), 4096)
    return [text[start : start + 4096] for start in starts]


def marked(text: str) -> ndarray:
    """True for each code point of a text: bool [0x110000]."""
    found = np.zeros(_ALL_CODE_POINTS, bool)
    found[code_points(text)] = True
    return found
