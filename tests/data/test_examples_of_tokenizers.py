"""The examples of tokenizers, trained or read on a few lines: a text comes back whole, and the EOS is known."""

import base64
import json

import pytest
from support.small_recipes import words
from support.tokenizer_files import written

from codemix.data.encoding import encoders
from codemix.data.encoding.tokenizer import describe
from codemix.recipe.language.component import component_class, kinds

TEXTS = [words(i, 100) for i in range(20)]


def write_tokenizer_json(path):
    path.write_text(json.dumps(written()), encoding="utf-8")


def write_tiktoken(path):
    lines = (base64.b64encode(bytes([byte])) + f" {byte}\n".encode() for byte in range(256))
    path.write_bytes(b"".join(lines))


def write_sentencepiece(path):
    trainer = pytest.importorskip("sentencepiece", reason='needs pip install "codemix[sentencepiece]"')
    trainer.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(path.with_suffix("")),
        minloglevel=2,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        vocab_size=400,
        hard_vocab_limit=False,
    )


WRITE = {
    "sentencepiece": write_sentencepiece,
    "tiktoken": write_tiktoken,
    "tokenizer_json": write_tokenizer_json,
}
END = {  # what ends a document, of each example
    "bpe": ["<|endoftext|>"] * 2,
    "sentencepiece": ["</s>"] * 2,
    "tiktoken": ["<|endoftext|>"] * 2,
    "tokenizer_json": ["</s>"] * 2,
}


@pytest.mark.parametrize("kind", kinds("tokenizer"))
def test_examples_of_tokenizers(kind, tmp_path):
    cls = component_class("tokenizer", kind)
    for example, end in zip(cls.EXAMPLES, END[kind], strict=True):
        component = cls.model_validate(example)
        files = [tmp_path / name for name in component.files()]
        for path in files:
            path.parent.mkdir(exist_ok=True)
            WRITE[kind](path)
        made = component.make(tuple(files), lambda: iter(TEXTS))
        made.save(str(tmp_path / "made.json"))
        assert describe(made, tmp_path / "made.json", component.end_token())["eos_token"] == end
        encoder = encoders.load_encoder(tmp_path / "made.json")
        for text in (TEXTS[0], "x = {1}\n\t# naïve 東京 🦊"):
            ids = encoder.encode([text]).ids
            assert made.decode(list(ids), skip_special_tokens=False) == text
