"""The prose ops give the verdicts and reasons of datatrove's filters on the same words, and exact counts."""

import random
import re
from collections import Counter

import pytest
from datatrove.data import Document as Theirs
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters.gopher_repetition_filter import find_all_duplicate, find_duplicates
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codemix.data.datatrove_adapter.words import Words
from codemix.data.document import Document, Drop
from codemix.data.ops.fineweb_quality import FinewebQuality
from codemix.data.ops.gopher_quality import GopherQuality
from codemix.data.ops.gopher_repetition import GopherRepetition
from codemix.data.text.lines import lines_between, paragraphs, repeated_parts
from codemix.data.text.prose import Excess, prose_texts
from codemix.data.text.words import has_words, pieces, prose_words

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")


class Pieces(Words):
    def word_tokenize(self, text):
        return pieces(text)


class ProseWords(Words):
    def word_tokenize(self, text):
        return prose_words(text)


ORACLES = {"whitespace": Pieces(), "datatrove": ProseWords()}


def expected(block, text):
    verdict = block.filter(Theirs(text=text, id="x"))
    return "kept" if verdict is True else verdict[1]


def verdict(op, text):
    made = op.apply(Document("x", text))
    if not isinstance(made, Drop):
        return "kept"
    check_measured(op, made)
    return made.reason


def bound_of(op, limit):
    value = op.model_dump(mode="json")
    for part in limit.split("."):
        value = value[part]
    return value


def check_measured(op, drop):
    """What is measured is on the wrong side of the limit that is named; a text without words has neither."""
    if drop.reason == "no_words":
        return
    found = float(drop.measured.split()[0].replace(",", ""))
    bound = bound_of(op, drop.limit)
    assert found <= bound if drop.limit.startswith("min_") else found >= bound * 0.99999, drop


def pairs(counted_by, scale):
    """Our ops and datatrove's filters with the same thresholds, the usual ones times `scale`."""
    words = ORACLES[counted_by]
    top = {n: f * scale for n, f in {2: 0.2, 3: 0.18, 4: 0.16}.items()}
    again = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    again = {n: f * scale for n, f in again.items()}
    yield (
        GopherRepetition(
            words=counted_by,
            max_frac_dup_lines=0.5 * scale,
            max_frac_top_n_gram=top,
            max_frac_dup_n_grams=again,
        ),
        GopherRepetitionFilter(
            dup_line_frac=0.5 * scale,
            top_n_grams=tuple(top.items()),
            dup_n_grams=tuple(again.items()),
            language=words,
        ),
    )
    yield (
        GopherQuality(words=counted_by, min_words=3, min_stop_words=1, max_mean_word_chars=6),
        GopherQualityFilter(min_doc_words=3, min_stop_words=1, max_avg_word_length=6, language=words),
    )
    yield (
        GopherQuality(words=counted_by, min_words=None, min_mean_word_chars=None, min_frac_alpha_words=0.3),
        GopherQualityFilter(None, min_avg_word_length=None, max_non_alpha_words_ratio=0.3, language=words),
    )
    yield (
        FinewebQuality(words=counted_by, max_frac_chars_in_dup_lines=0.3 * scale, short_line_chars=8),
        FineWebQualityFilter(char_duplicates_ratio=0.3 * scale, short_line_length=8, language=words),
    )


WORD = st.sampled_from(
    [
        "a",
        "ab",
        "b",
        "bc",
        "the",
        "of",
        "and",
        "ba",
        "boat",
        "x.",
        "...",
        "#",
        "•",
        "-",
        "isn't",
        "é",
        "…",
        "東京",
    ]
)
BLANK = st.sampled_from(
    [" "] * 12 + ["\n", "\n\n", "\n\n\n", "\t", "\x1f", "\u3000", "\u200b", "\n- ", ".\n"]
)
TEXTS = st.lists(st.tuples(WORD, BLANK), max_size=120).map(lambda parts: "".join(map("".join, parts)))


