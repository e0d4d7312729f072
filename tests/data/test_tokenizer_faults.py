"""No tokenizer loses, changes or draws text at random, or makes control tokens of it, whatever its kind."""

import json
import unicodedata
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.small_recipes import recipe, words, write_jsonl
from support.tokenizer_files import BYTE_LEVEL, BYTES, DECODER, added, split, written
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from codemix.data.build.build import build
from codemix.data.encoding import encoders
from codemix.data.encoding.tokenizer_faults import assigned_characters, refuse_unfaithful
from codemix.data.store.store import Store
from codemix.data.tokenizers.bpe import Bpe
from codemix.data.tokenizers.tiktoken import Tiktoken
from codemix.errors import CodemixError


def test_every_assigned_character_is_tried():
    every = map(chr, range(0x110000))
    assert assigned_characters() == "".join(
        c for c in every if unicodedata.category(c) not in ("Cn", "Cs", "Co")
    )


def replace(a, b, kind="String"):
    return {"type": "Replace", "pattern": {kind: a}, "content": b}


def spm_like(**model):
    """Llama's way: a blank before the text, blanks as U+2581, bytes where the vocabulary ends."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "\u2581", "t", "h", "th"]
    return written(
        {
            "type": "BPE",
            "vocab": {p: i for i, p in enumerate(pieces)},
            "merges": [["t", "h"]],
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
        }
        | model,
        added_tokens=[added(name, i) for i, name in enumerate(pieces[:2])],
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace(" ", "\u2581")],
        },
        pre_tokenizer=None,
        decoder={
            "type": "Sequence",
            "decoders": [
                replace("\u2581", " "),
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
    ) | {"added_tokens": [added(name, i) for i, name in enumerate(pieces[:3])]}


GOOD = {
    "plain": written(),
    "llama": spm_like(),
    "runs of blanks as added tokens, as GPT-NeoX has them": written(
        added_tokens=[added(" " * n, 260 + n, special=False) for n in range(2, 9)]
    ),
    "an added word": written(added_tokens=[added("thorn", 258, special=False)]),
    "dropout of nothing": written({"dropout": 0.0}),
    "gaps in the ids": written(added_tokens=[added("<pad>", 1_000)]),
    "padding and truncation": written(
        padding={
            "strategy": {"Fixed": 9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "!",
        },
        truncation={"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
    ),
    "matches kept, which cover everything": written(pre_tokenizer=split(r"\s+|\S+", "Removed", True)),
}
BAD = {
    "dropout": (written({"dropout": 0.1}), "drops merges at random"),
    "NFC": (written(normalizer={"type": "NFC"}), r"normalizer \(NFC\) changes text"),
    "lower case in a sequence": (
        written(normalizer={"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}),
        "Lowercase",
    ),
    "strips": (written(normalizer={"type": "Strip", "strip_left": True, "strip_right": False}), "Strip"),
    "runs of blanks folded": (written(normalizer=replace(" {2,}", " ", "Regex")), "Replace"),
    "a rare string replaced": (
        written(normalizer=replace("zyzzyva", "x")),
        "'azyzzyvab  ' comes back as 'axb  x",
    ),
    "one blank before the text": (
        written(pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True}),
        "does not give text back",
    ),
    "what it splits at is removed": (
        written(pre_tokenizer=split("zyzzyva", "Removed")),
        "removes what it splits at",
    ),
    "what does not match is removed": (
        written(pre_tokenizer=split(r"\w+|\s+", "Removed", True)),
        "does not give text back",
    ),
    "white space as a cut": (
        written(
            pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, BYTE_LEVEL]}
        ),
        "give text",
    ),
    "no decoder": (written(decoder=None), "does not give text back"),
    "a clean-up on the way back": (
        written(decoder={"type": "Sequence", "decoders": [DECODER, replace(" .", ".")]}),
        "does not give text back",
    ),
    "a missing byte": (
        written({"vocab": {{"ì": "zz"}.get(c, c): i for c, i in (BYTES | {"th": 256}).items()}}),
        "does not give text back",
    ),
    "an added word that byte-level decoding takes for bytes": (
        written(added_tokens=[added("naïve", 258, special=False)]),
        "does not give text back",
    ),
    "an added token that eats blanks": (
        written(added_tokens=[added("thorn", 258, special=False, lstrip=True)]),
        "does not give text back",
    ),
    "a marker that is not special": (
        written(added_tokens=[added("<tool_call>", 258, special=False)]),
        "spells '<tool_call>'",
    ),
    "two markers": (
        written(added_tokens=[added(n, i, special=False) for i, n in ((258, "[MASK]"), (259, "|||IP|||"))]),
        r"'\[MASK\]', '|||IP|||'",
    ),
    "a merge makes the end token": (
        written({"vocab": BYTES | {"</": 256}, "merges": [["<", "/"]]}, [added("</", 256)]),
        "special token '</'",
    ),
    "a single byte is special": (written(added_tokens=[added("q", BYTES["q"])]), "special token 'q'"),
    "a blank, as byte-level spells it": (written(added_tokens=[added("Ġ", BYTES["Ġ"])]), "special token 'Ġ'"),
    "whole pieces are found": (
        written({"vocab": BYTES | {"th": 256, "Ġhello": 258}, "ignore_merges": True}, [added("Ġhello", 258)]),
        "Ġhello",
    ),
    "two entries with one id": (
        written({"vocab": BYTES | {"th": 256, "zz": 256}}),
        "have the id 256: 'th' and 'zz'",
    ),
    "an absurd id": (
        written({"vocab": BYTES | {"th": 256, "zz": 4_000_000_000}}),
        "'zz' has the id 4,000,000,000",
    ),
    "a large gap": (
        written({"vocab": BYTES | {"th": 256, "zz": 400_000}}),
        "has the id 400,000, in a vocabulary of 259 entries",
    ),
    "backtracking": (
        written(pre_tokenizer=split("(x+)+$")),
        "fails on some texts: .*backtracks without bound|fails on some texts",
    ),
    "growth": (
        written(normalizer=replace("a", "b" * 2_000)),
        "normalizer can make a text 2,000 times longer",
    ),
    "growth by steps": (
        written(
            normalizer={
                "type": "Sequence",
                "normalizers": [replace(a, b * 2) for a, b in zip("abcdefgh", "bcdefghi", strict=True)],
            }
        ),
        "256 times",
    ),
    "growth on the way back": (
        written(decoder={"type": "Sequence", "decoders": [DECODER, replace("a", "b" * 99)]}),
        "decoder can make",
    ),
    "llama, without byte fallback": (spm_like(byte_fallback=False), "does not give text back"),
    "llama, with a merge that spells its end token": (
        spm_like(
            vocab={
                p: i
                for i, p in enumerate(
                    [
                        "<unk>",
                        "<s>",
                        "</s>",
                        *(f"<0x{b:02X}>" for b in range(256)),
                        "\u2581",
                        "<",
                        "/",
                        "s",
                        ">",
                        "</",
                        "s>",
                    ]
                )
            },
            merges=[["<", "/"], ["s", ">"], ["</", "s>"]],
        ),
        "special token '</s>'",
    ),
    "words": (
        written(
            {"type": "WordLevel", "vocab": {"[UNK]": 0, "</s>": 1}, "unk_token": "[UNK]", "merges": None}
        ),
        "does not give text back",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_gives_every_text_back_is_taken(name):
    refuse_unfaithful(Tokenizer.from_str(json.dumps(GOOD[name])), "t.json")


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_is_refused(name, capfd):
    content, said = BAD[name]
    if content["model"]["type"] != "BPE":
        content["model"].pop("merges")
        content["model"].pop("dropout")
    with pytest.raises(CodemixError, match=said) as error:
        refuse_unfaithful(Tokenizer.from_str(json.dumps(content)), "t.json")
    assert all(
        problem.what.startswith("t.json: ") and problem.hints and problem.rule == "bad-tokenizer"
        for problem in error.value.problems
    )
    assert "panicked" not in capfd.readouterr().err


def test_other_models_lose_text():
    wordpiece = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "</s>": 2}, unk_token="[UNK]"))
    wordpiece.normalizer, wordpiece.pre_tokenizer = (
        normalizers.BertNormalizer(),
        pre_tokenizers.BertPreTokenizer(),
    )
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), ("\u2581", -1.0), ("a", -2.0)], 0))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    for tokenizer in (wordpiece, unigram):
        tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
        with pytest.raises(CodemixError, match="does not give text back"):
            refuse_unfaithful(tokenizer, "t.json")


@pytest.mark.parametrize(
    "name", ["a", "ab", "hello", "Ġ", "Ġthe", "Ġ!", "", "#x", ">>", "x's", "<|endoftext|>", "<|fim_prefix|>"]
)
def test_special_names_that_text_can_spell_are_refused_with_the_recipe(name):
    for make in (
        lambda: Bpe(vocab_size=600, special=("<|fim_prefix|>", name)),
        lambda: Tiktoken(path="r", special=("<|fim_prefix|>", name)),
    ):
        with pytest.raises(ValidationError, match="could produce the special token|is named twice"):
            make()


@pytest.mark.parametrize("name", ["<|x|>", "[PAD]", "<pad>", "</s>", "日本", "<|日本|>", "<a'b>"])
def test_special_names_that_are_cut_are_taken(name):
    text = f"{name} {name}{name}x{name} {name.strip('<>[]|')} " * 50
    refuse_unfaithful(Bpe(vocab_size=600, special=(name,)).make((), lambda: iter([text])), "bpe")


def test_a_ready_tokenizer_is_refused_before_any_document_is_read(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [words(1, 50)])
    (tmp_path / "t.json").write_text(json.dumps(BAD["dropout"][0]))
    made = recipe({"a": "a.jsonl"}, tokenizer={"kind": "tokenizer_json", "path": "t.json"})
    with pytest.raises(CodemixError, match=r"t\.json: it drops merges"):
        build(made, Store(tmp_path / "store"), data_root=tmp_path)
    assert not (tmp_path / "store" / "documents").exists()


def saved(tmp_path, content) -> Path:
    (tmp_path / "t.json").write_text(json.dumps(content))
    return tmp_path / "t.json"


@pytest.mark.parametrize("blank", [" ", "\t", "\u3000"])
def test_a_million_blanks_are_encoded(tmp_path, blank):
    path = saved(tmp_path, written())
    fast, slow = encoders.load_encoder(path), encoders.SlowEncoder(path)
    assert fast.fast
    text = "title" + blank * 1_000_000 + "| end of a fixed-width dump\n"
    assert fast.encode([text, "th"]).parts()[0].tolist() == slow.encode([text]).ids.tolist()


def test_a_text_that_no_regular_expression_gets_through_is_named(tmp_path):
    encoder = encoders.SlowEncoder(saved(tmp_path, written(pre_tokenizer=split("(x+)+$"))))
    with pytest.raises(CodemixError, match=r"cannot encode a text of 41 characters that begins 'xxxx"):
        encoder.encode(["fine", "x" * 40 + "y", "fine"])
