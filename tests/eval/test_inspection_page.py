"""The page of `inspect`: what it counts is the funnel's, and what it shows are the store's samples."""

import base64
import hashlib
import json
import re

import pytest
from support.inspections import inspection_of
from support.synthetic_run import planned

from codemix import cli
from codemix.eval.inspection.page import SHOWN_CHARS, page
from codemix.eval.pages.page import Samples
from codemix.eval.pages.rendering import html, markdown

RECIPE = planned("balanced").recipe


def samples_of(made):
    (found,) = (b for section in made.sections for b in section.blocks if isinstance(b, Samples))
    return found


def test_the_page_counts_and_shows_what_inspect_found():
    made = page(RECIPE, {name: inspection_of(name, "en") for name in ("docs", "stdlib")})
    assert made.answer[0] == "Documents: 20 read = 8 kept + 12 dropped + 0 unreadable."
    assert "`01-size/too_small` of `docs`: 4 documents, 40.0%" in made.answer[1]
    shown = samples_of(made)
    assert len(shown.kept) == 8 and len(shown.dropped) == 12
    assert {sample.reason for sample in shown.dropped} == {"01-size/too_small", "dedup1-exact/duplicate"}
    twin = next(s for s in shown.dropped if s.kept_instead)
    assert twin.kept_instead.id == "docs/kept#0"


def test_only_the_script_that_is_ours_may_run():
    text = html(page(RECIPE, {"docs": inspection_of("docs", "en")}))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in text


def test_texts_keep_their_lines_and_say_where_they_are_cut():
    found = inspection_of("docs", "en")
    long = "line\n\n\nline\n" + "x" * SHOWN_CHARS
    found["kept"] = [{"id": "long", "text": long, "meta": {}, "chars": 123_456}]
    (sample,) = samples_of(made := page(RECIPE, {"docs": found})).kept
    assert sample.text == long[:SHOWN_CHARS]
    assert sample.remark == f"the first {SHOWN_CHARS:,} of 123,456 characters"
    for shown in (html(made), markdown(made)):
        assert "line\n\n\nline\nxxx" in shown and sample.remark in shown


def test_numbers_are_what_can_be_ordered():
    found = inspection_of("docs", "en")
    meta = {"stars": 3, "score": 0.5, "is_fork": True, "name": "x", "nothing": None, "bad": float("nan")}
    found["kept"] = [{"id": "a", "text": "a", "meta": meta}]
    assert samples_of(page(RECIPE, {"docs": found})).kept[0].numbers == {"stars": 3, "score": 0.5}


def test_the_command_writes_a_page_of_twenty_samples(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"text": "word " * n}) for n in range(1, 60)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "r.yaml").write_text(
        "codemix: 1\nname: small\ndescription: to look at\n"
        "tokenizer: {kind: bpe, vocab_size: 300, train: {bytes: 10kB}}\n"
        "sources:\n  a:\n    read: {kind: jsonl, paths: a.jsonl}\n"
        "    ops: [{kind: size, min_bytes: 130}]\n    tags: {kind: text}\n"
        "model: {d_model: 32, n_layers: 1, n_heads: 2, d_ff: 64}\n"
        "training: {seq_len: 16, batch_size: 4}\n"
        "stages:\n  - name: init\n    tokens: 1k\n    mixture: {a: 100%}\n"
        "    learning_rate: {kind: constant, value: 1e-3}\n"
    )
    for command in (["build-data", "r.yaml"], ["inspect", "r.yaml", "--html", "a.html"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(command)
        assert stop.value.code == 0
    text = (tmp_path / "a.html").read_text()
    assert text.count("<article ") == 40 and "59 read = " in text
    assert "wrote a.html" in capsys.readouterr().err
