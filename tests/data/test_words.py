"""Words by script, and Unicode forms in linear time that are `unicodedata`'s."""

import json
import random
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.dedup_runs import frozen, removed_ids

from codemix.data.document import Document, Drop
from codemix.data.text.comparison import compared_words
from codemix.data.text.unicode_forms import normalized
from codemix.data.text.words import PROSE_WORD, WORD, _wide, prose_words, words
from codemix.recipe.language.component import component_class

TABLE = [  # text, its words parted by blanks
    ("東京タワーは高い。2024年", "東 京 タ ワ ー は 高 い 。 2024 年"),
    ("这是一个测试，ok？", "这 是 一 个 测 试 ， ok ？"),
    ("中文abc字", "中 文 abc 字"),
    ("𠮷野家𠀋", "𠮷 野 家 𠀋"),
    ("々〆〇", "々 〆 〇"),
    ("ﾊﾝｶｸ", "ﾊ ﾝ ｶ ｸ"),
    ("สวัสดี ๑๒๓ น้ำ", "ส วั ส ดี ๑๒๓ น้ ำ"),
    ("ภาษา\u200bไทย", "ภ า ษ า ไ ท ย"),
    ("ພາສາ", "ພ າ ສ າ"),
    ("ភាសាខ្មែរ ស្ត្រី", "ភា សា ខ្មែ រ ស្ត្រី"),
    ("မြန်မာ ၁၂၃", "မြ န် မာ ၁၂၃"),
    ("हिन्दी में लिखा", "हिन्दी में लिखा"),
    ("தமிழ் மொழி", "தமிழ் மொழி"),
    ("می\u200cخواهم بروم", "می\u200cخواهم بروم"),
    ("e\u0301te\u0301 3.14", "e\u0301te\u0301 3.14"),
    ("한국어 텍스트", "한국어 텍스트"),
    ("naïve café, 1,000 Ελληνικά ещё", "naïve café , 1,000 Ελληνικά ещё"),
]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_words_by_script(text, expected):
    assert words(text) == prose_words(text) == expected.split(" ")


@given(st.text(max_size=200) | st.text("ab1.,'n-/($ e\u0301東ไ\u0e31क्", max_size=60))
@settings(max_examples=300)
def test_other_scripts_are_cut_as_ever_and_nothing_is_lost(text):
    wide = _wide()
    if not wide.needed.are_in(text):
        assert words(text) == wide.word.findall(text) == WORD.findall(text)
        assert prose_words(text) == wide.prose_word.findall(text) == PROSE_WORD.findall(text)
    kept = [c for c in text if not c.isspace() and c not in "\u200b\x1c\x1d\x1e\x1f"]
    for found in (words(text), prose_words(text)):
        assert [c for c in "".join(found) if c in kept] == kept


COMPARED = [  # text, the words that are compared, folded and as written
    ("It's 3.14, isn't it?", "it s 0 isn t it", "It ' s 3 . 14 , isn ' t it ?"),
    ("Élan e\u0301tait İ", "elan etait i", "Elan etait I"),
    ("x_1 == y12;", "x 0 y0", "x_1 = = y12 ;"),
    ("1,000 2. ٣٤", "0 0 0", "1 , 000 2 . ٣٤"),
    ("東京abc タ", "東 京 abc タ", "東 京 abc タ"),
    ("한국어 텍스트", "한국어 텍스트", "한국어 텍스트"),
    ("a\u200bb 🦊🦊 𠮷x", "a b 🦊 🦊 𠮷 x", "a b 🦊 🦊 𠮷 x"),
    ("→ a", "→ a", "→ a"),
    ("", "", ""),
    (" \n", "", ""),
]


@pytest.mark.parametrize(("text", "folded", "as_written"), COMPARED)
def test_words_that_are_compared(text, folded, as_written):
    for expected, fold in ((folded, True), (as_written, False)):
        runs = compared_words(text, fold=fold)
        characters = "".join(map(chr, runs.characters.tolist()))
        found = [characters[a:b] for a, b in zip(runs.starts, runs.ends, strict=True)]
        assert found == expected.split()


@given(st.text(max_size=60), st.text(max_size=60), st.booleans())
@settings(max_examples=100)
def test_words_beside_a_blank_are_those_of_both_sides(before, behind, fold):
    def hashes(text):
        return compared_words(text, fold=fold).hashes(1).tolist() if text.strip() else []

    if (before + "a").strip() and (behind + "a").strip():
        assert hashes(before + "a b" + behind) == hashes(before + "a") + hashes("b" + behind)


def sentence(seed, n):
    choose = random.Random(seed)
    return "".join(
        choose.choice(
            "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可"
        )
        for _ in range(n)
    )


def test_near_copies_without_blanks_are_found(tmp_path):
    texts = []
    for i in range(20):
        text = sentence(i, 400)
        texts += [text, text[:100] + "新" + text[101:]]
    found, _ = removed_ids(frozen(tmp_path, {"a": texts}), tmp_path, kind="minhash", normalize="prose")
    assert set(found) == {f"a#{i}" for i in range(1, 40, 2)}


def test_contamination_without_blanks_is_found(tmp_path):
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"q": "日本で一番高い山は何ですか"}), encoding="utf-8")
    made = component_class("op", "decontaminate")(paths="quiz.jsonl")
    apply = made.start(made.prepare(tmp_path))
    assert apply(Document("a", "問題:日本で一番高い山は何ですか。答え:富士山")) == Drop("contaminated_quiz")
    assert isinstance(apply(Document("a", "日本で一番長い川は何ですか。答え:信濃川")), Document)


def test_gopher_counts_words_without_blanks():
    apply = component_class("op", "gopher_quality")(min_mean_word_chars=None, min_stop_words=None).start(None)
    assert isinstance(apply(Document("a", (sentence(1, 9) + "。") * 6)), Document)
    assert apply(Document("a", sentence(1, 49))) == Drop("gopher_short_doc")


MARKS = [c for c in map(chr, range(0x110000)) if unicodedata.combining(c)]
ALPHABET = st.sampled_from([*"aeoé가ｶﾞ\uff9e\u0344\u0f73\u0f75\u1e9b\u0323", *MARKS])


@given(
    st.lists(ALPHABET, max_size=300).map("".join),
    st.sampled_from(["NFC", "NFKC", "NFD", "NFKD"]),
    st.integers(0, 30),
)
@example("e" + "\u0344" * 200 + "\u0323" * 90 + "\uff9e" * 90, "NFC", 3)
@example("e" + "\u0344" * 200 + "\u0323" * 90 + "\uff9e" * 90, "NFKC", 0)
@settings(max_examples=200)
def test_normal_forms_are_unicodes(text, form, shift):
    text = "x" * shift + text
    assert normalized(form, text) == unicodedata.normalize(form, text)


def test_long_runs_of_marks_are_met():
    text = "e" + "".join(random.Random(0).choices(MARKS, k=2_000)) + "o"
    for form in ("NFC", "NFKC", "NFD", "NFKD"):
        assert normalized(form, text) == unicodedata.normalize(form, text)
