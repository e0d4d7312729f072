"""The fast encoder is `tokenizers`: for every code point beside every kind of neighbour, and for random texts
made to be cut in odd ways.
"""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tokenizer_files import BYTE_LEVEL, added, split, written

from codemix.data.encoding import encoders, patterns
from codemix.data.encoding.cutting import NotTheSame, cutting_patterns
from codemix.data.encoding.encoded import Encoded
from codemix.data.encoding.merges import bytes_to_unicode
from codemix.data.tokenizers.tiktoken import PATTERNS

SPELLING = bytes_to_unicode()
# as this project spelled Qwen2's pattern up to version 2 of `bpe`: no scanner knows it
FORMER = (
    r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

DIGITS = {"type": "Digits", "individual_digits": True}
CUTS = {
    "gpt2": BYTE_LEVEL,
    "gpt2 as a split": split(patterns.GPT2),
    "cl100k": split(patterns.CL100K),
    "qwen2": split(patterns.QWEN2),
    "o200k": split(patterns.O200K),
    "former bpe": split(FORMER),
    "starcoder": {"type": "Sequence", "pretokenizers": [DIGITS, BYTE_LEVEL]},
}


def encoder_of(folder, content):
    (folder / "t.json").write_text(json.dumps(content))
    encoders.load_encoder.cache_clear()
    return encoders.load_encoder(folder / "t.json")


@pytest.fixture(scope="module")
def merges():
    """Every pair of bytes merges, in an order by chance: a cut that moves changes the ids behind it."""
    vocab = {SPELLING[byte]: byte for byte in range(256)} | {"<|endoftext|>": 256, "<|fim_prefix|>": 257}
    pairs = [[left, right] for left in SPELLING.values() for right in SPELLING.values()]
    random.Random(0).shuffle(pairs)
    for pair in pairs:
        vocab["".join(pair)] = len(vocab)
    return {"vocab": vocab, "merges": pairs}


def pairs_file(merges, cut, **model):
    names = ("<|endoftext|>", "<|fim_prefix|>")
    specials = [added(name, merges["vocab"][name]) for name in names]
    return written(merges | model, pre_tokenizer=cut) | {"added_tokens": specials}


NASTY = [
    *[
        "don't",
        "I'll",
        "we've",
        "DON'T",
        "it's",
        "'S",
        "'ſ",
        "'K",
        "def",
        "return",
        "123",
        "1234567",
        "٣",
        "Ⅷ",
        "½",
        "é",
        "é",
        "́",
    ],
    *[
        "東京",
        "タワー",
        "🦊",
        "\u200d",
        "//",
        "/*",
        "==",
        "!=",
        "->",
        "...",
        "__",
        "ſ",
        "K",
        "İ",
        "ǅ",
        "ﬁ",
        "ẞ",
        "\u180e",
        "\u200b",
        "ำ",
        "নি",
        "가",
        "가",
    ],
    *[
        "<|",
        "|>",
        "<0x0A>",
        "▁",
        "Ġ",
        "Ċ",
        "Â",
        "a",
        "Z",
        "_",
        "'",
        '"',
        "<|endoftext|>",
        "<|fim_prefix|>",
        "\x00",
        "\ufeff",
        "�",
        "\U0010fffd",
    ],
    *(" ", "  ", "    ", "\t", "\r\n", "\n\n", "  \n", " \n ", "\u00a0", "\u2003", "\u3000", "\u2028"),
    *("\u0085", "\x0b", "\x0c", "\x1c", "\x1f"),
]
ODD = st.lists(st.sampled_from(NASTY) | st.characters(codec="utf-8"), max_size=20).map("".join)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(ODD, min_size=1, max_size=8))
@pytest.mark.parametrize("name", CUTS)
def test_odd_texts(tmp_path_factory, merges, name, texts):
    folder = tmp_path_factory.getbasetemp() / name.replace(" ", "-")
    if not folder.exists():
        folder.mkdir()
        (folder / "t.json").write_text(json.dumps(pairs_file(merges, CUTS[name])))
    encoder = encoders.load_encoder(folder / "t.json")
    assert encoder.fast and not encoders.disagreement(encoder, encoder.slow, texts)


def random_text(rng):
    """Odd pieces, repeated or not, between characters of every script."""
    pieces = []
    for _ in range(1 + int(rng.expovariate(1 / 12))):
        first = rng.choice((0, 0x80, 0x300, 0x900, 0x1100, 0x1E00, 0x2100, 0xA000, 0x10000, 0x1D000, 0xE0000))
        last = min(first + rng.choice((0x80, 0x300, 0x1000)), 0xD7FF if first < 0xD800 else 0x10FFFF)
        strange = "".join(chr(rng.randrange(first, last)) for _ in range(rng.randrange(1, 4)))
        usual = rng.choice(NASTY) * rng.choice((1, 1, 1, 2, 5))
        pieces.append(strange if rng.random() < 0.3 else usual)
    return "".join(pieces)


