"""Bits per byte on held-out documents, from shards on disk to results.json."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import byte_store as made
from support.byte_store import byte_tokenizer_json

from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.eval.measure import bits_per_byte
from codemix.eval.measure.evaluate import evaluate

SEQ_LEN = 64


@pytest.fixture
def store(tmp_path, byte_text):
    store = Store(tmp_path / "store")
    tokenizer = made.save_tokenizer(store, byte_tokenizer_json())
    words = [f"{'line ' * (3 * i % 40)} of document {i}, naïve — 東京\n" for i in range(30)]
    documents = [
        {"id": f"a.jsonl#{i}", "text": w, "language": "en" if i % 3 else "ja"} for i, w in enumerate(words)
    ]
    manifests = {
        name: made.save_source(
            store, name, {"train": [documents[:5]], "held_out": shards}, byte_text.encode, tokenizer
        )
        for name, shards in (("text", [documents[5:20], documents[20:]]), ("none", []))
    }
    return store, manifests, documents[5:]


def test_held_out_documents_come_back_as_they_were(store, byte_text):
    _, manifests, documents = store
    found = bits_per_byte.held_out(manifests["text"])
    assert [(d.id, d.bytes, d.language) for d in found] == [
        (d["id"], len(d["text"].encode()), d["language"]) for d in documents
    ]
    texts = [byte_text.decode(t) for t in bits_per_byte.tokens(manifests["text"], found)]
    assert texts == [d["text"] for d in documents]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 400))
def test_the_subset_is_the_same_in_any_order_fits_and_leaves_no_room(sizes, max_bytes):
    documents = [bits_per_byte.HeldOut(f"d{i}", n, "", 0, i) for i, n in enumerate(sizes)]
    chosen = bits_per_byte.subset(documents, max_bytes)
    assert chosen == bits_per_byte.subset(documents[::-1], max_bytes)
    assert chosen and len(set(chosen)) == len(chosen)
    if min(sizes) <= max_bytes:
        left = max_bytes - sum(d.bytes for d in chosen)
        assert left >= 0 and not any(d.bytes <= left for d in documents if d not in chosen)
    if sum(sizes) <= max_bytes:
        assert len(chosen) == len(sizes)


def test_evaluate_sums_then_divides_and_saves_every_document(store, model_spec, decoder, engine):
    place, manifests, documents = store
    plan = made.plan(model_spec, SEQ_LEN, max_bytes=10**6)
    path = evaluate(plan, 0, place, manifests, made.save_stage(place, decoder))
    folder, results = path.parent, json.loads(path.read_text())
    found = results["bits_per_byte"]["text"]
    assert set(results["bits_per_byte"]) == {"text"} and not found["subset"]
    assert found["bytes"] == sum(len(d["text"].encode()) for d in documents) == found["tokens"]
    direct = engine.score_documents([engine.text.encode(d["text"]) for d in documents])
    assert found["bits"] == pytest.approx(sum(s.bits for s in direct), rel=1e-5)
    assert found["bits_per_byte"] == found["bits"] / found["bytes"]
    assert sum(part["bits"] for part in found["by_language"].values()) == pytest.approx(found["bits"])
    records = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    assert {r["id"] for r in records} == {d["id"] for d in documents}
    assert np.sum([r["bits"] for r in records]) == pytest.approx(found["bits"])
    assert (
        evaluate(plan, 0, place, manifests, place.root / "no such stage") == path
    )  # found in the store; nothing is loaded


def test_what_another_process_has_measured_meanwhile_is_not_measured_again(
    store, model_spec, decoder, monkeypatch
):
    place, manifests, _ = store
    plan = made.plan(model_spec, SEQ_LEN)
    path = evaluate(plan, 0, place, manifests, made.save_stage(place, decoder))
    aside = path.parent.rename(place.root / "aside")
    lock = Store.lock

    def after_the_other(self, work):
        aside.rename(path.parent)
        return lock(self, work)

    monkeypatch.setattr(Store, "lock", after_the_other)
    assert evaluate(plan, 0, place, manifests, place.root / "no such stage") == path


def test_a_cap_changes_the_evaluation_and_is_said(store, model_spec, decoder):
    place, manifests, _ = store
    stage = made.save_stage(place, decoder)
    all_of_it, capped = (
        evaluate(made.plan(model_spec, SEQ_LEN, max_bytes=n), 0, place, manifests, stage)
        for n in (10**6, 500)
    )
    assert all_of_it != capped
    found = json.loads(capped.read_text())["bits_per_byte"]["text"]
    assert found["subset"] and 0 < found["bytes"] <= 500 < found["available"]["bytes"]


def test_a_damaged_shard_and_a_missing_tokenizer_are_said(store, model_spec, decoder):
    place, manifests, _ = store
    stage, plan = made.save_stage(place, decoder), made.plan(model_spec, SEQ_LEN)
    shard = manifests["text"].folder / manifests["text"].shards("held_out")[0].path
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-2])
    with pytest.raises(CodemixError) as caught:
        evaluate(plan, 0, place, manifests, stage)
    assert caught.value.problems[0].rule == "shard-corrupt"
    shard.write_bytes(whole)
    (place.root / "tokenizers/0123456789ab/meta.json").unlink()
    with pytest.raises(CodemixError) as caught:
        evaluate(plan, 0, place, manifests, stage)
    assert caught.value.problems[0].rule == "tokenizer-missing"


def test_tasks_are_measured_saved_and_continued_after_an_interruption(
    store, model_spec, decoder, tmp_path, monkeypatch
):
    from codemix.eval.measure import suite
    from codemix.eval.options import EvalOptions
    from codemix.eval.task_shapes.example_files import json_lines

    place, manifests, _ = store
    (tmp_path / "piqa.jsonl").write_text(
        json_lines([{"goal": f"g{i}", "sol1": "push", "sol2": "pull", "label": i % 2} for i in range(6)])
    )
    choices = {"text": ["x", "y"], "label": ["A", "B"]}
    questions = [
        {"id": str(i), "question": "Q?", "choices": choices, "answerKey": "AB"[i % 2]} for i in range(6)
    ]
    (tmp_path / "arc_easy.jsonl").write_text(json_lines(questions))
    kinds = (
        {"kind": "piqa"},
        {"kind": "arc_easy"},
        {"kind": "piqa", "name": "piqa-bytes", "normalise": "bytes"},
    )
    plan, stage = made.plan(model_spec, SEQ_LEN, tasks=kinds), made.save_stage(place, decoder)
    options = EvalOptions(data=tmp_path)
    measured, original = [], suite.summarise

    def interrupted(task, data, outcome):
        measured.append(task.kind)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return original(task, data, outcome)

    monkeypatch.setattr(suite, "summarise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, 0, place, manifests, stage, options=options)
    path = evaluate(plan, 0, place, manifests, stage, options=options)
    folder = path.parent
    assert measured == ["piqa", "arc_easy", "arc_easy", "piqa"]  # the first was kept
    results = json.loads(path.read_text())
    assert set(results["tasks"]) == {"piqa", "arc_easy", "piqa-bytes"}
    one = results["tasks"]["arc_easy"]
    assert (
        one["n"] == 6
        and one["chance"] == 0.5
        and one["metric"] == "accuracy"
        and one["gold_bits_per_byte"]["bits"] > 0
    )
    assert one["contamination"]["texts"] == 6 and "contamination" in results["bits_per_byte"]["text"]
    records = [json.loads(line) for line in (folder / "examples/arc_easy.jsonl").read_text().splitlines()]
    assert sum(r["correct"] for r in records) / 6 == one["score"] and [r["id"] for r in records] == list(
        "012345"
    )
    assert (
        results["aggregates"]["reasoning"]["of"] == ["piqa", "arc_easy"]
        and results["aggregates"]["reasoning"]["partial"]
    )
    (tmp_path / "arc_easy.jsonl").write_text((tmp_path / "arc_easy.jsonl").read_text().replace("Q?", "R?"))
    assert evaluate(plan, 0, place, manifests, stage, options=options) != path


@pytest.mark.parametrize(
    "row, says",
    [
        ({"goal": "g"}, "column `sol1`"),
        ({"goal": "g", "sol1": "x", "sol2": "y", "label": "z"}, "cannot be read"),
    ],
)
def test_a_bad_row_is_said_before_anything_is_measured(store, model_spec, tmp_path, row, says):
    from codemix.eval.options import EvalOptions

    place, manifests, _ = store
    (tmp_path / "piqa.jsonl").write_text(json.dumps(row))
    with pytest.raises(CodemixError, match=says):  # the stage has no checkpoint, and nobody looked
        evaluate(
            made.plan(model_spec, SEQ_LEN, tasks=({"kind": "piqa"},)),
            0,
            place,
            manifests,
            tmp_path / "none",
            options=EvalOptions(data=tmp_path),
        )
