"""Tokenizer kinds: trained, and read from the usual files; the EOS is never text's to make."""

import base64
import json
import random
import time

import pytest
import tiktoken
from support.small_recipes import words

from codemix.data.encoding import encoders, word_counts
from codemix.data.encoding import tokenizer as tokenizer_module
from codemix.data.encoding.merges import bytes_to_unicode, last_merge
from codemix.data.encoding.tokenizer import TokenizerFile, content_hash, describe
from codemix.data.encoding.tokenizer_faults import refuse_unfaithful
from codemix.data.store import digests
from codemix.data.store.store import write_json
from codemix.data.tokenizers import bpe
from codemix.data.tokenizers.bpe import PATTERN, Bpe
from codemix.data.tokenizers.tiktoken import PATTERNS, Tiktoken
from codemix.data.tokenizers.tokenizer_json import TokenizerJson
from codemix.errors import CodemixError

TEXTS = [words(i, 300) for i in range(20)]


@pytest.fixture(scope="module")
def trained():
    return Bpe(vocab_size=600).make((), lambda: iter(TEXTS))


def test_training_is_deterministic_and_as_large_as_asked(trained):
    assert trained.get_vocab_size() == len(set(trained.get_vocab())) <= 600
    assert trained.to_str() == Bpe(vocab_size=600).make((), lambda: iter(TEXTS)).to_str()


def test_digits_stand_apart_and_every_text_survives(trained):
    assert [t for t in trained.encode("x=2024;", add_special_tokens=False).tokens][-5:] == [
        "2",
        "0",
        "2",
        "4",
        ";",
    ]
    for text in ("def f():\n\treturn 'é東🦊'\r\n", "  a   b\n\n\n", "\x00\ufeff", "I'LL don't"):
        assert (
            trained.decode(trained.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
            == text
        )


def test_special_tokens_are_never_made_from_text(trained, tmp_path):
    trained.save(str(tmp_path / "t.json"))
    meta = describe(trained, tmp_path / "t.json", "<|endoftext|>")
    assert (
        meta["eos_id"] == 0
        and set(meta["special"]) == {"<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"}
        and meta["bos"] is None
    )
    for text in meta["special"]:
        for encoder in (
            encoders.load_encoder(tmp_path / "t.json"),
            encoders.SlowEncoder(tmp_path / "t.json"),
        ):
            assert not set(encoder.encode([text]).ids.tolist()) & set(meta["special"].values())
    assert dict(map(tuple, [(t, tuple(i)) for t, i in meta["probe"]]))["<|endoftext|>"][0] != 0


def test_training_cuts_only_long_pieces_and_encoding_cuts_none(trained, monkeypatch):
    dna = "".join(random.Random(0).choice("ACGT") for _ in range(50_000))
    began = time.process_time()
    made = Bpe(vocab_size=1000).make((), lambda: iter([dna, " " * 50_000, "=" * 50_000]))
    assert (
        time.process_time() - began < 2
    )  # of CPU; uncut, one piece of 50,000 letters alone took five times as long as all this
    assert bpe.PATTERN in json.loads(made.to_str())["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    assert made.decode(made.encode(dna).ids) == dna
    monkeypatch.setattr(word_counts, "SHORT_PATTERN", bpe.PATTERN)
    assert trained.to_str() == Bpe(vocab_size=600).make((), lambda: iter(TEXTS)).to_str()


def test_the_hash_is_of_content_not_layout(trained, tmp_path):
    trained.save(str(tmp_path / "pretty.json"), pretty=True)
    trained.save(str(tmp_path / "flat.json"), pretty=False)
    assert (tmp_path / "pretty.json").read_bytes() != (tmp_path / "flat.json").read_bytes()
    assert content_hash(tmp_path / "pretty.json") == content_hash(tmp_path / "flat.json")
    content = json.loads((tmp_path / "flat.json").read_text())
    content["model"]["merges"] = content["model"]["merges"][:-1]
    (tmp_path / "less.json").write_text(json.dumps(content))
    assert content_hash(tmp_path / "less.json") != content_hash(tmp_path / "flat.json")


def test_a_stored_tokenizer_that_was_changed_is_refused(trained, tmp_path):
    trained.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "meta.json").write_text(json.dumps(describe(trained, tmp_path / "tokenizer.json", None)))
    assert TokenizerFile.load(tmp_path).meta["eos_token"] == "<|endoftext|>"
    text = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace('"<|fim_prefix|>"', '"<|FIM_prefix|>"'))
    with pytest.raises(CodemixError, match="content hash differs"):
        TokenizerFile.load(tmp_path)