@pytest.mark.optional("ten minutes: 100,000 random texts per pattern")
@pytest.mark.parametrize("ignore_merges", [False, True])
@pytest.mark.parametrize("name", CUTS)
def test_a_hundred_thousand_texts(tmp_path, merges, name, ignore_merges):
    encoder = encoder_of(tmp_path, pairs_file(merges, CUTS[name], ignore_merges=ignore_merges))
    rng = random.Random(name)
    for _ in range(25):
        texts = [random_text(rng) for _ in range(2000)]
        assert encoder.fast and not encoders.disagreement(encoder, encoder.slow, texts)


def showing_cuts(cut, neighbour, before):
    """A tokenizer that merges a neighbour with any byte after (or before) it, so that ids show every cut."""
    vocab = {SPELLING[byte]: byte for byte in range(256)}
    pairs = []
    for byte in [*range(0x80), *range(0xC2, 0xF5)] if before else range(0xC0):
        pair = [SPELLING[neighbour], SPELLING[byte]] if before else [SPELLING[byte], SPELLING[neighbour]]
        if byte != neighbour:
            pairs.append(pair)
            vocab["".join(pair)] = len(vocab)
    return written({"vocab": vocab, "merges": pairs}, pre_tokenizer=cut) | {"added_tokens": []}


def beside(neighbour, code_points):
    """Each code point between two neighbours, and twice between four."""
    chars = list(map(chr, code_points))
    once = "".join(neighbour + char for char in chars)
    twice = "".join(neighbour * 2 + char * 2 for char in chars)
    return [once + neighbour, twice + neighbour]


BY_THOUSANDS = [range(first, first + 1024) for first in range(0, 0x40000, 1024)]
ASSIGNED = [block for block in BY_THOUSANDS if not 0xD800 <= block[0] < 0xE000] + [range(0xE0000, 0xE0200)]


def cut_differently(tmp_path, cut, blocks):
    for neighbour in "x1 .'\n\r":
        for before in (True, False):
            encoder = encoder_of(tmp_path, showing_cuts(cut, ord(neighbour), before))
            texts = [text for block in blocks for text in beside(neighbour, block)]
            assert encoder.fast
            if difference := encoders.disagreement(encoder, encoder.slow, texts):
                return f"beside {neighbour!r}: {difference}"
    return ""


@pytest.mark.optional("ten minutes: every code point beside every kind of neighbour")
@pytest.mark.parametrize("name", CUTS)
def test_every_code_point_is_cut_alike(tmp_path, name):
    assert not cut_differently(tmp_path, CUTS[name], ASSIGNED)


@pytest.mark.parametrize("name", CUTS)
def test_latin_letters_and_blanks_are_cut_alike(tmp_path, name):
    assert not cut_differently(tmp_path, CUTS[name], [range(0x250), range(0x2000, 0x2070), [0x180E]])


def test_text_with_a_code_point_that_the_engines_class_differently_goes_the_slow_way(tmp_path, merges):
    content = pairs_file(merges, split(FORMER))
    encoder = encoder_of(tmp_path, content)
    assert np.flatnonzero(encoder._unsafe).tolist() == [0x180E]  # a space up to Unicode 6.2
    without = encoders.FastEncoder(encoder.slow, content)
    texts = ["a b", " \u180e! x", "c"]
    assert encoders.disagreement(without, encoder.slow, texts)
    assert not encoders.disagreement(encoder, encoder.slow, texts)


def test_a_contraction_with_the_long_s_goes_the_slow_way(tmp_path, merges):
    content = pairs_file(merges, split(patterns.QWEN2))
    encoder = encoder_of(tmp_path, content)
    texts = ["it's", "'ſZ"]
    assert encoders.disagreement(encoders.FastEncoder(encoder.slow, content), encoder.slow, texts)
    assert not encoders.disagreement(encoder, encoder.slow, texts)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"normalizer": {"type": "NFC"}}, "normalizes"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "not byte-level"),
        ({"pre_tokenizer": None}, "not byte-level"),
        ({"pre_tokenizer": BYTE_LEVEL | {"use_regex": False}}, "does not cut text"),
        ({"pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": True}}, "not byte-level"),
        ({"model": {"type": "Unigram"}}, "not plain BPE"),
        ({"model": {"type": "BPE", "dropout": 0.1}}, "drops merges"),
        ({"model": {"type": "BPE", "end_of_word_suffix": "</w>"}}, "not plain BPE"),
        ({"model": {"type": "BPE", "byte_fallback": True}}, "normalizes text in a way of its own"),
        ({"added_tokens": [{"content": "zz", "special": False}]}, "added tokens"),
        *(
            ({"pre_tokenizer": split(pattern)}, "engines may read its regular expression differently")
            for pattern in (r"\p{N}{1,3}+|x", "(x+)+$", "^a|b", r"\h+", "[a[b]]", "[a&&b]", "(?i)ss|b", "a.b")
        ),
    ],
)
def test_what_stays_with_tokenizers(parts, why):
    with pytest.raises(NotTheSame, match=why):
        cutting_patterns(written() | parts)


