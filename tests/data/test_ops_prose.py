"""The prose ops: refused on code, at their thresholds, without spaCy; decontamination; transforms."""

import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.data.build.signatures import without_licence
from codemix.data.datatrove_adapter.ngrams import write_index
from codemix.data.datatrove_adapter.words import Words
from codemix.data.document import Document, Drop
from codemix.data.text.html_text import html_to_text
from codemix.data.text.words import prose_words
from codemix.errors import CodemixError
from codemix.recipe.language.component import component_class, kinds

PROSE = (
    "The old harbour lies at the end of the town, and most of the boats that come there in the evening have been out since before dawn. "
    "Fishermen talk with their neighbours while the nets are spread to dry, and nobody seems to be in a hurry to go home for supper."
)


def op(kind, **fields):
    return component_class("op", kind).model_validate({"kind": kind, **fields})


def verdict(made, text, root=None):
    result = made.start(made.prepare(root))(Document("x#0", text, {}))
    return result.reason if isinstance(result, Drop) else "kept"


def words(n):
    """n different words that read as prose to Gopher:
    letters only, of middling length, with stop words in front.
    """
    return " ".join(
        ["the", "of", "and", *(f"word{chr(97 + i // 26 % 26)}{chr(97 + i % 26)}" for i in range(n - 3))]
    )


TABLE = [
    ("gopher_quality", PROSE, "kept", {"min_words": 40}),
    ("gopher_quality", words(50), "kept", {}),
    ("gopher_quality", words(49), "gopher_short_doc", {}),
    ("gopher_quality", words(60), "kept", {"max_words": 60}),
    ("gopher_quality", words(60), "gopher_long_doc", {"max_words": 59}),
    ("gopher_quality", words(60) + " #" * 6, "kept", {}),  # 6 of 66 words
    ("gopher_quality", words(60) + " #" * 7, "gopher_too_many_hashes", {}),  # 7 of 67
    ("gopher_quality", "wordaa " * 60, "gopher_enough_stop_words", {}),
    ("gopher_quality", "wordaa " * 60, "kept", {"min_stop_words": None}),
    ("gopher_quality", "", "no_words", {}),
    ("gopher_quality", " \n\t", "no_words", {}),
    ("gopher_repetition", PROSE, "kept", {}),
    ("gopher_repetition", PROSE + "\n" + PROSE, "dup_line_frac", {}),
    ("gopher_repetition", PROSE + "\n\n" + PROSE, "dup_para_frac", {}),
    ("gopher_repetition", "again and again " * 30, "top_2_gram", {}),
    ("gopher_repetition", "", "no_words", {}),
    ("fineweb_quality", PROSE, "kept", {}),
    ("fineweb_quality", PROSE.replace(".", ""), "line_punct_ratio", {}),
    ("fineweb_quality", PROSE.replace(".", ""), "kept", {"keep_unpunctuated": True}),
    ("fineweb_quality", "Short one.\n" * 2 + "x", "short_line_ratio", {}),
    ("fineweb_quality", "", "no_words", {}),
]


@pytest.mark.parametrize(("kind", "text", "expected", "fields"), TABLE)
def test_threshold(kind, text, expected, fields):
    assert verdict(op(kind, **fields), text) == expected


PROSE_OPS = [kind for kind in kinds("op") if component_class("op", kind).for_prose]


def test_which_ops_are_for_prose():
    assert PROSE_OPS == ["fineweb_quality", "gopher_quality", "gopher_repetition", "language", "pii"]


@pytest.mark.parametrize("kind", PROSE_OPS)
def test_prose_ops_refuse_code(kind):
    refused = op(kind).refuses({"kind": "code"})
    assert refused.rule == "prose-op-on-code" and "even_on_code: true" in " ".join(refused.hints)
    assert op(kind, even_on_code=True).refuses({"kind": "code"}) is None
    assert op(kind).refuses({"kind": "text"}) is None and op(kind).refuses({}) is None


