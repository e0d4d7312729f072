"""Tokens of texts in two parts, and of what is written behind a prompt, under every kind of tokenizer."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.task_rows import ROWS, task

from codemix.data.tokenizers.bpe import Bpe
from codemix.data.tokenizers.sentencepiece import SentencePiece
from codemix.data.tokenizers.tiktoken import Tiktoken
from codemix.eval.engine.text import Text, boundary
from codemix.eval.task_shapes.choice import Choice

PIECES = [
    "a",
    "Answer",
    ":",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "    return",
    " yes",
    "é",
    "東京",
    "🦊",
    "don't",
    "1",
    "}",
    "</s>",
    "<|endoftext|>",
]


def pairs_of(kind):
    """What the task asks of its example in test_tasks."""
    row, one = ROWS[kind][0], task(kind)
    return list(one.question(row).pairs) if isinstance(one, Choice) else [(one.prompt(row), one.gold(row))]


def training_text():
    return ["".join(pair) for kind in ROWS for pair in pairs_of(kind)] * 20


def trained_bpe(folder):
    return Bpe(vocab_size=500).make((), training_text), "<|endoftext|>"


def uncut_bpe(folder):
    """Merges reach over blanks, line ends and words, so that tokens lie across every join."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        decoders.ByteLevel(),
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([*training_text(), *["é東🦊 \n"] * 30], trainer)
    return made, "<|endoftext|>"


def trimming_bpe(folder):
    """As many published ones: its post-processor takes blanks out of the places of tokens."""
    from tokenizers import processors

    made, eos = trained_bpe(folder)
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    return made, eos


def ranks(folder):
    made, eos = trained_bpe(folder)
    from codemix.data.encoding.merges import bytes_to_unicode

    byte_of = {c: b for b, c in bytes_to_unicode().items()}
    tokens = sorted(
        (i, bytes(byte_of[c] for c in t))
        for t, i in made.get_vocab(with_added_tokens=False).items()
        if set(t) <= set(byte_of)
    )
    lone = [token for _, token in tokens if len(token) == 1] + [
        token for _, token in tokens if len(token) > 1
    ]
    path = folder / "some.tiktoken"
    path.write_bytes(
        b"".join(
            base64.b64encode(token) + f" {rank}\n".encode() for rank, token in enumerate(dict.fromkeys(lone))
        )
    )
    return Tiktoken(path="some.tiktoken").make((path,), None), eos


def sentencepiece_model(folder, prefix):
    trainer = pytest.importorskip(
        "sentencepiece", reason="sentencepiece is not installed"
    ).SentencePieceTrainer
    (folder / "corpus.txt").write_text("\n".join(training_text()))
    trainer.train(
        input=str(folder / "corpus.txt"),
        model_prefix=str(folder / "sp"),
        vocab_size=500,
        model_type="bpe",
        byte_fallback=True,
        bos_id=1,
        eos_id=2,
        unk_id=0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=prefix,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    return SentencePiece(path="sp.model").make((folder / "sp.model",), None), "</s>"


KINDS = {
    "bpe": trained_bpe,
    "uncut": uncut_bpe,
    "trimming": trimming_bpe,
    "tiktoken": ranks,
    "llama": lambda folder: sentencepiece_model(folder, True),
    "sentencepiece": lambda folder: sentencepiece_model(folder, False),
}


@pytest.fixture(scope="module", params=sorted(KINDS))
def text(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer, eos = KINDS[request.param](folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return Text(folder / "tokenizer.json", tokenizer.token_to_id(eos))


def check(text, pairs):
    """Nothing is lost, all of the continuation is scored, and its bytes are those of what is scored."""
    for (context, continuation), cut in zip(pairs, text.cut(pairs), strict=True):
        whole = context + continuation
        given_ids = [] if cut.given == [text.eos_id] else cut.given
        assert text.decode([*given_ids, *cut.scored]) == whole
        given = text.decode(given_ids)
        assert context.startswith(given) and cut.n_bytes == len(whole.encode()) - len(given.encode())
        assert bool(cut.scored) == bool(continuation)


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_what_is_scored_is_what_the_task_asks(text, kind):
    check(text, pairs_of(kind))


# U+2581 is what SentencePiece writes for a blank: it comes back as one
texts = st.lists(
    st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=8
).map("".join)


@settings(max_examples=60, deadline=None)
@given(texts, st.lists(texts.filter(bool), min_size=1, max_size=3))
def test_no_text_is_lost_at_a_join(text, context, continuations):
    pairs = [(context, continuation) for continuation in continuations]
    check(text, pairs)
    sizes = {
        cut.n_bytes - len(continuation.encode())
        for cut, continuation in zip(text.cut(pairs), continuations, strict=True)
    }
    assert len(sizes) == 1  # what is scored begins at one place, whichever choice is scored


@settings(max_examples=60, deadline=None)
@given(texts, texts)
def test_what_stands_behind_a_prompt_is_decoded_as_written(text, prompt, written):
    ids = text.encode(prompt)
    behind = text.encode(prompt + written)
    if prompt and behind[: len(ids)] == ids:  # the prompt's own tokens go on
        assert text.decode_after(behind[len(ids) :]) == written
    assert text.decode(text.encode(written)) == written
    assert text.decode_after([text.eos_id]) == ""


def test_a_dummy_prefix_is_taken_off_a_text_and_off_nothing_behind_a_prompt(tmp_path):
    tokenizer, eos = sentencepiece_model(tmp_path, True)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = Text(tmp_path / "tokenizer.json", tokenizer.token_to_id(eos))
    prompt, body = "def f(x):\n", "    return x\n"
    whole = text.encode(prompt + body)
    written = whole[len(text.encode(prompt)) :]
    assert text.decode_after(written) == body and text.decode(written) == body[1:]
    broken = text.encode("a🦊")[-2:]  # bytes that are no character, behind others that are one
    assert text.decode_after(broken) == "\ufffd\ufffd"


def test_a_boundary_lies_inside_no_token():
    assert boundary([(0, 2), (2, 5), (5, 6)], 5) == 5
    assert boundary([(0, 2), (2, 5), (5, 6)], 4) == 2
    assert boundary([(0, 2), (2, 5), (5, 6), (0, 1), (1, 3), (3, 6)], 5) == 0  # 5, then 3, 2, 1, 0
    assert (
        boundary([(0, 1), (0, 1), (0, 2)], 1) == 0
    )  # a token of the last byte of one character and the first of another
    assert boundary([], 0) == 0
