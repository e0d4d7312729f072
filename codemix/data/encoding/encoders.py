"""Text to token ids, fast: tiktoken's merging where it is provably the same, the `tokenizers` package where it is not.

tiktoken merges the adjacent pair whose *bytes* rank lowest; a tokenizer.json lists *pairs*. The two agree for every text if,
for each token, encoding its bytes with the lower ranks ends in exactly the pair that its merge names (two adjacent tokens
that spell it can then be no other pair). That is checked for every token, not sampled. How text is cut first is left to two
regular-expression engines with their own Unicode tables: every code point that they class differently is found out, and
documents that hold one go the slow way. Last, both ways encode pathological texts and the first documents, and must agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from codemix.data.encoding.merges import bytes_to_unicode, last_merge
from codemix.data.encoding.tokenizer_faults import PATHOLOGICAL, Panicked, panics
from codemix.errors import CodemixError

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # what ByteLevel does by itself
_CLASSES = re.compile(r"\\[pP]\{\^?\w+\}|\\[sSdDwW]")
_CODE_POINTS = [
    *range(0xD800),
    *range(0xE000, 0x40000),
    *range(0xE0000, 0xE0200),
]  # the rest is unassigned or private
_NEVER = "\U0010ffff<never>\U0010ffff"  # a special token that is never allowed: searching a text for none at all stops at each character


class SlowEncoder:
    """The `tokenizers` package itself."""

    fast = False

    def __init__(self, path: Path):
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.encode_special_tokens = True  # text that spells a special token stays text
        self._tokenizer.post_processor = None
        self.notice = ""

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
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
                f"the tokenizer cannot encode a text of {len(texts[0]):,} characters that begins {texts[0][:40]!r}: {why}",
                hints=[
                    "its regular expression backtracks too far; drop such documents with `ops:`, or give another tokenizer"
                ],
                rule="bad-tokenizer",
            ) from None


class FastEncoder:
    """tiktoken with the same merges and ids."""

    fast, notice = True, ""

    def __init__(
        self, slow: SlowEncoder, pattern: str, ranks: dict[bytes, int], ids: np.ndarray, unsafe: np.ndarray
    ):
        import tiktoken

        self._slow, self._unsafe, self._ids = slow, unsafe if unsafe.any() else None, ids
        if (
            np.diff(ids[256:].astype(np.int64)) > 0
        ).all():  # ids in the order of the merges can stand in for ranks, and need no table
            ranks, self._ids = {token: int(ids[rank]) for token, rank in ranks.items()}, None
        self._encoding = tiktoken.Encoding(
            "codemix",
            pat_str=pattern,
            mergeable_ranks=ranks,
            special_tokens={_NEVER: max(ranks.values()) + 1},
        )

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text: uint32 [n], no special tokens added."""
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> np.ndarray:
        if (
            self._unsafe is not None
            and not text.isascii()
            and self._unsafe[np.frombuffer(text.encode("utf-32-le"), "<u4")].any()
        ):
            return self._slow.encode([text])[0]
        try:
            found = self._encoding.encode_to_numpy(
                text, disallowed_special=()
            )  # a list of Python's ints would cost a third as much again
        except ValueError:  # its regular expressions run out of stack on a million blanks in a row
            return self._slow.encode([text])[0]
        return found if self._ids is None else self._ids[found]


Encoder = SlowEncoder | FastEncoder