@pytest.mark.parametrize("name", PATTERNS)
def test_published_patterns_are_read_alike(name):
    assert cutting_patterns(written(pre_tokenizer=split(PATTERNS[name]))) == [PATTERNS[name]]


def test_merges_rank_as_pairs(tmp_path):
    """`abc` is made of (ab, c), but (b, c) ranks first: by the bytes alone, abc would be one token."""
    vocab = {SPELLING[byte]: byte for byte in range(256)} | {"bc": 256, "ab": 257, "abc": 258}
    merges = [["b", "c"], ["a", "b"], ["ab", "c"]]
    encoder = encoder_of(tmp_path, written({"vocab": vocab, "merges": merges}) | {"added_tokens": []})
    assert encoder.fast and encoder.encode(["abc"]).ids.tolist() == [ord("a"), 256]


def test_a_word_that_is_only_in_the_vocabulary_sends_all_text_the_slow_way(tmp_path):
    """The fast encoder makes `</s>` of text where `/` is no entry."""
    letters = {char: 262 + number for number, char in enumerate("▁<s>unkx0123456789ABCDEF")}
    fallback = {f"<0x{byte:02X}>": 4 + byte for byte in range(256)} | dict(zip("abcd", range(4), strict=True))
    model = {
        "type": "BPE",
        "vocab": letters | fallback | {"</s>": 260, "<unk>": 261},
        "merges": [],
        "byte_fallback": True,
        "unk_token": "<unk>",
        "fuse_unk": True,
    }
    normalizer = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    content = {"added_tokens": [added("</s>", 260)], "normalizer": normalizer, "model": model}
    encoder = encoder_of(tmp_path, written() | content | {"pre_tokenizer": None, "decoder": None})
    assert not encoder.fast and "they differ on '</s>'" in encoder.notice
    model["vocab"]["/"] = len(model["vocab"])
    encoder = encoder_of(tmp_path, written() | content | {"pre_tokenizer": None, "decoder": None})
    assert encoder.fast and 260 not in encoder.encode(["</s> s"]).ids


def test_no_text_at_all(tmp_path):
    encoder = encoder_of(tmp_path, written())
    for each in (encoder, encoder.slow):
        assert [len(part) for part in each.encode([]).parts()] == []
        assert [len(part) for part in each.encode(["", "a", ""]).parts()] == [0, 1, 0]


@given(st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=6), st.data())
def test_tokens_of_several_texts(ids, data):
    batch = Encoded.of(np.array(part, np.uint32) for part in ids)
    assert [part.tolist() for part in batch.parts()] == ids
    ended = batch.with_end_token(0)
    assert [part.tolist() for part in ended.parts()] == [[*part, 0] for part in ids]
    chosen = np.array([data.draw(st.booleans()) for _ in ids], bool)
    kept = [[*part, 0] for part, stays in zip(ids, chosen, strict=True) if stays]
    assert [part.tolist() for part in ended.of_texts(chosen).parts()] == kept


RANDOM_WORDS = """
import sys
import numpy as np
from pathlib import Path
from codemix.data.encoding import encoders
from resource import RUSAGE_SELF, getrusage
encoder = encoders.load_encoder(Path(sys.argv[1]))
letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL    ", np.uint8)
rng = np.random.default_rng(1)
for _ in range(int(sys.argv[2])):
    text = letters[rng.integers(0, len(letters), 2**20)].tobytes().decode()
    encoder.encode([text[i : i + 4096] for i in range(0, len(text), 4096)])
print(getrusage(RUSAGE_SELF).ru_maxrss // 1024, encoder.fast)
"""


@pytest.mark.optional("half a minute: memory over 100 and 200 MB of words that never repeat")
def test_words_that_never_repeat_do_not_fill_the_memory(tmp_path, merges):
    (tmp_path / "t.json").write_text(json.dumps(pairs_file(merges, split(patterns.QWEN2))))
    peaks = []
    for megabytes in (100, 200):
        command = [sys.executable, "-c", RANDOM_WORDS, str(tmp_path / "t.json"), str(megabytes)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        peak, fast = done.stdout.split()
        assert fast == "True"
        peaks.append(int(peak))
    assert peaks[1] < min(600, 1.1 * peaks[0])
