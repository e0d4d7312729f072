"""Text to token ids, fast: tiktoken's merging where it is provably the same, the `tokenizers` package where
it is not.

tiktoken merges the adjacent pair whose *bytes* rank lowest; a tokenizer.json lists *pairs*. The two agree for
every text if, for each token, encoding its bytes with the lower ranks ends in exactly the pair that its merge
names (two adjacent tokens that spell it can then be no other pair). That is checked for every token, not
sampled. How text is cut first is left to two regular-expression engines with their own Unicode tables: every
code point that they class differently is found, and documents that hold one go the slow way. Last, both ways
encode pathological texts and the first documents, and must agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from codemix.data.encoding.merges import bytes_to_unicode, last_merge
from codemix.data.encoding.tokenizer_faults import PATHOLOGICAL, Panicked, panics
from codemix.errors import CodemixError

# what ByteLevel does by itself
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CLASSES = re.compile(r"\\[pP]\{\^?\w+\}|\\[sSdDwW]")
_ALL_CODE_POINTS = 0x110000
_CODE_POINTS = [
    *range(0xD800),
    *range(0xE000, 0x40000),
    *range(0xE0000, 0xE0200),
]  # the rest is unassigned or private
# a special token that is never allowed: searching a text for none at all stops at each character
Texts = Sequence[str]
_NEVER = "\U0010ffff<never>\U0010ffff"


class SlowEncoder:
    """The `tokenizers` package itself."""

    fast = False

    def __init__(self, path: Path):
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.encode_special_tokens = True  # text that spells a special token stays text
        self._tokenizer.post_processor = None
        self.notice = ""

    def encode(self, texts: Texts) -> list[ndarray]:
        """Token ids of each text: uint32 [n], no special tokens added."""
        try:
            with panics():
                return [
                    np.array(e.ids, np.uint32)
                    for e in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
                ]
        except Panicked as why:
            if len(texts) > 1:  # one by one, to find it
                return [ids for text in texts for ids in self.encode([text])]
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
    """tiktoken with the same merges and ids."""

    fast = True
    notice = ""

    def __init__(
        self, slow: SlowEncoder, pattern: str, ranks: dict[bytes, int], ids: ndarray, unsafe: ndarray
    ):
        import tiktoken

        self.slow = slow
        self._unsafe = unsafe if unsafe.any() else None
        self._ids: ndarray | None = ids
        merged_ids = ids[256:].astype(np.int64)
        if (
            np.diff(merged_ids) > 0
        ).all():  # ids in the order of the merges can replace ranks, without a table
            ranks = {token: int(ids[rank]) for token, rank in ranks.items()}
            self._ids = None
        self._encoding = tiktoken.Encoding(
            "codemix",
            pat_str=pattern,
            mergeable_ranks=ranks,
            special_tokens={_NEVER: max(ranks.values()) + 1},
        )

    def encode(self, texts: Texts) -> list[ndarray]:
        """Token ids of each text: uint32 [n], no special tokens added."""
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> ndarray:
        if self._unsafe is not None and not text.isascii() and self._unsafe[_code_points(text)].any():
            return self.slow.encode([text])[0]
        try:  # as an array: a list of Python's ints would cost a third as much again
            ranks = self._encoding.encode_to_numpy(text, disallowed_special=())
        except ValueError:  # its regular expressions run out of stack on a million spaces in a row
            return self.slow.encode([text])[0]
        return ranks if self._ids is None else self._ids[ranks]


def _code_points(text: str) -> ndarray:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


Encoder = SlowEncoder | FastEncoder


@lru_cache(2)
def load_encoder(path: Path) -> Encoder:
    """The fastest encoder that gives exactly what tokenizer.json at `path` gives; its `notice` says why when
    it is the slow one."""
    slow = SlowEncoder(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    try:
        pattern = cutting_pattern(content)
        merges = ranked_merges(content)
        encoder = FastEncoder(slow, pattern, merges.ranks, merges.ids, unsafe_code_points(pattern))
    except NotTheSame as why:
        slow.notice = f"encoding with `tokenizers` instead of tiktoken: {why}"
        return slow
    if difference := disagreement(encoder, slow, PATHOLOGICAL):
        slow.notice = f"encoding with `tokenizers` instead of tiktoken: {difference}"
        return slow
    return encoder


class NotTheSame(Exception):
    """Why tiktoken cannot replace a tokenizer.json."""


def disagreement(fast: FastEncoder, slow: SlowEncoder, texts: Texts) -> str:
    """The first text on which the two differ, described; empty when they agree."""
    encoded = zip(texts, fast.encode(texts), slow.encode(texts), strict=True)
    for text, fast_ids, slow_ids in encoded:
        if not np.array_equal(fast_ids, slow_ids):
            return f"they differ on {text[:40]!r}"
    return ""


def cutting_pattern(content: dict[str, Any]) -> str:
    """The regular expression by which a byte-level tokenizer.json cuts text. Raises NotTheSame for any other
    kind."""
    if content.get("normalizer"):
        raise NotTheSame("it normalizes text")
    if any(not added["special"] for added in content.get("added_tokens", ())):
        raise NotTheSame("it has added tokens that are not special")
    steps = content.get("pre_tokenizer") or {}
    steps = steps["pretokenizers"] if steps.get("type") == "Sequence" else [steps]
    *before, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise NotTheSame("it is not byte-level")
    if last.get("use_regex", True):
        if before:
            raise NotTheSame("it cuts text twice")
        return GPT2_PATTERN
    if len(before) != 1 or before[0].get("type") != "Split" or "Regex" not in before[0]["pattern"]:
        raise NotTheSame("it does not cut text by one regular expression")
    cut = before[0]
    keeps_all_matches = cut["behavior"] == "Isolated" or (cut["behavior"] == "Removed" and cut["invert"])
    if not keeps_all_matches:
        raise NotTheSame(f"it cuts text by {cut['behavior']}")
    return cut["pattern"]["Regex"]


@dataclass(frozen=True)
class RankedMerges:
    """tiktoken's ranks, and the id of each rank: uint32 [ranks]."""

    ranks: dict[bytes, int]
    ids: ndarray