@lru_cache(2)
def load_encoder(path: Path) -> Encoder:
    """The fastest encoder that gives exactly what tokenizer.json at `path` gives; its `notice` says why when it is the slow one."""
    slow = SlowEncoder(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    try:
        pattern = cutting_pattern(content)
        ranks, ids = ranks_of(content)
        encoder = FastEncoder(slow, pattern, ranks, ids, unsafe_code_points(pattern))
    except NotTheSame as why:
        slow.notice = f"encoding with `tokenizers` instead of tiktoken: {why}"
        return slow
    if difference := disagreement(encoder, slow, PATHOLOGICAL):
        slow.notice = f"encoding with `tokenizers` instead of tiktoken: {difference}"
        return slow
    return encoder


class NotTheSame(Exception):
    """Why tiktoken cannot stand in for a tokenizer.json."""


def disagreement(fast: FastEncoder, slow: SlowEncoder, texts: Sequence[str]) -> str:
    """The first text on which the two differ, described; empty when they agree."""
    for text, a, b in zip(texts, fast.encode(texts), slow.encode(texts), strict=True):
        if not np.array_equal(a, b):
            return f"they differ on {text[:40]!r}"
    return ""


def cutting_pattern(content: dict[str, Any]) -> str:
    """The regular expression by which a byte-level tokenizer.json cuts text. Raises NotTheSame for any other kind."""
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
    if (cut["behavior"], bool(cut["invert"])) not in (
        ("Isolated", False),
        ("Removed", True),
        ("Isolated", True),
    ):
        raise NotTheSame(f"it cuts text by {cut['behavior']}")
    return cut["pattern"]["Regex"]


def ranks_of(content: dict[str, Any]) -> tuple[dict[bytes, int], np.ndarray]:
    """tiktoken ranks with the same result for every text, and the id of each rank. Raises NotTheSame when there are none."""
    model = content["model"]
    if (
        model.get("type") != "BPE"
        or model.get("byte_fallback")
        or model.get("continuing_subword_prefix")
        or model.get("end_of_word_suffix")
    ):
        raise NotTheSame("it is not plain BPE")
    if model.get("dropout"):
        raise NotTheSame("it drops merges at random")
    byte_of = {c: b for b, c in bytes_to_unicode().items()}
    spelled = lambda token: bytes(byte_of[c] for c in token)  # noqa: E731
    vocab, special = model["vocab"], {added["content"] for added in content.get("added_tokens", ())}
    try:
        ranks = {bytes([b]): b for b in range(256)}
        ids = [vocab[c] for _, c in sorted((b, c) for c, b in byte_of.items())]
        pairs = {}
        for merge in model["merges"]:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            token = spelled(left) + spelled(right)
            if token in ranks:
                raise NotTheSame(f"two merges make {left + right!r}")
            pairs[token] = (spelled(left), spelled(right))
            ranks[token] = len(ids)
            ids.append(vocab[left + right])
    except KeyError as missing:
        raise NotTheSame(f"its vocabulary lacks {missing}") from None
    for token, pair in pairs.items():
        if tuple(last_merge(token, ranks)) != pair:
            raise NotTheSame(f"the bytes of {token!r} merge in another order than its merge says")
    merged = set(ids)
    whole = sorted(token for token, i in vocab.items() if i not in merged and token not in special)
    if whole and model.get("ignore_merges"):  # they are found as whole pieces, and only so
        raise NotTheSame(f"no merge makes {whole[0]!r}")
    return ranks, np.array(ids, np.uint32)


@lru_cache(16)
def unsafe_code_points(pattern: str) -> np.ndarray:
    """True for each code point that the two engines put in different classes of `pattern`: bool [0x110000]."""
    unsafe = np.zeros(0x110000, bool)
    for one in sorted(set(_CLASSES.findall(pattern))):
        unsafe |= _classed_differently(one)
    if "(?i" in pattern:  # folding case can reach beyond ASCII: the long s, the Kelvin sign
        unsafe |= _classed_differently("(?i:[a-z])")
    return unsafe


def _classed_differently(pattern: str) -> np.ndarray:
    in_slow, in_fast = members(pattern)
    return in_slow != in_fast


@lru_cache(16)
def members(pattern: str) -> tuple[np.ndarray, np.ndarray]:
    """The code points that `pattern` matches, as `tokenizers` sees it and as tiktoken does: two bool [0x110000]."""
    import tiktoken
    from tokenizers import Regex, pre_tokenizers

    text = "".join(map(chr, _CODE_POINTS))
    parts = [
        text[i : i + 4096] for i in range(0, len(text), 4096)
    ]  # whole, it takes `tokenizers` more than twice as long
    split = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), behavior="removed", invert=True)
    bare = tiktoken.Encoding(
        "bytes",
        pat_str=f"(?:{pattern})+",
        mergeable_ranks={bytes([b]): b for b in range(256)},
        special_tokens={},
    )
    both = []
    for matched in (
        "".join(piece for part in parts for piece, _ in split.pre_tokenize_str(part)),
        bytes(bare.encode_ordinary(text)).decode(),
    ):
        both.append(np.zeros(0x110000, bool))
        both[-1][np.frombuffer(matched.encode("utf-32-le"), "<u4")] = True
    return both[0], both[1]