@settings(max_examples=300, deadline=None)
@given(TEXTS | st.text(max_size=80), st.sampled_from(sorted(ORACLES)), st.sampled_from([0.2, 1.0, 2.0]))
@example("a bc d e f g h " * 3 + "ab c d e f g h", "whitespace", 1.0)
@example(" " * 1200 + "the", "whitespace", 1.0)
@example("\n" * 5 + "one two\n\n\n\none two\n", "whitespace", 1.0)
def test_verdicts_are_datatroves(text, counted_by, scale):
    for op, block in pairs(counted_by, scale):
        if has_words(text):
            assert verdict(op, text) == expected(block, text)
        else:
            assert verdict(op, text) == "no_words"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(TEXTS | st.text(max_size=80) | st.sampled_from(["\u200b", "東京 " * 9, ""]), max_size=12),
    st.sampled_from(sorted(ORACLES)),
    st.sampled_from([0.2, 1.0]),
)
def test_a_verdict_does_not_depend_on_the_documents_beside_it(texts, counted_by, scale):
    docs = [Document("x", text) for text in texts]
    for op, _ in pairs(counted_by, scale):
        alone = [op.apply(doc) for doc in docs]
        together = op.start_batch(None)(docs)
        assert [repr(each) for each in together] == [repr(each) for each in alone]


@pytest.mark.parametrize(
    "op",
    [
        GopherQuality(min_words=None),
        FinewebQuality(max_frac_short_lines=1, min_frac_lines_punctuated=0),
    ],
)
def test_a_text_of_what_only_parts_words_has_none(op):
    assert op.apply(Document("x", "\u200b")) == Drop("no_words")


def long_text(seed, n_words, n_different):
    choose = random.Random(seed)
    some = [f"w{i}" for i in range(n_different)]
    words = choose.choices(some, k=n_words)
    for _ in range(n_words // 200):  # copied passages
        to, start, size = choose.randrange(n_words), choose.randrange(n_words), choose.randrange(3, 40)
        words[to : to + size] = words[start : start + size]
    return "".join(word + choose.choice("     \n") for word in words)


@pytest.mark.parametrize(("n_words", "n_different"), [(300, 40), (3000, 400), (12_000, 4000), (30_000, 9000)])
def test_long_texts_have_datatroves_verdicts(n_words, n_different):
    reasons = Counter()
    for seed in range(6):
        text = long_text(seed, n_words, n_different)
        for op, block in pairs("whitespace", 0.1 + 0.2 * seed):
            reasons[verdict(op, text)] += 1
            assert verdict(op, text) == expected(block, text)
    assert len(reasons) > 1


def test_runs_are_compared_by_their_characters():
    """As datatrove does: words parted elsewhere, and the same characters."""
    text = "a bc d e f xx ab c d e f"
    assert find_all_duplicate(text.split(), 5) == 6
    prose = prose_texts([text], "whitespace")[text]
    assert prose.repeated_runs_above(((5, 5.9 / len(text)),)) == Excess(5, 6 / len(text))
    assert prose.repeated_runs_above(((5, 6 / len(text)),)) is None


@settings(max_examples=200)
@given(st.text("ab \n", max_size=40))
def test_lines_and_paragraphs_are_parted_as_datatrove_parts_them(text):
    assert sorted(lines_between(text)) == sorted(re.split("\n+", text)) or not text.strip("\n")
    if text.strip():
        assert paragraphs(text) == re.split(r"\n{2,}", text.strip())
    assert repeated_parts(text.split("\n")) == find_duplicates(text.split("\n"))


def test_the_corpus_has_datatroves_verdicts(corpus):
    import zstandard

    with zstandard.open(corpus / "text" / "chunk_00.jsonl.zst", "rt", encoding="utf-8") as lines:
        import json

        texts = [json.loads(line)["text"] for line in lines]
    for text in texts[:150]:
        for counted_by, words in ORACLES.items():
            if has_words(text) and len(text) < 20_000:
                assert verdict(GopherRepetition(words=counted_by), text) == expected(
                    GopherRepetitionFilter(language=words), text
                )
                assert verdict(GopherQuality(words=counted_by), text) == expected(
                    GopherQualityFilter(language=words), text
                )


@pytest.mark.parametrize("field", ["max_frac_top_n_gram", "max_frac_dup_n_grams"])
@pytest.mark.parametrize("value", [{0: 0.1}, {-1: 0.1}, {2: 1.5}, {2: -0.1}])
def test_sizes_and_fractions_of_n_grams_are_checked(field, value):
    with pytest.raises(ValueError, match="greater than|less than"):
        GopherRepetition.model_validate({"kind": "gopher_repetition", field: value})