def ranked_merges(content: dict[str, Any]) -> RankedMerges:
    """Ranks that give the same result as a tokenizer.json for every text. Raises NotTheSame when there are
    none."""
    model = content["model"]
    _require_plain_bpe(model)
    vocab: dict[str, int] = model["vocab"]
    character_of = bytes_to_unicode()
    byte_of = {character: byte for byte, character in character_of.items()}

    def spelled(token: str) -> bytes:
        return bytes(byte_of[character] for character in token)

    ranks = {bytes([byte]): byte for byte in range(256)}
    merge_of: dict[bytes, list[bytes]] = {}
    try:
        ids = [vocab[character] for _, character in sorted(character_of.items())]
        for merge in model["merges"]:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            pair = [spelled(left), spelled(right)]
            token = b"".join(pair)
            if token in ranks:
                raise NotTheSame(f"two merges make {left + right!r}")
            merge_of[token] = pair
            ranks[token] = len(ids)
            ids.append(vocab[left + right])
    except KeyError as missing:
        raise NotTheSame(f"its vocabulary lacks {missing}") from None
    for token, pair in merge_of.items():
        if last_merge(token, ranks) != pair:
            raise NotTheSame(f"the bytes of {token!r} merge in a different order from that of its merge")
    _require_merges_for_all(content, merged=set(ids))
    return RankedMerges(ranks, np.array(ids, np.uint32))


def _require_plain_bpe(model: dict[str, Any]) -> None:
    marks = ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
    if model.get("type") != "BPE" or any(model.get(mark) for mark in marks):
        raise NotTheSame("it is not plain BPE")
    if model.get("dropout"):
        raise NotTheSame("it drops merges at random")


def _require_merges_for_all(content: dict[str, Any], merged: set[int]) -> None:
    """Refuse tokens that `ignore_merges` finds as whole pieces, and that no merge makes."""
    model = content["model"]
    if not model.get("ignore_merges"):
        return
    special = {added["content"] for added in content.get("added_tokens", ())}
    for token, token_id in sorted(model["vocab"].items()):
        if token_id not in merged and token not in special:
            raise NotTheSame(f"no merge makes {token!r}")


@lru_cache(16)
def unsafe_code_points(pattern: str) -> ndarray:
    """True for each code point that the two engines put in different classes of `pattern`: bool
    [0x110000]."""
    unsafe = np.zeros(_ALL_CODE_POINTS, bool)
    for character_class in sorted(set(_CLASSES.findall(pattern))):
        unsafe |= _classed_differently(character_class)
    if "(?i" in pattern:  # folding case can reach beyond ASCII: the long s, the Kelvin sign
        unsafe |= _classed_differently("(?i:[a-z])")
    return unsafe


def _classed_differently(pattern: str) -> ndarray:
    return members_in_tokenizers(pattern) != members_in_tiktoken(pattern)


@lru_cache(16)
def members_in_tokenizers(pattern: str) -> ndarray:
    """The code points that `pattern` matches, as `tokenizers` sees it: bool [0x110000]."""
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), behavior="removed", invert=True)
    text = "".join(map(chr, _CODE_POINTS))
    matched = []
    for start in range(0, len(text), 4096):  # whole, the text takes more than twice as long
        pieces = split.pre_tokenize_str(text[start : start + 4096])
        matched += [piece for piece, _ in pieces]
    return _marked("".join(matched))


@lru_cache(16)
def members_in_tiktoken(pattern: str) -> ndarray:
    """The code points that `pattern` matches, as tiktoken sees it: bool [0x110000]."""
    import tiktoken

    single_bytes = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding(
        "bytes", pat_str=f"(?:{pattern})+", mergeable_ranks=single_bytes, special_tokens={}
    )
    text = "".join(map(chr, _CODE_POINTS))
    matched = bytes(encoding.encode_ordinary(text))
    return _marked(matched.decode())


def _marked(text: str) -> ndarray:
    """True for each code point of a text: bool [0x110000]."""
    marked = np.zeros(_ALL_CODE_POINTS, bool)
    marked[_code_points(text)] = True
    return marked
