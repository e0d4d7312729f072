"""Running a study: every stage trained and scored once, in this process, in several, on Ray and on Slurm;
resumed after a failure.
"""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from codemix.data.store.store import read_json
from codemix.errors import CodemixError
from codemix.eval.options import EvalOptions
from codemix.eval.run_study import build_study, run_study

BASE = """
codemix: 1
name: small
tokenizer: {kind: bpe, vocab_size: 300, train: {bytes: 100kB}}
sources:
  prose: {read: {kind: jsonl, paths: prose.jsonl}, tags: {kind: text}, held_out: 10%}
  code: {read: {kind: jsonl, paths: code.jsonl}, tags: {kind: code}, held_out: 10%}
model: {d_model: 16, n_layers: 1, n_heads: 2, d_ff: 32}
training: {seq_len: 32, batch_size: 4}
stages:
  - {name: init, steps: 6, mixture: {prose: 50%, code: 50%}, learning_rate: {kind: constant, value: 1e-3}}
  - {name: cooldown, steps: 3, mixture: {prose: 80%, code: 20%}, learning_rate: {kind: linear, start: previous, floor: 1e-5}}
evaluation: {max_bytes: 4kB, tasks: [{kind: copa}]}
"""
STUDY = """
codemix: 1
study: small
question: Does code help?
base: base.yaml
variations:
  - name: with-code
  - name: without-code
    set: {stages.cooldown.mixture: {prose: 100%}}
"""
COPA = {
    "premise": "The man broke his toe.",
    "choice1": "He got a hole in his sock.",
    "choice2": "He dropped a hammer on his foot.",
    "question": "cause",
}


@pytest.fixture
def study(tmp_path):
    words = random.Random(0)
    for name, alphabet in (
        ("prose", ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]),
        ("code", ["def", "x", "return", "1", "+", "y", "import", "os"]),
    ):
        rows = [{"id": f"{name}-{i}", "text": " ".join(words.choices(alphabet, k=60))} for i in range(120)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/copa.jsonl").write_text(
        "".join(json.dumps(COPA | {"idx": i, "label": i % 2}) + "\n" for i in range(4))
    )
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def ran(study: Path, store: str = "store", **how):
    options = EvalOptions(data=study / "tasks", data_root=study)
    return run_study(study / "study.yaml", study / store, study, options=options, **how)


def scores(study: Path, store: str = "store") -> dict[str, float]:
    found = [read_json(p) for p in sorted((study / store / "evals").glob("*/results.json"))]
    assert all(r["tasks"]["copa"]["n"] == 4 for r in found)
    return {r["stage_fingerprint"]: r["bits_per_byte"]["prose"]["bits"] for r in found}


def finished(store):
    """When each finished file was written; hidden ones are caches and work in progress."""
    return {
        p: p.stat().st_mtime_ns
        for p in store.rglob("*.json")
        if not any(part.startswith(".") for part in p.relative_to(store).parts)
    }


def test_a_shared_stage_is_trained_once_and_a_second_run_does_nothing(study):
    tree = ran(study)
    assert [(depth, node.stage.name, len(node.recipes)) for depth, node in tree.walk()] == [
        (0, "init", 2),
        (1, "cooldown", 1),
        (1, "cooldown", 1),
    ]
    made = finished(study / "store")
    assert len(scores(study)) == 3
    ran(study)
    assert made == finished(study / "store")


def test_a_stage_that_is_trained_but_not_scored_is_scored_by_the_next_run(study):
    ran(study)
    before = scores(study)
    lost = next((study / "store" / "evals").glob("init-*"))
    shutil.rmtree(lost)
    ran(study, workers=2)
    assert scores(study) == before


def test_processes_beside_each_other_give_the_same_scores(study, monkeypatch):
    monkeypatch.setattr("codemix.data.execution.runner.IN_PROCESS_BYTES", 0)
    ran(study)
    ran(study, "other", workers=2)
    assert scores(study, "other") == scores(study)


def test_a_stage_that_fails_is_named_and_the_next_run_goes_on(study):
    build_study(study / "study.yaml", study / "store", study)
    [shard] = study.glob("store/data/prose-*/shards/train-*.ds")
    shard.rename(study / "away")
    with pytest.raises(CodemixError, match="init: "):
        ran(study, workers=2)
    (study / "away").rename(shard)
    ran(study, workers=2)
    assert len(scores(study)) == 3


@pytest.mark.optional("needs the package ray; a minute")
def test_on_a_ray_of_one_machine(study):
    ray = pytest.importorskip("ray")
    ran(study)
    try:
        ran(study, "other", workers=2, executor="ray")
    finally:
        ray.shutdown()
    assert scores(study, "other") == scores(study)


@pytest.mark.optional("needs a running Slurm (slurmctld, slurmd); some minutes")
def test_on_a_slurm_of_one_machine(study):
    if not shutil.which("sinfo") or subprocess.run(["sinfo", "--noheader"], capture_output=True).returncode:
        pytest.skip("there is no Slurm that answers")
    ran(study)
    ran(study, "other", workers=2, executor="slurm")
    assert scores(study, "other") == scores(study)