def test_the_content_of_a_finished_tokenizer_is_looked_at_only_where_its_file_differs(
    tmp_path, trained, monkeypatch
):
    path = tmp_path / "tokenizer.json"
    trained.save(str(path))
    write_json(tmp_path / "meta.json", describe(trained, path, None))
    (tmp_path / digests.NAME).write_text(digests.listing(tmp_path, {}))
    with monkeypatch.context() as patch:
        patch.setattr(tokenizer_module, "_content_hashes", {})
        patch.setattr(tokenizer_module, "digest", lambda _: pytest.fail("looked at"))
        TokenizerFile.load(tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content, indent=3))
    TokenizerFile.load(tmp_path)
    content["added_tokens"][0]["special"] = False
    path.write_text(json.dumps(content))
    with pytest.raises(CodemixError, match="not the file that was stored"):
        TokenizerFile.load(tmp_path)


def test_a_tokenizer_json_of_any_origin(trained, tmp_path):
    trained.save(str(tmp_path / "t.json"))
    made = TokenizerJson(path="t.json").make((tmp_path / "t.json",), lambda: iter(()))
    assert made.encode(TEXTS[0]).ids == trained.encode(TEXTS[0]).ids
    with pytest.raises(CodemixError, match=r"no end-of-document token '<eos>'") as error:
        describe(made, tmp_path / "t.json", "<eos>")
    assert "<|endoftext|>" in str(error.value)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(CodemixError, match=r"bad\.json is not a tokenizer\.json"):
        TokenizerJson(path="bad.json").make((tmp_path / "bad.json",), lambda: iter(()))


def test_an_eos_that_text_can_spell_is_refused(tmp_path):
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"<eos>": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.save(str(tmp_path / "t.json"))
    with pytest.raises(CodemixError, match="text can produce the end-of-document token"):
        describe(tokenizer, tmp_path / "t.json", "<eos>")


def ranks_file(path, trained):
    content = json.loads(trained.to_str())
    byte_of = {c: b for b, c in bytes_to_unicode().items()}
    ranks = {bytes([b]): b for b in range(256)}
    for left, right in content["model"]["merges"]:
        ranks[bytes(byte_of[c] for c in left + right)] = len(ranks)
    path.write_bytes(
        b"".join(base64.b64encode(token) + f" {rank}\n".encode() for token, rank in ranks.items())
    )
    return ranks


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_tiktoken_ranks_become_a_tokenizer_with_the_same_ids(trained, tmp_path, pattern):
    ranks = ranks_file(tmp_path / "r.tiktoken", trained)
    component = Tiktoken(path="r.tiktoken", pattern=pattern)
    made = component.make((tmp_path / "r.tiktoken",), lambda: iter(()))
    made.encode_special_tokens = True
    original = tiktoken.Encoding("x", pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens={})
    for text in [*TEXTS[:5], "I'll go 12345 times\n\n  x<|endoftext|>", "naïve 東京 🦊 \u0301"]:
        assert made.encode(text, add_special_tokens=False).ids == original.encode_ordinary(text)
    made.save(str(tmp_path / "t.json"))
    meta = describe(made, tmp_path / "t.json", component.end_token())
    assert meta["eos_id"] == len(ranks) and encoders.load_encoder(tmp_path / "t.json").fast


@pytest.mark.parametrize("content", [b"not base64 at all\n", b"YQ== 0\n", b"\xff\xfe 3\n"])
def test_files_that_are_not_ranks(tmp_path, content):
    (tmp_path / "r.tiktoken").write_bytes(content)
    with pytest.raises(CodemixError, match=r"r\.tiktoken"):
        Tiktoken(path="r.tiktoken").make((tmp_path / "r.tiktoken",), lambda: iter(()))


def test_last_merges_are_the_merges_that_were_trained(trained, tmp_path):
    content = json.loads(trained.to_str())
    ranks = ranks_file(tmp_path / "r.tiktoken", trained)
    byte_of = {c: b for b, c in bytes_to_unicode().items()}
    for left, right in content["model"]["merges"]:
        a, b = (bytes(byte_of[c] for c in part) for part in (left, right))
        assert last_merge(a + b, ranks) == [a, b]


