"""A small swarm that is really run: its rows of evidence, a run that is half done, and changed data."""

import json
import random
from pathlib import Path

import pytest

from codemix.cli.app import run
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError
from codemix.eval.evidence.rows import read_rows
from codemix.eval.mix.collect import rows_of_study
from codemix.eval.mix.search import search
from codemix.eval.options import EvalOptions
from codemix.eval.run_study import contexts, run_study, train_and_score
from codemix.recipe.studies.mix_space import mix_space
from codemix.recipe.studies.study import load_study

BASE = """
codemix: 1
name: small
tokenizer: {kind: bpe, vocab_size: 300, train: {bytes: 100kB}}
sources:
  prose: {read: {kind: jsonl, paths: prose.jsonl}, tags: {kind: text}, held_out: 10%, tokens: 20k, max_epochs: 9}
  code: {read: {kind: jsonl, paths: code.jsonl}, tags: {kind: code}, held_out: 10%, tokens: 20k, max_epochs: 9}
model: {d_model: 16, n_layers: 1, n_heads: 2, d_ff: 32}
training: {seq_len: 32, batch_size: 4}
stages:
  - {name: init, steps: 6, mixture: {prose: 50%, code: 50%}, learning_rate: {kind: constant, value: 1e-3}}
  - {name: cooldown, steps: 6, mixture: {prose: 80%, code: 20%}, learning_rate: {kind: linear, start: previous, floor: 1e-5}}
evaluation: {max_bytes: 2kB}
"""
STUDY = "codemix: 1\nstudy: which\nbase: base.yaml\nmix: {stages: [cooldown], points: 5, prior_seeds: 1}\n"


@pytest.fixture(scope="module")
def swarm(tmp_path_factory):
    """The folder of a study whose points are trained and scored."""
    folder = tmp_path_factory.mktemp("swarm")
    words = random.Random(0)
    for name, alphabet in (
        ("prose", ["the", "quick", "brown", "fox"]),
        ("code", ["def", "x", "return", "1"]),
    ):
        rows = [{"id": f"{name}-{i}", "text": " ".join(words.choices(alphabet, k=60))} for i in range(120)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "base.yaml").write_text(BASE)
    (folder / "study.yaml").write_text(STUDY)
    run_study(folder / "study.yaml", folder / "store", folder, options=EvalOptions(data_root=folder))
    return folder


def rows(folder: Path):
    return rows_of_study(folder / "study.yaml", folder / "store", folder)


def test_every_scored_stage_leaves_a_row_that_equals_its_ledgers(swarm):
    collected = rows(swarm)
    assert len(collected.rows) == 5 and not collected.notes
    points = {
        point.plan.stages[-1].fingerprint: point
        for point in contexts(swarm / "study.yaml", swarm / "store", swarm)
    }
    for row in collected.rows:
        point = points[row.stage_fingerprint]
        assert [read.name for read in row.stages] == ["init", "cooldown"]
        for stage, read in zip(point.plan.stages, row.stages, strict=True):
            ledger = read_json(point.stage_dir(stage) / "ledger.json")["consumed"]
            assert read.tokens == sum(ledger.values())
            assert read.shares == {name: tokens / read.tokens for name, tokens in ledger.items()}
        results = [read_json(p) for p in (swarm / "store").glob("evals/*/results.json")]
        [own] = [r for r in results if r["stage_fingerprint"] == row.stage_fingerprint]
        assert row.metrics["bits_per_byte/prose"] == own["bits_per_byte"]["prose"]["bits_per_byte"]
        assert row.data["prose"] == point.manifests["prose"].content
        assert row.stages[-1].learning_rate == pytest.approx(8.35e-4)
        assert row.parameters > 0 and row.tokenizer and row.scored_on and row.model
        assert all(0 < epochs < 9 for epochs in row.stages[-1].epochs.values())


def test_the_study_itself_is_the_evidence_of_a_proposal(swarm, monkeypatch, capsys):
    monkeypatch.chdir(swarm)
    monkeypatch.setenv("CODEMIX_STORE", "store")
    assert run(["mix", "rows", "study.yaml", "-o", "rows.jsonl"]) == 0
    assert len(read_rows([swarm / "rows.jsonl"])) == 5
    assert run(["mix", "propose", "study.yaml", "--output", "mine.yaml", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["runs"] == 5
    assert run(["plan", "mine.yaml"]) == 0


def test_a_swarm_that_is_half_run_says_what_is_missing_and_goes_on(swarm):
    """More points are asked for: their runs are missing until they are made."""
    more = swarm / "more.yaml"
    more.write_text(STUDY.replace("points: 5", "points: 8"))
    points = contexts(more, swarm / "store", swarm)
    new = [point for point in points if not point.is_trained(point.plan.stages[-1])]
    assert new
    collected = rows_of_study(more, swarm / "store", swarm)
    assert len(collected.rows) == 5
    [note] = collected.notes
    names = ", ".join(point.source.recipe.name for point in new)
    assert note == f"{len(new)} of 8 points are not trained and scored yet: {names}"
    for point in new:
        train_and_score(point, 1, EvalOptions(data_root=swarm))
    collected = rows_of_study(more, swarm / "store", swarm)
    assert len(collected.rows) == 5 + len({point.plan.stages[-1].fingerprint for point in new})
    assert not collected.notes


def test_nothing_run_is_refused(swarm, tmp_path):
    with pytest.raises(CodemixError) as caught:
        rows_of_study(swarm / "study.yaml", tmp_path / "empty", swarm)
    assert "none of the 5 points" in caught.value.problems[0].what


def test_rows_of_other_data_are_refused_or_count_less(swarm):
    space = mix_space(load_study(swarm / "study.yaml"))
    collected = rows(swarm).rows
    changed = [row.model_copy(update={"data": row.data | {"code": "other"}}) for row in collected[:3]]
    with pytest.raises(CodemixError) as caught:
        search(space, changed + collected[3:], swarm / "store", swarm, "x")
    [problem] = caught.value.problems
    assert problem.rule == "evidence-stale" and problem.what.startswith("3 rows")
    (swarm / "weighed.yaml").write_text(STUDY.replace("mix: {", "mix: {stale_weight: 0.25, "))
    weighed = mix_space(load_study(swarm / "weighed.yaml"))
    answer = search(weighed, changed + collected[3:], swarm / "store", swarm, "x", resamples=5)
    assert answer.evidence.weights.tolist() == [0.25] * 3 + [1.0] * 2


def test_a_stage_whose_ledger_is_gone_leaves_no_row(swarm):
    from codemix.eval.evidence.scored import scored_row

    point = contexts(swarm / "study.yaml", swarm / "store", swarm)[0]
    results = {"bits_per_byte": {"prose": {"bits_per_byte": 1.0}}, "tasks": {}, "tokenizer_sha256": "t"}
    assert scored_row(point.plan, 1, Store(swarm / "store"), results, "m", 300) is not None
    assert scored_row(point.plan, 1, Store(swarm / "nowhere"), results, "m", 300) is None
