"""What a machine lacks is told before the first byte is read, all of it together,
and only where it is needed.
"""

import json
import shutil
import socket
import sys

import pytest

from codemix import cli
from codemix.api import preflight
from codemix.data.inputs.packages import needed_for
from codemix.recipe.checks import validation
from codemix.recipe.language.recipe_file import parse_recipe
from codemix.recipe.language.requirements import Requirement, package
from codemix.sandbox.sandbox import bubblewrap_problem

RECIPE = """\
codemix: 1
name: lacking
tokenizer: {kind: sentencepiece, path: t.model}
sources:
  plain: {read: {kind: jsonl, paths: a.jsonl}, tokens: 100k}
  stack: {read: {kind: parquet, paths: b.parquet}, tokens: 100k}
  cloud: {read: {kind: jsonl, paths: "s3://bucket/c.jsonl"}, tokens: 100k}
  repository: {read: {kind: git, path: repo}, tokens: 100k}
model: {d_model: 64, n_layers: 1, n_heads: 1, d_ff: 64}
training: {seq_len: 64, batch_size: 4}
stages:
  - name: only
    steps: 4
    mixture: {plain: 25%, stack: 25%, cloud: 25%, repository: 25%}
    learning_rate: {kind: constant, value: 1e-3}
"""
ABSENT = ("sentencepiece", "pyarrow", "s3fs")


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A folder with the recipe on a machine without the packages and without git."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE)
    for name in ABSENT:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    bubblewrap_problem.cache_clear()  # whether there is a sandbox is tried once per process
    yield tmp_path
    bubblewrap_problem.cache_clear()


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(w) for w in words])
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        return stop.value.code, out.out, out.err

    return call


PLACES = (
    "r.yaml:3:12  tokenizer",
    "r.yaml:6:17  sources.stack.read",
    "r.yaml:7:17  sources.cloud.read",
    "r.yaml:8:22  sources.repository.read",
)


def test_validate_warns_and_does_not_fail(run, bare):
    code, out, err = run("validate", "r.yaml")
    assert code == 0 and "ok" in out
    assert err.count("warning:") == 5 and all(place in err for place in PLACES)


def test_plan_shows_what_is_missing(run, bare):
    code, out, _ = run("plan", "r.yaml")
    assert code == 0 and "Missing on this machine" in out and "sources.cloud.read" in out
    assert {p["where"]["path"] for p in json.loads(run("plan", "r.yaml", "--json")[1])["missing"]} == {
        "tokenizer",
        "sources.stack.read",
        "sources.cloud.read",
        "sources.repository.read",
    }


@pytest.mark.parametrize("command", [("build-data",), ("run", "--track", "sideways", "--mesh", "data=4096")])
def test_a_build_is_refused_before_it_reads(run, bare, command):
    code, _, err = run(command[0], "r.yaml", *command[1:])
    assert code == 1 and all(place in err for place in PLACES) and not (bare / "store").exists()
    for name in (*ABSENT, "git"):
        assert f"`{name}`, which is not installed" in err
    assert 'pip install "codemix[cloud]"' in err
    if command[0] == "run":
        assert "there is no tracker `sideways`" in err and "the mesh wants 4096 devices" in err


def test_executors_too(run, bare, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "`--executor ray` needs the package `ray`" in run("build-data", "r.yaml", "--executor", "ray")[2]


@pytest.mark.parametrize("words", [("build-data",), ("run",)])
def test_no_slurm_and_no_ray_are_said_before_anything_is_read(run, bare, monkeypatch, words):
    monkeypatch.setenv("PATH", str(bare))
    code, _, err = run(words[0], "r.yaml", "--executor", "slurm")
    assert code == 1 and "needs `sbatch`, which is not on this machine" in err and "login node" in err
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    code, _, err = run(words[0], "r.yaml", "--executor", "ray")
    assert code == 1 and f"no Ray answers at {address}" in err and "Traceback" not in err
    assert not (bare / "store").exists()


def test_nothing_is_asked_for_that_is_there():
    assert not Requirement("testing", "pytest", "").absent
    assert (
        package("", "a-package", "", "no_such_module.inside").absent
        and package("", "x", "", "pytest.nothing").absent
    )


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.jsonl", []),
        ("a.parquet", ["pyarrow"]),
        ("A.PARQUET", ["pyarrow"]),
        ("s3://b/c.pq", ["s3fs", "pyarrow"]),
        ("gs://b/*.jsonl", ["gcsfs"]),
        ("hf://datasets/a/b/**/*.parquet", ["huggingface_hub", "pyarrow"]),
        ("stdlib:abc.py", []),
    ],
)
def test_what_inputs_need_is_known_by_their_names(pattern, names):
    assert [r.name for r in needed_for([pattern])] == names


def test_a_disk_too_small_is_a_warning(tmp_path, monkeypatch):
    from codemix.data.store.store import Store

    plan = validation.check(parse_recipe(RECIPE, "r.yaml")).plan
    assert preflight.disk_warning(plan, Store(tmp_path / "not" / "there")) is None
    monkeypatch.setattr(preflight, "free_bytes", lambda path: 1000)
    warning = preflight.disk_warning(plan, Store(tmp_path))
    assert warning.severity == "warning" and "has 1 kB free" in warning.what


def test_only_what_is_asked_for_is_needed(run, bare):
    (bare / "r.yaml").write_text(
        RECIPE.replace("kind: sentencepiece, path: t.model", "kind: tokenizer_json, path: t.json")
    )
    (bare / "a.jsonl").write_text('{"text": "some words"}\n')
    code, _, err = run("build-data", "r.yaml", "--only", "plain")
    assert code == 1 and "there is no file t.json" in err and "not installed" not in err
    code, _, err = run("build-data", "r.yaml", "--only", "stack")
    assert code == 1 and "pyarrow" in err and "s3fs" not in err


def test_validate_of_a_study_warns_as_validate_of_a_recipe(run, bare):
    study = "codemix: 1\nstudy: two\nquestion: which?\nbase: r.yaml\nseeds: [0, 1]\n"
    (bare / "s.yaml").write_text(study)
    code, out, err = run("validate", "s.yaml")
    assert code == 0 and "2 recipes" in out
    assert err.count("warning:") == 5 and "in the points" in err
    for name in (*ABSENT, "git"):
        assert f"`{name}`, which is not installed" in err


def test_plan_shows_what_scoring_lacks(run, bare):
    tasks = "evaluation: {tasks: [{kind: humaneval}, {kind: mbpp}]}\n"
    (bare / "r.yaml").write_text(RECIPE + tasks)
    code, out, _ = run("plan", "r.yaml", "--json")
    missing = {problem["rule"]: problem["where"]["path"] for problem in json.loads(out)["missing"]}
    assert code == 0 and missing["task-data"] == "evaluation.tasks"
    assert missing["no-sandbox"].startswith("evaluation.tasks")
    run("plan", "r.yaml", "--json")
