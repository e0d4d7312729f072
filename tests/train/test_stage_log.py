"""The log that another trainer writes: every step once, the plan's own ledger, a report of it."""

import json
import subprocess
import sys

import pytest
from support.built_run import built_run

from codemix import cli
from codemix.errors import CodemixError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return built_run(tmp_path_factory.mktemp("logged"))


def logged(run, folder, steps=8):
    with run.log("init", folder) as log:
        for step in range(steps):
            log.step(step, loss=3 - step / 10, lr=1e-3)
    return folder


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_whole_log_holds_the_ledger_of_the_plan(run, tmp_path):
    folder = logged(run, tmp_path / "log")
    planned = run.plan.stages[0].planned_tokens()
    ledger = json.loads((folder / "ledger.json").read_text())
    assert ledger["planned"] == ledger["consumed"] == planned
    assert [line["step"] for line in lines(folder)] == list(range(1, 9))
    assert lines(folder)[-1]["tokens"] == sum(planned.values())
    assert json.loads((folder / "done.json").read_text())["steps"] == 8


def test_a_report_is_made_of_it(run, tmp_path, capsys):
    folder = logged(run, tmp_path / "log")
    page = run.report(logs=[folder])
    text = page.read_text()
    assert "was trained by another trainer" in text and "Trained but not scored" not in text
    facts = json.loads(page.with_suffix(".json").read_text())
    training = facts["stages"][0]
    assert training["ledger_equal"] is True
    assert training["curves"]["*"] == pytest.approx([3 - step / 10 for step in range(8)])
    recipe, store, root = run.recipe_file.document.file, run.store.root, run.data_root
    options = ["--store", str(store), "--data-root", str(root), "--run", str(folder)]
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", str(recipe), *options])
    assert stop.value.code == 0 and capsys.readouterr().out.strip() == str(page)


def test_a_run_that_goes_back_drops_what_it_logged_since(run, tmp_path):
    folder = logged(run, tmp_path / "log", steps=6)
    assert not (folder / "ledger.json").exists()
    log = run.log("init", folder)
    for step in range(4, 8):
        log.step(step, loss=1.0)
    log.close()
    assert [line["train/loss_nats_per_token"] for line in lines(folder)] == [3, 2.9, 2.8, 2.7, 1, 1, 1, 1]
    assert (folder / "ledger.json").exists()


def test_a_line_torn_by_a_crash_is_logged_again(run, tmp_path):
    folder = logged(run, tmp_path / "log", steps=5)
    path = folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    log = run.log("init", folder)
    with pytest.raises(CodemixError, match="step 5 of stage `init` is logged where step 4 comes next"):
        log.step(5, loss=1.0)
    log.step(4, loss=1.0)
    log.close()
    assert [line["step"] for line in lines(folder)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("steps", [(1,), (0, 2), (0, 1, 1), (0, 1, 0), (8,), (-1,)])
def test_steps_are_logged_once_and_in_order(run, tmp_path, steps):
    log = run.log("init", tmp_path / "log")
    with pytest.raises(CodemixError) as caught:
        for step in steps:
            log.step(step, loss=1.0)
    assert caught.value.problems[0].rule == "foreign-log"
    log.close()
    assert not (tmp_path / "log" / "ledger.json").exists()


def test_folders_that_are_not_this_log(run, tmp_path):
    whole = logged(run, tmp_path / "log")
    with pytest.raises(CodemixError, match="is the log of `init` .*, this is `cooldown`"):
        run.log("cooldown", whole)
    with pytest.raises(CodemixError, match="is the log of a stage that is finished"):
        run.log("init", whole).step(0, loss=1.0)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.bin").write_text("")
    with pytest.raises(CodemixError, match="holds something else"):
        run.log("init", tmp_path / "other")
    with pytest.raises(CodemixError, match="is not the log of a stage"):
        run.report(logs=[tmp_path / "other"])
    with pytest.raises(CodemixError, match="there is no stage `inti`"):
        run.log("inti", tmp_path / "new")


def test_the_log_of_another_recipe_is_no_part_of_the_report(run, tmp_path):
    folder = logged(run, tmp_path / "log")
    lineage = json.loads((folder / "lineage.json").read_text())
    (folder / "lineage.json").write_text(json.dumps(lineage | {"fingerprint": "0" * 64}))
    with pytest.raises(CodemixError, match="is not a stage of `small`"):
        run.report(logs=[folder])


def test_logging_imports_no_jax(run, tmp_path):
    recipe, store, root = run.recipe_file.document.file, run.store.root, run.data_root
    program = (
        "import sys, codemix\n"
        f"log = codemix.open({str(recipe)!r}, store={str(store)!r}, data_root={str(root)!r})"
        f".log('init', {str(tmp_path / 'log')!r})\n"
        "log.step(0, loss=1.0)\nlog.close()\n"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
