"""Time grows with the length of a text, not with its square: every op and reader on texts made to be slow.

A quadratic step takes 16 times as long on four times the text; what is allowed is 8, and nothing is asked of
what takes less than the floor. CPU time, the garbage collector off, the better of several tries: a busy
machine is no failure.
"""

import base64
import gc
import json
import random
import re
import time
import unicodedata

import pytest
from support.source_files import jsonl, read, source
from support.tokenizer_files import written

from codemix.data.build.signatures import without_licence
from codemix.data.dedup.minhash import MinHash
from codemix.data.document import Document
from codemix.data.encoding import encoders
from codemix.data.scoring import LabelledText
from codemix.data.sources import _discussion_threads, _notebook_text
from codemix.data.text import html_text, python_source, words
from codemix.data.text.unicode_forms import normalized
from codemix.data.tokenizers.bpe import Bpe
from codemix.recipe.language import schema
from codemix.recipe.language.component import component_class, kinds

SHORT, TIMES, ALLOWED, FLOOR_S = 8_000, 4, 8, 0.08
CHOOSE = random.Random(0)
LONGEST = SHORT * TIMES
RANDOM = {
    "base64": base64.b64encode(CHOOSE.randbytes(LONGEST)).decode(),
    "digits": "".join(CHOOSE.choices("0123456789", k=LONGEST)),
    "marks": "e"
    + "".join(
        CHOOSE.choices([chr(i) for i in range(0x300, 0x345) if unicodedata.combining(chr(i))], k=LONGEST)
    ),
    "words": " ".join(str(CHOOSE.randrange(500)) for _ in range(LONGEST // 3)),
}
UNITS = [
    "a",
    " ",
    "\n",
    "\t",
    "\r\n",
    "0",
    "(",
    "[",
    "'",
    '"',
    "<",
    "<!--",
    "<a",
    "<a>",
    "</",
    "<pre>",
    "<li>",
    "<a href='",
    "<![CDATA[",
    "&#",
    "&amp",
    "-",
    "/",
    "\\",
    ".",
    "@",
    "a@",
    "a.",
    "a.a@",
    "1.",
    "1.1.1.",
    "#",
    "```",
    "/*",
    "//\n",
    "=",
    "\u0323\u0301",
    "東",
    "ก\u0e31",
    "\u17d2",
    '{"a":',
    "[1,",
    "'''",
    "\\x",
    "0x",
    " \n",
    "x\n",
    "- ",
    "http://",
    "1e",
    "com ",
    "...",
    "\x00",
    "\u200d",
    "\U00011300",
    "if a:\n",
    "not ",
    "ab cd\n\n",
    "#ifndef a\n#define a\n",
    "🦊",
]


def texts(n):
    """Texts of about n characters, by name; each run alone,
    and before something that may end a match in vain.
    """
    made = {name: text[:n] for name, text in RANDOM.items()}
    for unit in UNITS:
        run = unit * (n // len(unit))
        made[f"{unit!r} ..."] = run
        made[f"x {unit!r} ... !x"] = f"x{run}!x"
    half = n // 2
    made["brackets that close"] = "[" * half + "]" * half
    made["objects that close"] = '{"a":' * (n // 6) + "1" + "}" * (n // 6)
    made["elements that close"] = "<div>a" * (n // 12) + "</div>" * (n // 12)
    made["lists in lists"] = "<ul><li>" * (n // 16) + "</li></ul>" * (n // 20)
    return made


PAIRS = [
    (name, text, longer)
    for (name, text), longer in zip(texts(SHORT).items(), texts(LONGEST).values(), strict=True)
]


def cpu_s(act, text):
    began = time.process_time()
    act(text)
    return time.process_time() - began


def slow_texts(act):
    """The texts on which `act` takes far more than TIMES as long for TIMES as many characters."""
    act("warm é東\u0301 up. " * 20)
    found = []
    for name, text, longer in PAIRS:
        for _ in range(3):
            longer_s = cpu_s(act, longer)
            if longer_s < FLOOR_S or longer_s <= ALLOWED * max(cpu_s(act, text), FLOOR_S / ALLOWED / 4):
                break
        else:
            found.append(f"{name}: {longer_s:.2f} s")
            if longer_s > 5:
                break  # shown well enough
    return found


@pytest.fixture(autouse=True)
def _no_collection():
    gc.disable()
    yield
    gc.enable()
    gc.collect()


LANGUAGES = {
    "python_parses": "Python",
    "html_visible_text": "HTML",
    "vendored": "JavaScript",
    "xml_header": "C",
}


@pytest.mark.parametrize("kind", sorted(set(kinds("op")) - {"classifier"}))
def test_ops(kind, tmp_path):
    (tmp_path / "e.jsonl").write_text(
        json.dumps({"text": "which town on the coast was the first to build a lighthouse"})
    )
    cls = component_class("op", kind)
    for example in cls.EXAMPLES:
        change = {"paths": "e.jsonl", "fields": [], "n_grams": 8} if kind == "decontaminate" else {}
        made = cls.model_validate(example | change)
        apply = made.start(made.prepare(tmp_path))
        meta = {"language": LANGUAGES.get(kind, ""), "path": "a/b"}
        assert not slow_texts(lambda text, apply=apply, meta=meta: apply(Document("a", text, dict(meta))))
        if kind == "vendored":
            assert not slow_texts(lambda text, apply=apply: apply(Document("a", "x", {"path": text})))


def test_a_trained_classifier(tmp_path):
    op = component_class("op", "classifier").model_validate({"kind": "classifier", "path": "m.linear"})
    labels = ("positive", "negative")
    texts = [LabelledText(f"a {label} text about word {n}", label) for n in range(50) for label in labels]
    op.train(texts, tmp_path / "m.linear")
    apply = op.start(op.prepare(tmp_path))
    assert not slow_texts(lambda text: apply(Document("a", text, {})))


def minhash(normalize):
    entry = schema.Dedup(kind="minhash", sources=("a",), normalize=normalize)
    return MinHash(entry, without_licence).least_hashes


STEPS = {
    "words of prose": words.prose_words,
    "words for minhash, prose": minhash("prose"),
    "words for minhash, code": minhash("code"),
    "normal forms": lambda text: [normalized(form, text) for form in ("NFC", "NFKC", "NFD", "NFKD")],
    "HTML to text": html_text.html_to_text,
    "visible text of HTML": html_text.visible_text,
    "names of bots": _discussion_threads.is_bot,
    "prose in docstrings": python_source.prose_paragraphs,
    "training a tokenizer": lambda text: Bpe(vocab_size=300).make((), lambda: iter([text])),
}


@pytest.mark.parametrize("step", STEPS)
def test_steps(step):
    assert not slow_texts(STEPS[step])


def test_encoding(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(written()))
    encoder = encoders.load_encoder(tmp_path / "t.json")
    assert encoder.fast and not slow_texts(lambda text: encoder.encode([text]))


def notebook(text):
    output = {"output_type": "stream", "name": "stdout", "text": text}
    code = {"cell_type": "code", "source": text, "metadata": {}, "outputs": [output], "execution_count": 1}
    cells = [{"cell_type": "markdown", "source": text, "metadata": {}}, code]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 2})


@pytest.mark.parametrize("style", ["markdown", "script"])
def test_notebooks(style):
    how = {"style": style, "outputs": "text", "max_output_chars": 10**9}
    assert not slow_texts(lambda text: _notebook_text.notebook_text(notebook(text), **how))


ROWS = {
    "jsonl": lambda text: {"text": text},
    "issues": lambda text: {
        "title": text,
        "body": text,
        "author": text,
        "comments": [{"body": text, "author": text}],
    },
    "stackexchange": lambda text: {"question": text, "answers": [{"text": text, "score": 1}]},
    "commits": lambda text: {"old_contents": text, "new_contents": text[::-1], "message": text},
}


@pytest.mark.parametrize("kind", ROWS)
def test_readers_of_rows(kind, tmp_path):
    made = source(kind, paths="a.jsonl")

    def act(text):
        jsonl(tmp_path / "a.jsonl", [ROWS[kind](text)])
        assert read(tmp_path, made)

    assert not slow_texts(act)


@pytest.mark.parametrize(
    ("kind", "name"), [("jsonl", "a.jsonl"), ("text", "a.txt"), ("notebooks", "a.ipynb")]
)
def test_readers_of_files(kind, name, tmp_path):
    """The same texts as whole files, whatever their format makes of them."""
    made = source(kind, paths=name)

    def act(text):
        (tmp_path / name).write_text(text + "\n", encoding="utf-8", newline="")
        read(tmp_path, made)  # perhaps nothing: blank lines are no rows

    assert not slow_texts(act)


def test_a_quadratic_step_is_found():
    assert slow_texts(lambda text: re.search("a+b", text))
