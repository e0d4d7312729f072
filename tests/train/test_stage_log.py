"""The log that another trainer writes: every step once, the plan's own ledger, a report of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.built_run import built_run

import codemix
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


def whole_logs(run, folder, loss=3.0):
    """Logs of all stages of a run, as options of the command line."""
    options = []
    for stage in run.plan.stages:
        with run.log(stage.name, folder / stage.name) as log:
            for step in range(stage.steps):
                log.step(step, loss=loss)
        options += ["--run", str(folder / stage.name)]
    return options


def recipe_like(run, folder, name, *, change=("", "")):
    path = folder / f"{name}.yaml"
    text = run.recipe_file.document.file
    path.write_text(Path(text).read_text().replace("name: small", f"name: {name}").replace(*change))
    return path


@pytest.fixture
def compared(run, capsys):
    def compare(*words):
        options = ["--store", str(run.store.root), "--data-root", str(run.data_root)]
        with pytest.raises(SystemExit) as stop:
            cli.main(["compare", *map(str, words), *options])
        said = capsys.readouterr()
        return stop.value.code, said.out.strip(), said.err

    return compare


def losses_of(page):
    """The rows of the table of losses in the Markdown twin."""
    text = Path(page).with_suffix(".md").read_text()
    rows = [
        re.split(r" *\| *", line.strip("| "))
        for line in text.splitlines()
        if "trainer |" in line or "codemix |" in line
    ]
    return {(row[0], row[2]): row[4:] for row in rows if len(row) == 6 and row[1].isdigit()}


def test_a_comparison_of_logs_alone(run, tmp_path, compared):
    path = recipe_like(run, tmp_path, "half", change=("code: 60%, docs: 40%", "code: 50%, docs: 50%"))
    half = codemix.open(path, store=run.store, data_root=run.data_root)
    logs = [*whole_logs(run, tmp_path / "a", 3.0), *whole_logs(half, tmp_path / "b", 2.5)]
    code, page, _ = compared(run.recipe_file.document.file, path, *logs)
    assert code == 0
    facts = json.loads(Path(page).with_suffix(".json").read_text())
    assert facts["variants"] == [] and [logged["name"] for logged in facts["logged"]] == [
        "small (another trainer)",
        "half (another trainer)",
    ]
    assert losses_of(page) == {
        ("small (another trainer)", "init"): ["another trainer", "3.0000"],
        ("small (another trainer)", "cooldown"): ["another trainer", "3.0000"],
        ("half (another trainer)", "init"): ["another trainer", "2.5000"],
        ("half (another trainer)", "cooldown"): ["another trainer", "2.5000"],
    }
    assert "nothing is called" in facts["answer"][0]


def test_one_recipe_in_two_trainers(tmp_path, compared, run):
    path = recipe_like(run, tmp_path, "twice", change=("codemix: 1\n", "codemix: 1\nseed: 3\n"))
    twice = codemix.open(path, store=run.store, data_root=run.data_root)
    logs = whole_logs(twice, tmp_path / "logs")
    assert compared(path, *logs)[0] == 1  # the one here is not trained yet
    twice.train()
    code, page, _ = compared(path, *logs)
    assert code == 0
    facts = json.loads(Path(page).with_suffix(".json").read_text())
    assert facts["baseline"] == "twice" and [v["name"] for v in facts["variants"]] == ["twice"]
    assert [v["name"] for v in facts["logged"]] == ["twice (another trainer)"]
    text = Path(page).with_suffix(".md").read_text()
    assert "1 recipe, 2 runs" in text and "trained stages of `twice (another trainer)`" in text
    rows = losses_of(page)
    assert rows[("twice", "init")][0] == "codemix" and float(rows[("twice", "init")][1]) > 3
    assert rows[("twice (another trainer)", "init")] == ["another trainer", "3.0000"]
    code, _, error = compared(path, *logs, "--baseline", "twice (another trainer)")
    assert code == 1 and "has no scores" in error


def test_a_run_whose_last_stage_another_trainer_trained(run, tmp_path, compared):
    path = recipe_like(run, tmp_path, "mixed", change=("codemix: 1\n", "codemix: 1\nseed: 4\n"))
    mixed = codemix.open(path, store=run.store, data_root=run.data_root)
    mixed.train()
    cooldown = whole_logs(mixed, tmp_path / "logs", 2.0)[-2:]
    code, page, _ = compared(path, *cooldown)
    assert code == 0
    rows = losses_of(page)
    assert rows[("mixed (another trainer)", "init")] == rows[("mixed", "init")]
    assert rows[("mixed (another trainer)", "cooldown")] == ["another trainer", "2.0000"]
    facts = json.loads(Path(page).with_suffix(".json").read_text())
    assert [len(facts["variants"]), len(facts["logged"])] == [1, 1]
    init = whole_logs(mixed, tmp_path / "init")[:2]
    code, _, error = compared(path, run.recipe_file.document.file, *init)
    assert (
        "not every stage is trained: mixed (another trainer), small" in error
    )  # the store's cooldown continues its init


def test_logs_that_a_comparison_refuses(run, tmp_path, compared):
    recipe = run.recipe_file.document.file
    path = recipe_like(run, tmp_path, "other", change=("steps: 8", "steps: 9"))
    other = codemix.open(path, store=run.store, data_root=run.data_root)
    stray = whole_logs(other, tmp_path / "other-logs")
    code, _, error = compared(recipe, *stray)
    assert code == 1 and "is the log of a stage that none of these recipes has" in error
    twice = [*whole_logs(run, tmp_path / "one"), *whole_logs(run, tmp_path / "two")]
    code, _, error = compared(recipe, *twice)
    assert code == 1 and "are both logs of stage `init`" in error
    with pytest.raises(CodemixError, match="are both logs of stage `init`"):
        run.report(logs=[tmp_path / "one" / "init", tmp_path / "two" / "init"])
    unfinished = logged(run, tmp_path / "part", steps=3)
    code, _, error = compared(recipe, path, "--run", unfinished, *stray)
    assert code == 1 and "left out, because not every stage is trained: small (another trainer)" in error


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
