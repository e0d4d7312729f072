"""Shards: byte for byte what datatrove would write, the held-out split, the narrowest type,
no EOS out of text.
"""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from datatrove.data import Document
from datatrove.pipeline.tokens.tokenizer import DocumentTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_recipes import words

from codemix.data.build.shards import BATCH_BYTES, BATCH_DOCUMENTS, ShardTokenizer, batches
from codemix.data.encoding import encoders
from codemix.data.encoding.encoded import Encoded
from codemix.data.encoding.merges import bytes_to_unicode
from codemix.data.encoding.tokenizer import TokenizerFile, describe
from codemix.data.hash_rank import held_out
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.manifest import dtype_for
from codemix.data.tokenizers.bpe import Bpe


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> TokenizerFile:
    folder = tmp_path_factory.mktemp("tokenizer")
    made = Bpe(vocab_size=700).make(
        (), lambda: iter([words(i, 200) for i in range(60)] + [Path(__file__).read_text()])
    )
    made.save(str(folder / "tokenizer.json"))
    return TokenizerFile(folder, describe(made, folder / "tokenizer.json", "<|endoftext|>"))


def rows(texts):
    return [
        {"id": f"d{i}", "text": text, "bytes": len(text.encode()), "meta": {"language": "x", "secret": 1}}
        for i, text in enumerate(texts)
    ]


TEXTS = [words(i, 5 + 7 * i) for i in range(30)] + [
    Path(__file__).read_text(),
    "<|endoftext|><|fim_prefix|>",
    "a\r\n\r\n  b\t",
    "東京 🦊 ﬁ \u0301",
    "12345",
]


@pytest.mark.parametrize("fast", [True, False])
def test_shards_are_those_of_stock_datatrove(tmp_path, tokenizer, fast):
    encoder = encoders.load_encoder(tokenizer.path) if fast else encoders.SlowEncoder(tokenizer.path)
    assert encoder.fast == fast
    written = ShardTokenizer(tokenizer, Fraction(0), encoder).run(iter(rows(TEXTS)), tmp_path / "ours")
    stock = DocumentTokenizer(
        str(tmp_path / "stock"),
        str(tokenizer.path),
        eos_token="<|endoftext|>",
        shuffle_documents=False,
        batch_size=10,
    )
    stock.tokenizer.encode_special_tokens = True
    stock.run((Document(text, str(i)) for i, text in enumerate(TEXTS)), 3)
    for suffix in ("", ".index"):
        assert (tmp_path / "ours" / f"train.ds{suffix}").read_bytes() == (
            tmp_path / "stock" / f"00003_unshuffled.ds{suffix}"
        ).read_bytes()
    assert written["train"].documents == len(TEXTS)
    sidecar = list(read_lines(tmp_path / "ours" / "train.docs.jsonl.zst"))
    assert sidecar[1] == {"id": "d1", "bytes": len(TEXTS[1].encode()), "language": "x"}


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(max_size=60)
    | st.text(alphabet="ab'sltd 1\n\r\t<|endoftx>_é東🦊\u0301\u00a0\u2028", max_size=80)
)
def test_the_fast_encoder_is_the_slow_one(tokenizer, text):
    fast = encoders.load_encoder(tokenizer.path)
    a = fast.encode([text]).ids
    b = fast.slow.encode([text]).ids
    assert fast.fast and a.tolist() == b.tolist()
    assert fast.slow._tokenizer.decode(a.tolist(), skip_special_tokens=False) == text
    assert not set(a.tolist()) & set(tokenizer.meta["special"].values())


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65535, "uint16"), (65536, "uint16"), (65537, "uint32")])
def test_the_narrowest_type_that_holds_the_last_id(tmp_path, vocab_size, dtype):
    """Bytes get the *last* ids, so any text needs the top of the range."""
    chars = [bytes_to_unicode()[b] for b in range(256)]
    vocab = (
        {"<|endoftext|>": 0}
        | {f"unused{i}": i for i in range(1, vocab_size - 256)}
        | {c: vocab_size - 256 + i for i, c in enumerate(chars)}
    )
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "added_tokens": [
            {
                "id": 0,
                "content": "<|endoftext|>",
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        ],
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [],
        },
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    from tokenizers import Tokenizer

    meta = describe(Tokenizer.from_file(str(path)), path, None)
    assert meta["vocab_size"] == vocab_size and dtype_for(vocab_size) == dtype
    step = ShardTokenizer(TokenizerFile(tmp_path, meta), Fraction(0))
    assert step.fast and step.dtype == dtype  # datatrove comes to the same width
    step.run(rows([bytes(range(256)).decode("latin-1"), "🦊"]), tmp_path / "out")
    tokens = np.fromfile(tmp_path / "out" / "train.ds", {"uint16": "<u2", "uint32": "<u4"}[dtype])
    text = bytes(range(256)).decode("latin-1").encode() + b"\0" + "🦊".encode()
    expected = [vocab_size - 256 + b for b in text]
    ends = np.fromfile(tmp_path / "out" / "train.ds.index", "<u8")
    expected[int(ends[0]) - 1] = 0
    assert tokens.tolist() == [*expected, 0] and len(ends) == 2


