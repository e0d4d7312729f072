"""The Python door: what `import codemix` gives, without changing the process,
and that a run goes through it.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

import codemix
from codemix.cli.app import run as command

RECIPE = """\
codemix: 1
name: small
tokenizer: {kind: bpe, vocab_size: 300, train: {bytes: 10kB}}
sources:
  code: {read: {kind: jsonl, paths: code.jsonl}, tags: {kind: code}, held_out: 10%, max_epochs: 50}
model: {d_model: 8, n_layers: 1, n_heads: 1, d_ff: 8}
training: {seq_len: 16, batch_size: 2}
stages:
  - {name: init, steps: 6, mixture: {code: 100%}, learning_rate: {kind: constant, value: 1e-3}}
  - {name: cooldown, steps: 2, mixture: {code: 100%}, learning_rate: {kind: linear, start: previous, floor: 0}}
evaluation: {max_bytes: 2kB}
"""


def in_a_fresh_interpreter(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    (folder / "small.yaml").write_text(RECIPE)
    rows = [{"text": f"def add_{n}(x):\n    return x + {n}\n"} for n in range(60)]
    (folder / "code.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """The recipe, built."""
    run = codemix.open(folder / "small.yaml", store=folder / "store", data_root=folder)
    assert set(run.build()) == {"code"}
    return run


def test_importing_codemix_changes_nothing_and_imports_nothing():
    code = """
import gc, os, sys
before = dict(os.environ), gc.isenabled(), gc.get_threshold(), set(sys.modules)
import codemix
assert (dict(os.environ), gc.isenabled(), gc.get_threshold()) == before[:3]
print(*sorted(m for m in set(sys.modules) - before[3] if m.partition('.')[0] in ('jax', 'numpy', 'pydantic', 'yaml')))
print(*dir(codemix))
"""
    heavy, names = in_a_fresh_interpreter(code).split("\n")[:2]
    assert heavy == ""
    assert {"open", "Run", "TrainOptions", "EvalOptions"} <= set(names.split())


def test_every_public_name_is_there_and_no_other():
    assert {name: getattr(codemix, name).__name__ for name in codemix.__all__}
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        _ = codemix.opne


def test_opening_and_planning_need_no_jax(folder):
    code = f"""
