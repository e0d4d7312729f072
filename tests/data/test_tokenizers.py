"""Tokenizer kinds: trained, and read from the usual files; the EOS is never text's to make."""

import base64
import json

import pytest
import tiktoken
from made_recipes import words

from codemix.data import encoders
from codemix.data.merges import bytes_to_unicode, last_merge
from codemix.data.tokenizer import TokenizerFile, content_hash, describe
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
    assert [t for t in trained.encode("x=2024;", add_special_tokens=False).tokens][-5:] == ["2", "0", "2", "4", ";"]
    for text in ("def f():\n\treturn 'é東🦊'\r\n", "  a   b\n\n\n", "\x00\ufeff", "I'LL don't"):
        assert trained.decode(trained.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


def test_special_tokens_are_never_made_from_text(trained, tmp_path):
    trained.save(str(tmp_path / "t.json"))
    meta = describe(trained, tmp_path / "t.json", "<|endoftext|>")
    assert (
        meta["eos_id"] == 0
        and set(meta["special"]) == {"<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"}
        and meta["bos"] is None
    )
    for text in meta["special"]:
        for encoder in (encoders.load_encoder(tmp_path / "t.json"), encoders.SlowEncoder(tmp_path / "t.json")):
            assert not set(encoder.encode([text])[0].tolist()) & set(meta["special"].values())
    assert dict(map(tuple, [(t, tuple(i)) for t, i in meta["probe"]]))["<|endoftext|>"][0] != 0


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
    path.write_bytes(b"".join(base64.b64encode(token) + f" {rank}\n".encode() for token, rank in ranks.items()))
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


def test_last_merges_are_the_merges_that_were_trained(trained):
    content = json.loads(trained.to_str())
    ranks, _ = encoders.ranks_of(content)
    byte_of = {c: b for b, c in bytes_to_unicode().items()}
    for left, right in content["model"]["merges"]:
        a, b = (bytes(byte_of[c] for c in part) for part in (left, right))
        assert last_merge(a + b, ranks) == [a, b]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"normalizer": {"type": "NFC"}}, "normalizes"), ({"pre_tokenizer": {"type": "Whitespace"}}, "byte-level"),
        ({"model": {"type": "Unigram"}}, "not plain BPE"), ({"added_tokens": [{"content": "zz", "special": False}]}, "added tokens"),
        ({"pre_tokenizer": None}, "byte-level"),
    ],
)  # fmt: skip
def test_what_tiktoken_cannot_stand_in_for(trained, change, why):
    content = json.loads(trained.to_str()) | change
    with pytest.raises(encoders.NotTheSame, match=why):
        encoders.cutting_pattern(content)
        encoders.ranks_of(content)


def test_merges_whose_bytes_merge_another_way_are_found(trained):
    """`abc` made of (ab, c), but `bc` ranks first: tiktoken would make abc of (a, bc), the tokenizer.json would not."""
    content = json.loads(trained.to_str())
    content["model"] = {
        "type": "BPE",
        "vocab": {c: i for i, c in enumerate(bytes_to_unicode().values())} | {"bc": 256, "ab": 257, "abc": 258},
        "merges": [["b", "c"], ["a", "b"], ["ab", "c"]],
    }
    with pytest.raises(encoders.NotTheSame, match="another order"):
        encoders.ranks_of(content)


def test_patterns_cover_every_text():
    import regex

    for pattern in (PATTERN, *PATTERNS.values()):
        for text in (TEXTS[0], "I'll 12 \n\n x\t\t", "é\u0301東 🦊\u00a0\r\n ", "\x00'"):
            assert "".join(regex.findall(pattern, text)) == text