def test_patterns_cover_every_text():
    import regex

    for pattern in (PATTERN, *PATTERNS.values()):
        for text in (TEXTS[0], "I'll 12 \n\n x\t\t", "é\u0301東 🦊\u00a0\r\n ", "\x00'"):
            assert "".join(regex.findall(pattern, text)) == text


SPM = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "vocab_size": 400,
    "hard_vocab_limit": False,
}


def spm(folder, **how):
    """A tiny SentencePiece model, trained here."""
    sentencepiece = pytest.importorskip(
        "sentencepiece", reason="the package sentencepiece is an optional extra"
    )
    (folder / "text").write_text(
        "\n".join(line for text in TEXTS for line in (text, "    if x:", "\treturn 1"))
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"), model_prefix=str(folder / "m"), minloglevel=2, **SPM | how
    )
    return folder / "m.model", sentencepiece.SentencePieceProcessor(model_file=str(folder / "m.model"))


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_gives_the_same_ids_and_the_text_back(tmp_path, prefix):
    from codemix.data.tokenizers.sentencepiece import SentencePiece

    path, theirs = spm(
        tmp_path, add_dummy_prefix=prefix, control_symbols=["<pad>"], user_defined_symbols=["<fn>", "foo"]
    )
    kind = SentencePiece(path="m.model")
    made = kind.make((path,), lambda: pytest.fail("nothing to train"))
    made.save(str(tmp_path / "t.json"))
    meta = describe(made, tmp_path / "t.json", kind.end_token())
    assert (meta["eos_token"], meta["eos_id"], meta["vocab_size"]) == (
        "</s>",
        theirs.eos_id(),
        theirs.vocab_size(),
    )
    encoder = encoders.load_encoder(tmp_path / "t.json")
    assert not encoder.fast and encoder.notice  # one would make markers of text, or there are added words
    for text in (*TEXTS, "  a   b\n\n\n", "\x00\ufeff", "東京 🦊\u200d", " ", "</s><s><pad><0x0A><unk>"):
        ids = encoder.encode([text]).ids
        assert ids.tolist() == theirs.encode(text) and ids.max() < meta["vocab_size"]
        assert made.decode(ids.tolist(), skip_special_tokens=False) == text == theirs.decode(ids.tolist())
        assert meta["eos_id"] not in ids
    ids = encoder.encode(["x <fn> y"]).ids  # a marker stays text, and comes back
    assert (
        theirs.piece_to_id("<fn>") not in ids
        and made.decode(ids.tolist(), skip_special_tokens=False) == "x <fn> y"
    )
    ids = encoder.encode(
        ["x foo y"]
    ).ids  # a user-defined word comes from text where each cut would not get a blank
    assert (theirs.piece_to_id("foo") in ids) is not prefix and made.decode(
        ids.tolist(), skip_special_tokens=False
    ) == "x foo y"
    refuse_unfaithful(made, "m.model")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"model_type": "unigram"}, "its type is unigram"),
        ({"byte_fallback": False}, "without byte fallback"),
        ({"normalization_rule_name": "nmt_nfkc"}, "it normalizes text \\(nmt_nfkc\\)"),
        ({"remove_extra_whitespaces": True}, "the indentation of code"),
        ({"treat_whitespace_as_suffix": True}, "marks spaces differently"),
    ],
)
def test_sentencepiece_models_that_lose_text_are_refused(tmp_path, how, said):
    from codemix.data.tokenizers.sentencepiece import SentencePiece

    path, _ = spm(tmp_path, **how)
    with pytest.raises(CodemixError, match=f"m.model cannot give text back: .*{said}") as error:
        SentencePiece(path="m.model").make((path,), None)
    assert "--byte_fallback=true" in str(error.value)


def test_sentencepiece_files_that_are_none(tmp_path, monkeypatch):
    import sys

    from codemix.data.tokenizers.sentencepiece import SentencePiece

    (tmp_path / "x.model").write_text("not a model")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(CodemixError, match="a package that is not installed") as error:
        SentencePiece(path="x.model").make((tmp_path / "x.model",), None)
    assert "codemix[sentencepiece]" in str(error.value)
    monkeypatch.undo()
    pytest.importorskip("sentencepiece", reason="the package sentencepiece is an optional extra")
    for content in (b"", b"not a model", b"\x0a\x03abc"):
        (tmp_path / "x.model").write_bytes(content)
        with pytest.raises(CodemixError, match="x.model is not a SentencePiece model"):
            SentencePiece(path="x.model").make((tmp_path / "x.model",), None)