def test_an_id_outside_the_vocabulary_is_never_written(tmp_path, tokenizer):
    class Wrong(encoders.SlowEncoder):
        def encode(self, texts):
            return Encoded.of(np.array([tokenizer.meta["vocab_size"]], np.uint32) for _ in texts)

    with pytest.raises(ValueError, match="d0: .*outside its vocabulary"):
        ShardTokenizer(tokenizer, Fraction(0), Wrong(tokenizer.path)).run(rows(["x"]), tmp_path)


def test_a_fast_encoder_that_differs_is_found_out(tmp_path, tokenizer, capsys):
    fast = encoders.load_encoder(tokenizer.path)

    class Differs(encoders.FastEncoder):
        def __init__(self):
            self.slow = fast.slow

        def encode(self, texts):
            return Encoded.of(np.array([5], np.uint32) for _ in texts)

    step = ShardTokenizer(tokenizer, Fraction(0), Differs())
    step.run(rows(TEXTS), tmp_path / "a")
    assert "slower than `fastokens`: they differ on" in capsys.readouterr().err and not step.fast
    ShardTokenizer(tokenizer, Fraction(0), fast).run(rows(TEXTS), tmp_path / "b")
    assert (tmp_path / "a/train.ds").read_bytes() == (tmp_path / "b/train.ds").read_bytes()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 400_000), max_size=40))
def test_batches_are_bounded_and_lose_nothing(sizes):
    given_rows = [{"id": i, "text": "x" * n} for i, n in enumerate(sizes)]
    made = list(batches(iter(given_rows)))
    assert [row for batch in made for row in batch] == given_rows
    for batch in made:
        assert len(batch) <= BATCH_DOCUMENTS and sum(len(row["text"]) for row in batch[:-1]) < BATCH_BYTES


def test_held_out_is_a_share_by_hash_of_the_text():
    texts = [f"document {i}".encode() for i in range(4000)]
    tenth = {t for t in texts if held_out(t, Fraction(1, 10))}
    assert 320 <= len(tenth) <= 480 and tenth <= {t for t in texts if held_out(t, Fraction(1, 5))}
    assert not any(held_out(t, Fraction(0)) for t in texts) and all(held_out(t, Fraction(1)) for t in texts)


def test_nothing_written_for_nothing(tmp_path, tokenizer):
    assert ShardTokenizer(tokenizer, Fraction(1)).run(iter(()), tmp_path) == {} and not list(
        tmp_path.glob("*.ds*")
    )
    assert set(ShardTokenizer(tokenizer, Fraction(1)).run(iter(rows(["a"])), tmp_path)) == {"held_out"}
