"""The run report: what it says, that it says it twice the same, and that it needs nothing but itself."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ET

import pytest
from support.synthetic_run import SOURCES, manifest, planned, write_run

from codemix.data.store.store import Store, read_json, write_json
from codemix.errors import CodemixError
from codemix.eval.compare import run_inputs
from codemix.eval.pages import curves as curves_module
from codemix.eval.pages.curves import curves, training_seconds
from codemix.eval.pages.page import signed
from codemix.eval.pages.results import documents
from codemix.eval.pages.run_folders import run_facts
from codemix.eval.report.answer import answer
from codemix.eval.report.page import page, report
from codemix.eval.report.provenance import provenance_section
from codemix.eval.task_shapes.example_files import json_lines
from codemix.train.run.metrics import read_metrics

MANIFESTS = {name: manifest(name) for name in SOURCES}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    plan = planned("balanced")
    return store, plan, *write_run(store, plan)


@pytest.fixture(scope="module")
def written(run):
    store, plan, folders, evals = run
    return report(plan, store, MANIFESTS, folders, evals)


def test_the_answer_comes_first_and_is_made_from_the_numbers(written, run):
    html = written.read_text()
    answer_at, first_section = html.index('class="answer"'), html.index("<section")
    assert answer_at < first_section
    _, _, _, evals = run
    first, last = (
        read_json(evals[0] / "results.json")["bits_per_byte"],
        read_json(evals[-1] / "results.json")["bits_per_byte"],
    )

    def pooled(scores):
        code = [scores[s] for s in ("stdlib", "web")]
        return sum(s["bits"] for s in code) / sum(s["bytes"] for s in code)

    assert f"fell from {pooled(first):.3f} to <strong>{pooled(last):.3f}</strong>" in html


def test_a_change_inside_the_noise_is_not_called(run, tmp_path):
    _, plan, _, _ = run
    store = Store(tmp_path)
    folders, evals = write_run(store, plan)
    first = [json.loads(line) for line in (evals[0] / "documents.jsonl").read_text().splitlines()]
    for n, record in enumerate(first):  # the last evaluation as the first, but for noise that cancels
        record["bits"] += 3 if n % 2 else -3
    (evals[-1] / "documents.jsonl").write_text("".join(json.dumps(r) + "\n" for r in first))
    said = answer(run_facts(plan, MANIFESTS, folders, evals))[0]
    assert said.count("did not move beyond noise") == 2
    (evals[-1] / "documents.jsonl").unlink()
    assert "went from" in answer(run_facts(plan, MANIFESTS, folders, evals))[0]


def test_nothing_is_fetched_and_nothing_runs(written):
    html = written.read_text()
    assert not re.search(
        r"<script|<link(?! rel=\"icon\" href=\"data:,\")|<img|<iframe|@import|javascript:", html
    )
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", html) and "url(http" not in html
    assert "default-src 'none'" in html
    assert "&lt;script&gt; &amp; friends stay text" in html  # what users write is escaped


def test_equal_inputs_give_equal_bytes_in_one_place(written, run, tmp_path):
    store, plan, folders, evals = run
    again = Store(tmp_path)
    folders2, evals2 = write_run(again, plan)
    elsewhere = report(plan, again, MANIFESTS, reversed(folders2), reversed(evals2))
    assert elsewhere.relative_to(again.root) == written.relative_to(store.root)
    for kind in (".html", ".md", ".json"):
        assert elsewhere.with_suffix(kind).read_bytes() == written.with_suffix(kind).read_bytes()
    stamp = written.stat().st_mtime_ns
    assert report(plan, store, MANIFESTS, folders, evals) == written and written.stat().st_mtime_ns == stamp


def test_ids_are_unique_and_every_reference_resolves(written):
    html = written.read_text()
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    targets = set(re.findall(r'href="#([^"]+)"', html)) | set(re.findall(r"url\(#([^)]+)\)", html))
    targets |= {word for names in re.findall(r'aria-labelledby="([^"]+)"', html) for word in names.split()}
    assert targets <= set(ids)


def test_figures_are_labelled_themed_and_have_their_table(written):
    html = written.read_text()
    figures = re.findall(r"<figure>.*?</figure>", html, flags=re.S)
    assert len(figures) >= 5
    for figure in figures:
        drawing = re.search(r"<svg.*?</svg>", figure, flags=re.S)[0]
        tree = ET.fromstring(drawing)
        names = [child.tag for child in tree]
        assert names[:2] == ["title", "desc"] and tree.get("role") == "img" and tree.get("viewBox")
        assert (
            "#01f" not in drawing
            and ("currentColor" in drawing or "var(--" in drawing)
            and "<table" in figure
        )


def test_markdown_and_json_say_the_same(written):
    html, markdown, content = (
        written.read_text(),
        written.with_suffix(".md").read_text(),
        json.loads(written.with_suffix(".json").read_text()),
    )
    value = content["stages"][-1]["bits_per_byte"]["stdlib"]["bits_per_byte"]
    assert f"{value:.4f}" in html and f"{value:.4f}" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert rows and all(line.endswith("|") for line in rows)
    assert content["answer"][0] in markdown and content["stages"][0]["sources"]["web"]["planned"] == 49_152


def test_every_fingerprint_is_the_name_of_a_folder(run):
    """The tokenizer goes by the fingerprint of its folder, not by the hash of its file."""
    _, plan, folders, evals = run
    manifests = {
        name: dataclasses.replace(manifest, identity={"tokenizer": "abc123" * 10})
        for name, manifest in MANIFESTS.items()
    }
    facts = run_facts(plan, manifests, folders, evals)
    rows = [row for row in provenance_section(facts, "").blocks[0].rows if row[0] == "tokenizer"]
    assert [row[2] for row in rows] == ["`abc123abc123`"]
    assert facts.as_json()["sources"]["web"]["tokenizer_sha256"] == "7" * 64


def test_a_ledger_that_differs_is_loud(run, tmp_path):
    _, plan, _, _ = run
    store = Store(tmp_path)
    folders, evals = write_run(store, plan)
    ledger = read_json(folders[1] / "ledger.json")
    ledger["consumed"]["stdlib"] -= 128
    write_json(folders[1] / "ledger.json", ledger)
    html = report(plan, store, MANIFESTS, folders, evals).read_text()
    assert (
        "did not read what was planned: <code>stdlib</code> -128" in html
        and 'class="note bad" role="alert"' in html
    )
    assert "consumed exactly the tokens" not in html


def test_half_a_run_is_reported_as_half(run):
    store, plan, folders, evals = run
    text = report(plan, store, MANIFESTS, folders[:2], evals[:1]).with_suffix(".md").read_text()
    assert "Not trained yet: `cooldown`" in text and "Trained but not scored: `continue`" in text
    nothing = run_facts(plan, MANIFESTS, [], [])
    assert answer(nothing) == ["0 of 3 stages are trained; nothing is scored yet, so there is no answer."]
    assert [s.id for s in page(nothing).sections] == ["asked", "tokens", "data", "origin"]


def test_folders_of_another_recipe_are_refused(run, tmp_path):
    store, plan, folders, evals = run
    other, place = planned("text-only"), Store(tmp_path)
    strangers, scores = write_run(place, other)
    with pytest.raises(CodemixError, match="is not a stage of `balanced`"):
        report(plan, store, MANIFESTS, strangers, evals)
    with pytest.raises(CodemixError, match="does not score a stage of `balanced`"):
        report(plan, store, MANIFESTS, folders, scores)


def test_damage_is_an_error_never_a_score(run, tmp_path):
    _, plan, _, _ = run
    store = Store(tmp_path)
    folders, evals = write_run(store, plan)
    results = read_json(evals[0] / "results.json")
    results["bits_per_byte"]["web"]["bits_per_byte"] = 0.5
    write_json(evals[0] / "results.json", results)
    with pytest.raises(CodemixError, match="is damaged: `web`"):
        report(plan, store, MANIFESTS, folders, evals)
    lines = (folders[0] / "metrics.jsonl").read_text().splitlines()
    (folders[0] / "metrics.jsonl").write_text("\n".join([lines[0], "{torn", *lines[1:]]))
    with pytest.raises(CodemixError, match="damaged at line 2"):
        report(plan, store, MANIFESTS, folders, [])


@pytest.mark.parametrize("part", ["bits_per_byte", "tasks", "aggregates"])
def test_results_without_what_a_score_needs_are_damaged(run, tmp_path, part):
    _, plan, _, _ = run
    folders, evals = write_run(Store(tmp_path), plan)
    results = read_json(evals[0] / "results.json") | {
        part: {"x": {"value": 1}} if part != "aggregates" else []
    }
    write_json(evals[0] / "results.json", results)
    with pytest.raises(CodemixError, match=r"results.json is damaged: \w+Error"):
        run_facts(plan, MANIFESTS, folders, evals)


def test_records_are_read_back_whatever_line_ends_they_hold(tmp_path):
    path = tmp_path / "examples" / "triviaqa.jsonl"
    path.parent.mkdir()
    kept = {
        "id": "a\x85b\u2028c",
        "source": "docs",
        "correct": 1.0,
        "gold_bits": 2.0,
        "gold_bytes": 3,
        "bits": 4.0,
        "bytes": 5,
        "output": "\r\n\x1e",
    }
    path.write_text(json_lines([kept]))  # real TriviaQA answers hold U+0085
    assert run_inputs.examples(path.parent) == {"triviaqa": {kept["id"]: (1.0, 2.0, 3)}}
    assert documents(path) == {"docs": {kept["id"]: (4.0, 5)}}
    path.write_text(path.read_text()[:-9])
    for read, where in ((run_inputs.examples, path.parent), (documents, path)):
        with pytest.raises(CodemixError, match="is damaged"):
            read(where)


def test_lost_documents_are_loud(run):
    _, plan, folders, evals = run
    broken = manifest("web")
    broken.funnel["kept"] -= 1
    text = page(run_facts(plan, MANIFESTS | {"web": broken}, folders, evals))
    assert any(
        "Documents are missing from the counts of `web`" in getattr(b, "text", "")
        for s in text.sections
        for b in s.blocks
    )


def test_metrics_lines_last_word_wins_and_a_torn_end_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 2, "tokens": 20}\n{"step": 1, "tokens": 10}\n{"step": 2, "tokens": 21}\n{"step": 3, "to'
    )
    assert [(line["step"], line["tokens"]) for line in read_metrics(path)] == [(1, 10), (2, 21)]


def test_long_curves_are_averaged_not_sampled(monkeypatch):
    lines = [
        {"step": i, "tokens": 10 * i, "train/loss_nats_per_token": float(i), "lr": 1.0} for i in range(1, 101)
    ]
    whole = curves(lines, {})
    monkeypatch.setattr(curves_module, "MAX_POINTS", 10)
    short = curves(lines, {})
    assert len(whole.total) == 100 and len(short.total) == 10 and short.tokens[-1] == 1000
    assert sum(short.total) / 10 == pytest.approx(sum(whole.total) / 100)
    gaps = curves(
        [{"step": 1, "tokens": 1, "lr": float("nan")}, {"step": 2, "tokens": 2, "lr": 1.0}], {"a": "a"}
    )
    assert gaps.lr == [None, 1.0] and "a" not in gaps.losses


def test_a_source_may_bear_the_name_of_another_curve():
    line = {"step": 1, "tokens": 7, "lr": 0.5, "train/lr/loss_nats_per_token": 3.0}
    made = curves([line | {"train/tokens/loss_nats_per_token": 4.0}], {"lr": "lr", "tokens": "tokens"})
    assert made.lr == [0.5] and made.tokens == [7] and made.losses == {"lr": [3.0], "tokens": [4.0]}


def test_training_time_is_from_speed_not_from_the_clock():
    lines = [{"tokens": 100, "tokens_per_s": 50}, {"tokens": 400, "tokens_per_s": 100}]
    assert training_seconds(lines, 0) == pytest.approx(2 + 3) and training_seconds(
        lines, 50
    ) == pytest.approx(1 + 3)
    assert training_seconds([], 0) is None


def test_a_change_that_is_called_is_never_printed_as_nothing():
    assert [signed(x) for x in (-0.0413, 0.0, -0.00012, 0.0004)] == ["−4.1%", "+0.0%", "−0.012%", "+0.040%"]