def test_no_spacy_no_download():
    script = (
        "import sys; sys.modules['spacy'] = None\n"
        "from codemix.recipe.language.component import component_class as c; from codemix.data.document import Document\n"
        "for kind in ('gopher_quality', 'gopher_repetition', 'fineweb_quality'):\n"
        "    c('op', kind).model_validate({'kind': kind}).start(None)(Document('a', 'Some words of text. ' * 30))\n"
        "print(sorted(m for m in ('nltk', 'torch', 'lighteval', 'pandas') if m in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_words_cover_the_text(text):
    found = Words().word_tokenize(text)
    assert "".join(found) == "".join(c for c in text if not c.isspace()) or any(
        ord(c) in range(0x1C, 0x20) for c in text
    )


def test_words_are_one_value():
    assert (
        Words() == Words()
        and hash(Words()) == hash(Words())
        and pickle.loads(pickle.dumps(Words())) == Words()
    )
    assert Words().word_tokenize("It's 3.14, isn't it... ok?") == [
        "It's",
        "3.14",
        ",",
        "isn't",
        "it",
        "...",
        "ok",
        "?",
    ]
    assert prose_words("It's in /usr/lib, isn't it? See f(x) or https://a.b/c.") == [
        "It",
        "'s",
        "in",
        "/usr",
        "/",
        "lib",
        ",",
        "is",
        "n't",
        "it",
        "?",
        "See",
        "f(x",
        ")",
        "or",
        "https://a.b/c.",
    ]


@pytest.fixture
def evaluation(tmp_path):
    prompt = "def area(w, h):\n    '''Return the area of a rectangle of the given width and height'''\n"
    task = {"prompt": prompt, "canonical_solution": "    return w * h\n"}
    (tmp_path / "humaneval.jsonl").write_text(json.dumps(task) + "\n")
    (tmp_path / "quiz.txt").write_text(
        "Which town on the northern coast was the first to build a lighthouse out of red brick?"
    )
    return tmp_path


def test_decontaminate(evaluation):
    made = op("decontaminate", paths=["*.jsonl", "*.txt"])
    assert verdict(made, "Something else entirely, that no test has. " * 5, evaluation) == "kept"
    copied = "See: Return the area of a rectangle of the given width and height"
    assert verdict(made, copied, evaluation) == "contaminated_humaneval"  # 12 words of it
    assert verdict(made, copied.removesuffix(" height"), evaluation) == "kept"  # 11
    question = "we ask: WHICH town, on the northern coast - was the first to build a lighthouse?"
    assert verdict(made, question, evaluation) == "contaminated_quiz"  # prose: case and punctuation fold
    assert (
        verdict(op("decontaminate", paths=["*.jsonl", "*.txt"], normalize="code"), question, evaluation)
        == "kept"
    )


def test_decontaminate_sees_runs_across_fields(evaluation):
    across = "the given width and height ''' return w * h"
    both = op("decontaminate", paths="humaneval.jsonl", n_grams=7)
    assert verdict(both, across, evaluation) == "contaminated_humaneval"
    assert (
        verdict(
            op("decontaminate", paths="humaneval.jsonl", n_grams=7, fields=["prompt"]), across, evaluation
        )
        == "kept"
    )


def test_decontaminate_index_is_datatroves(evaluation, tmp_path):
    """The same index through files that datatrove's own filter loads."""
    from datatrove.data import Document as Theirs
    from datatrove.pipeline.decont.n_grams import NGramsDecontFilter

    made = op("decontaminate", paths="quiz.txt")
    index = tmp_path / "index"
    index.mkdir()
    write_index(pickle.loads(pickle.dumps(made.prepare(evaluation))), index)
    theirs = NGramsDecontFilter(str(index), config=made._config(), language=Words())
    question = (evaluation / "quiz.txt").read_text()
    assert (
        theirs.filter(Theirs(text=question, id="a")) == (False, "contaminated")
        and theirs.filter(Theirs(text=PROSE, id="b")) is True
    )


def test_decontaminate_problems(evaluation):
    with pytest.raises(CodemixError, match="nothing could ever match"):
        op("decontaminate", paths="*.jsonl", n_grams=100).prepare(evaluation)
    with pytest.raises(CodemixError, match="has no field `answer`"):
        op("decontaminate", paths="*.jsonl", fields=["answer"]).prepare(evaluation)
    with pytest.raises(CodemixError, match="no file matches"):
        op("decontaminate", paths="none*.jsonl").prepare(evaluation)
    (evaluation / "broken.jsonl").write_text('{"prompt": \n')
    with pytest.raises(CodemixError, match="cannot read the evaluation texts"):
        op("decontaminate", paths="broken.jsonl").prepare(evaluation)


PII = [
    ("write to jane.doe+x@mail.example.co.uk today", "write to email@example.com today"),
    ("a@b is no address, nor is @name", None),
    ("server 8.8.8.8 answers", "server 192.0.2.1 answers"),
    ("local 192.168.0.1, 127.0.0.1, 10.1.2.3 stay", None),
    ("version 1.2.3.4.5 and 256.1.1.1 and 1.2.3 stay", None),
    ("end 8.8.4.4.", "end 192.0.2.1."),
]


@pytest.mark.parametrize(("text", "expected"), PII)
def test_pii(text, expected):
    given = Document("x#0", text, {"url": "u"})
    made = op("pii").apply(given)
    assert made.text == (expected or text) and made.id == given.id and made.meta == given.meta
    assert (made is given) == (expected is None)  # an edit is another document, and is counted
    assert op("pii").apply(made).text == made.text
    assert op("pii", email=None, ip=None).apply(given) is given


NORMAL = [
    ("a\r\nb\rc", "a\nb\nc", {}),
    ("\ufeffa\0b\tc\x0c", "ab\tc\x0c", {}),
    ("a  \n b\t", "a\n b", {"trailing_blanks": True}),
    ("e\u0301", "\u00e9", {"unicode": "NFC"}),
    ("e\u0301  \n", "e\u0301  \n", {}),
]


@pytest.mark.parametrize(("text", "expected", "fields"), NORMAL)
def test_normalize_text(text, expected, fields):
    made = op("normalize_text", **fields).apply(Document("x", text))
    assert made.text == expected


@pytest.mark.timeout(20)
def test_a_long_run_of_blanks_costs_no_more_than_its_length():
    text = " " * 200_000 + "x"
    assert op("normalize_text", trailing_blanks=True).apply(Document("a", text)).text == text
    assert html_to_text(f"a{text}") == f"a{text}"
    assert without_licence(text) == text


@pytest.mark.timeout(20)
def test_a_long_run_of_hyphens_costs_no_more_than_its_length():
    assert len(prose_words("-" * 200_000)) == 200_000
    assert prose_words("--a b--c )--d -/e") == ["--a", "b", "-", "-c", ")", "-", "-d", "-/e"]


@given(st.text(max_size=100))
@settings(max_examples=100)
def test_normalizing_twice_changes_nothing(text):
    made = op("normalize_text", unicode="NFC", trailing_blanks=True)
    once = made.apply(Document("x", text))
    assert made.apply(once).text == once.text