import sys, codemix
codemix.open({str(folder / "small.yaml")!r}, store={str(folder / "empty")!r}).plan._repr_markdown_()
print(*sorted({{'jax', 'numpy', 'datatrove'}} & set(sys.modules)))
"""
    assert in_a_fresh_interpreter(code).strip() == ""


def test_a_mistake_is_a_codemix_error_with_its_place(folder):
    broken = folder / "broken.yaml"
    broken.write_text(RECIPE.replace("steps: 6", "stepz: 6"))
    with pytest.raises(codemix.CodemixError) as stopped:
        codemix.open(broken)
    [problem] = [p for p in stopped.value.problems if p.rule == "unknown-key"]
    assert problem.where.file == str(broken) and problem.where.line == 9
    assert problem.hints == ("did you mean `steps`?",)


def test_before_it_is_built_a_run_says_what_to_do(folder):
    run = codemix.open(folder / "small.yaml", store=folder / "empty")
    for work in (lambda: run.batches("init"), run.evaluate, run.report):
        with pytest.raises(codemix.CodemixError) as stopped:
            work()
        assert stopped.value.problems[0].rule in ("not-built", "not-trained")
        assert any("codemix " in hint for hint in stopped.value.problems[0].hints)


def test_what_is_wrong_with_files_is_reported_of_every_source_at_its_line(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"content": "words"}\n')
    recipe = tmp_path / "recipe.yaml"
    lines = [
        "codemix: 1",
        "name: wrong-files",
        "tokenizer: {kind: tokenizer_json, path: absent.json}",
        "sources:",
        "  rows: {read: {kind: jsonl, paths: rows.jsonl}}",
        "  none: {read: {kind: text, paths: 'nothing/*.txt'}}",
        "  ops: {read: {kind: text, paths: recipe.yaml}, ops: [{kind: decontaminate, paths: 'eval/*'}]}",
        "model: {d_model: 16, n_layers: 1, n_heads: 1, d_ff: 32}",
        "training: {seq_len: 8, batch_size: 1}",
        "stages:",
        "  - name: only",
        "    steps: 3",
        "    mixture: {rows: 50%, none: 25%, ops: 25%}",
        "    learning_rate: {kind: constant, value: 1e-3}",
    ]
    recipe.write_text("\n".join(lines))
    with pytest.raises(codemix.CodemixError) as stopped:
        codemix.open(recipe, store=tmp_path / "store", data_root=tmp_path).build()
    found = [(problem.where.line, problem.where.path) for problem in stopped.value.problems]
    assert found == [
        (3, "tokenizer"),
        (5, "sources.rows.read"),
        (6, "sources.none.read"),
        (7, "sources.ops.ops[0]"),
    ]


def test_a_plan_is_short_in_a_terminal_and_tables_in_a_notebook(run):
    plan = run.plan
    assert (
        repr(plan).startswith("Plan(small: StagePlan(init, 192 tokens in 6 steps, ") and len(repr(plan)) < 200
    )
    assert "| init | code |" in plan._repr_markdown_()
    page = plan._repr_html_()
    assert page.count("<table>") == page.count("</table>") == 3
    assert '<td style="text-align: left">init</td>' in page
    assert repr(run).startswith("Run(")


def test_html_of_a_table_is_escaped():
    from codemix.tables import Table

    page = Table("<b>", ["a", ">b"], [["<i>\n&", "1"]], ["<note>"]).html()
    assert "<b>" not in page and "<note>" not in page
    assert '<td style="text-align: left">&lt;i&gt;<br>&amp;</td><td style="text-align: right">1</td>' in page


def test_batches_start_anywhere_and_end_with_the_stage(run):
    whole = dict(run.batches("init"))
    assert list(whole) == list(range(6))
    later = dict(run.batches("init", start=4))
    assert list(later) == [4, 5]
    for step, batch in later.items():
        assert all(np.array_equal(batch[name], whole[step][name]) for name in batch)
    inputs = whole[0]["inputs"]
    assert inputs.shape == (2, 16) and inputs.dtype == np.int32
    one_host = dict(run.batches("init", rows=[(1, 2)]))
    assert np.array_equal(one_host[3]["inputs"], whole[3]["inputs"][1:2])
    assert list(run.batches("init", start=6)) == []


@pytest.mark.parametrize(
    ("stage", "start", "rule"),
    [("nit", 0, "unknown-stage"), ("init", 7, "step-outside"), ("init", -1, "step-outside")],
)
def test_batches_that_do_not_exist(run, stage, start, rule):
    with pytest.raises(codemix.CodemixError) as stopped:
        run.batches(stage, start=start)
    [problem] = stopped.value.problems
    assert problem.rule == rule and problem.hints


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ({"executor": "dask"}, "unknown-executor"),
        ({"executor": None}, "unknown-executor"),
        ({"workers": 0}, "no-workers"),
        ({"workers": -1}, "no-workers"),
        ({"only": "edoc"}, "unknown-source"),
        ({"only": ["nope"]}, "unknown-source"),
    ],
)
def test_a_build_that_does_not_exist_is_refused_also_where_nothing_is_left_to_build(run, asked, rule):
    with pytest.raises(codemix.CodemixError) as caught:
        run.build(**asked)
    assert caught.value.problems[0].rule == rule


def test_a_name_or_a_path_alone_is_one_thing(run, tmp_path):
    assert set(run.build(only="code")) == {"code"}
    with pytest.raises(codemix.CodemixError, match="no-log is not the log of a stage"):
        run.report(logs="no-log")


@pytest.mark.parametrize("rows", [[], [(1, 0)], [(0, 0)], [(0, 3)], [(-1, 1)]])
def test_rows_that_no_batch_has_are_refused(run, rows):
    with pytest.raises(IndexError, match="batch of 2"):
        next(run.batches("init", rows=rows))


def test_training_calls_back_after_each_step_and_the_rest_follows(run):
    steps = []
    folders = run.train(codemix.TrainOptions(live=False), on_step=steps.append)
    assert list(folders) == ["init", "cooldown"]
    assert [(s.stage, s.step, s.run_step) for s in steps] == [
        *(("init", n, n) for n in range(1, 7)),
        *(("cooldown", n, 6 + n) for n in range(1, 3)),
    ]
    assert steps[-1].tokens == 8 * 32
    last = json.loads((folders["cooldown"] / "metrics.jsonl").read_text().splitlines()[-1])
    assert steps[-1].lr == last["lr"]
    again = []
    assert run.train(on_step=again.append) == folders and again == []

    scores = run.evaluate(stage="cooldown")
    assert list(scores.results) == ["cooldown"] and repr(scores) == "Scores(cooldown)"
    assert "| code |" in scores._repr_markdown_() and "<table>" in scores._repr_html_()
    page = run.report()
    assert page.suffix == ".html" and page.is_file()
    finished = run.finish()
    assert finished.stages == folders and finished.report == page
    assert list(finished.scores.paths) == ["init", "cooldown"]


def test_two_trained_recipes_are_compared_and_one_that_is_not_trained_is_left_out(folder, run, capsys):
    places = {"store": folder / "store", "data_root": folder}
    for name, rate in (("faster", "2e-3"), ("untrained", "3e-3")):
        text = RECIPE.replace("name: small", f"name: {name}").replace("value: 1e-3", f"value: {rate}")
        (folder / f"{name}.yaml").write_text(text)
    small, faster, untrained = (folder / f"{name}.yaml" for name in ("small", "faster", "untrained"))
    run.train(codemix.TrainOptions(live=False))
    with pytest.raises(codemix.CodemixError, match="a comparison needs two trained runs"):
        codemix.compare(small, **places)
    codemix.open(faster, **places).train(codemix.TrainOptions(live=False))
    page = codemix.compare([small, faster, untrained], baseline="faster", question="Which rate?", **places)
    assert page.suffix == ".html" and "Which rate?" in page.with_suffix(".md").read_text()
    assert "left out, because not every stage is trained: untrained" in capsys.readouterr().err


def test_commands_that_print_facts_print_json_of_them_too(folder, run, capsys):
    def json_of(*words, code=0):
        places = ("--store", folder / "store", "--data-root", folder)
        given = words if words[0] == "fmt" else (*words, *places)
        assert command([*map(str, given), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    recipe = folder / "small.yaml"
    folders = run.train(codemix.TrainOptions(live=False))
    assert json_of("train", recipe) == {stage: str(path) for stage, path in folders.items()}
    lock = recipe.with_suffix(".lock")
    assert json_of("lock", recipe) == {"locks": [str(lock)]}
    assert json_of("lock", "--check", recipe) == {"locks": {str(lock): []}}
    lock.write_text(lock.read_text().replace(run.workspace.found["code"].fingerprint, "0" * 64))
    [difference, *_] = json_of("lock", "--check", recipe, code=1)["locks"][str(lock)]
    assert difference["rule"].startswith("lock-")
    (folder / "loose.codemix.yaml").write_text("a:   1\n")
    checked = json_of("fmt", "--check", folder / "loose.codemix.yaml", code=1)
    assert checked == {"differing": [str(folder / "loose.codemix.yaml")], "problems": []}


def test_a_run_finishes_what_it_has_built_when_inputs_change_meanwhile(tmp_path):
    (tmp_path / "small.yaml").write_text(RECIPE)
    code = tmp_path / "code.jsonl"
    rows = [json.dumps({"text": f"def add_{n}(x):\n    return x + {n}\n"}) + "\n" for n in range(60)]
    code.write_text("".join(rows))
    run = codemix.open(tmp_path / "small.yaml", store=tmp_path / "store", data_root=tmp_path)
    training = codemix.TrainOptions(
        live=False, on_step=lambda step: code.write_text("".join(rows[step.step :]))
    )
    finished = run.finish(training=training)
    assert list(finished.stages) == ["init", "cooldown"] and finished.report.is_file()


def test_what_a_callback_raises_stops_training_and_the_next_call_resumes(folder, run):
    other = folder / "other.yaml"
    other.write_text(RECIPE.replace("name: small", "name: other\nseed: 5"))
    resumed = codemix.open(other, store=run.store.root, data_root=folder)

    def stop(metrics):
        if metrics.step == 4:
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        resumed.train(codemix.TrainOptions(save_every_steps=2, live=False), on_step=stop)
    seen = []
    resumed.train(codemix.TrainOptions(live=False), on_step=lambda metrics: seen.append(metrics.run_step))
    assert seen[0] in (3, 5) and seen[-1] == 8
