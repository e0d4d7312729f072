"""What scoring needs is told before training, all of it together, at its place in the recipe."""

import json
import sys
from pathlib import Path

import pytest

from codemix import cli
from codemix.eval.measure import requirements
from codemix.eval.options import EvalOptions
from codemix.recipe.language.recipe_file import parse_recipe
from codemix.sandbox import sandbox

RECIPE = """\
codemix: 1
name: scored
tokenizer: {kind: bpe, vocab_size: 300}
sources:
  a: {read: {kind: jsonl, paths: a.jsonl}, tokens: 100k}
model: {d_model: 64, n_layers: 1, n_heads: 1, d_ff: 64}
training: {seq_len: 64, batch_size: 4}
stages:
  - {name: only, steps: 4, mixture: {a: 100%}, learning_rate: {kind: constant, value: 1e-3}}
evaluation:
  tasks:
    - {kind: piqa, path: piqa.jsonl}
    - {kind: humaneval, path: he.jsonl}
    - {kind: boolq}
    - {kind: copa}
"""
PIQA = {"goal": "g", "sol1": "a", "sol2": "b", "label": 5}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A recipe without `--eval-data`, with a wrong right answer, without a file,
    on a machine without bubblewrap and lm-eval.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE)
    (tmp_path / "piqa.jsonl").write_text(json.dumps(PIQA))
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    monkeypatch.setattr(sandbox, "bubblewrap_problem", lambda: "`bwrap` is not installed")
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delenv("CODEMIX_EVAL_DATA", raising=False)
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main([*words])
        return stop.value.code, capsys.readouterr().err

    return call


SAID = (
    "`boolq`, `copa` have no examples",
    "example 1: the right answer is number 5 of 2",
    "there is no file he.jsonl",
    "cannot be isolated",
)


def test_run_says_all_of_it_before_anything_is_read(folder, run):
    code, err = run("run", "r.yaml", "--harness", "lm-eval")
    assert code == 1 and "Traceback" not in err and not list(folder.glob("store/data/*"))
    assert all(
        said in err
        for said in (*SAID, "r.yaml:12:7  evaluation.tasks[0]", "`lm_eval`, which is not installed")
    ), err


def test_train_warns_of_it_and_trains_all_the_same(folder, run):
    code, err = run("train", "r.yaml")
    assert code == 1 and "not built yet" in err  # it went on to the data
    assert all(said in err for said in SAID) and err.count("warning:") >= 4, err


def test_a_study_is_refused_before_its_data_is_built(folder, run):
    (folder / "s.yaml").write_text("codemix: 1\nstudy: s\nbase: r.yaml\nseeds: [1, 2]\n")
    code, err = run("study", "run", "s.yaml")
    assert code == 1 and all(said in err for said in SAID) and not list(folder.glob("store/data/*")), err


def test_consent_and_files_are_enough(folder):
    (folder / "d").mkdir()
    for kind, row in (
        ("piqa", PIQA | {"label": 1}),
        ("boolq", {"question": "q", "passage": "p", "answer": True}),
    ):
        (folder / "d" / f"{kind}.jsonl").write_text(json.dumps(row))
    content = (
        RECIPE.replace(", path: piqa.jsonl", "")
        .replace("    - {kind: copa}\n", "")
        .replace("he.jsonl", "d/he.jsonl")
    )
    source = parse_recipe(content, "r.yaml")
    row = {"task_id": "t", "prompt": "p", "canonical_solution": "s", "test": "t", "entry_point": "e"}
    (folder / "d" / "he.jsonl").write_text(json.dumps(row))
    assert requirements.problems(source, EvalOptions(data=Path("d"), unsafe_exec="subprocess")) == []
    [problem] = requirements.problems(source, EvalOptions(data=Path("d")))
    assert problem.rule == "no-sandbox" and problem.where.path == "evaluation.tasks[1]"


def test_it_imports_nothing_heavy():
    import subprocess

    heavy = "jax", "numpy", "datatrove", "tokenizers", "pyarrow"
    program = (
        f"import sys, codemix.eval.measure.requirements; print([m for m in {heavy} if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
