"""`bpe` learns what `BpeTrainer` of `tokenizers` learns from the same texts, in every tie."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from codemix.data.encoding import word_counts
from codemix.data.tokenizers.bpe import PATTERN, Bpe

SPECIAL = [Bpe(vocab_size=300).end_token(), *Bpe(vocab_size=300).special]


def cut_by(pattern):
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior="isolated"), as_bytes])


def by_tokenizers(texts, vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = cut_by(word_counts.SHORT_PATTERN)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = cut_by(PATTERN)
    return tokenizer.to_str()


def by_codemix(texts, vocab_size):
    return Bpe(vocab_size=vocab_size).make((), lambda: iter(texts)).to_str()


SIZES = st.sampled_from([262, 265, 275, 300, 1000])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text("ab ", max_size=30), max_size=12), SIZES)
def test_ties_and_runs(texts, vocab_size):
    """Few letters: many pairs are equally frequent, and one token can be made of different pairs."""
    assert by_codemix(texts, vocab_size) == by_tokenizers(texts, vocab_size)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(), max_size=8), SIZES)
def test_any_text(texts, vocab_size):
    assert by_codemix(texts * 2, vocab_size) == by_tokenizers(texts * 2, vocab_size)


@pytest.mark.parametrize(
    "text",
    [
        "it'ſ it's \u1c89\u1c8a \ua7cb 'ſ",  # the long s; letters of Unicode 16
        "a" * 700 + "'s",
        "!" * 257 + "abc !abc",  # a run that is cut goes on with what follows it
        "x\n" + "\n" * 600 + " \n  y",
        "=" * 300 + "\n\n\n",
        "\t\t// x\t\t1",
        "\u3000\u3000東京 \u00a0é\u0301 ９५",
        "\x1c\x1d a\x85b\u180ec",
    ],
)
def test_odd_text(text):
    texts = [text, f"{text} {text}"]
    assert by_codemix(texts, 400) == by_tokenizers(texts, 400)


def test_every_code_point_is_cut_alike():
    """Beside letters, digits and whitespace, whatever the versions of Unicode."""
    unsure = word_counts.classed_differently()  # those are left to `tokenizers`
    points = [chr(point) for point in range(0x32000) if not (unsure[point] or 0xD800 <= point < 0xE000)]
    lines = [f"a{c}1{c}{c} {c}'{c}\n" for c in points]
    texts = ["".join(lines[start : start + 1000]) for start in range(0, len(lines), 1000)]
    cut = pre_tokenizers.Split(Regex(word_counts.SHORT_PATTERN), behavior="isolated")
    expected = Counter(word.encode() for text in texts for word, _ in cut.pre_tokenize_str(text))
    assert word_counts.count_words(texts) == expected


def test_texts_are_left_to_tokenizers_only_where_unicode_differs():
    unsure = word_counts.classed_differently()
    assert unsure[ord("\u017f")]
    assert not unsure[:0x17F].any()
    assert unsure[:0x3000].sum() < 1000
