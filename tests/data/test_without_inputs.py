"""A store alone is enough to plan and to train: the inputs may be on the machine that built it."""

import json
import shutil
from pathlib import Path

import pytest
from support.built_run import built_run

import codemix
from codemix.data.build.inventory import take_inventory


@pytest.fixture
def run(tmp_path):
    return built_run(tmp_path)


def without(run, *names):
    for name in names:
        (run.data_root / f"{name}.jsonl").unlink()
    return run


def reasons(run):
    return {name: state.reason for name, state in run.workspace.found.items()}


def test_plan_train_and_report_need_no_inputs(run):
    before = [stage.fingerprint for stage in run.plan.stages]
    without(run, "code", "docs")
    assert [stage.fingerprint for stage in run.plan.stages] == before
    assert reasons(run) == dict.fromkeys(("code", "docs"), "its inputs are not here")
    assert set(run.train()) == {"init", "cooldown"}
    assert run.report().exists()


def test_a_store_that_was_copied_is_enough(run, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    before = run.plan.stages[-1].fingerprint
    shutil.copytree(run.store.root, elsewhere / "store")
    shutil.copy(run.recipe_file.document.file, elsewhere / "recipe.yaml")
    there = codemix.open(elsewhere / "recipe.yaml", store=elsewhere / "store", data_root=elsewhere)
    assert there.plan.stages[-1].fingerprint == before
    assert there.stage("init")[0]["inputs"].shape == (16,)


def test_tokens_alone_are_enough(run):
    before = [stage.fingerprint for stage in run.plan.stages]
    without(run, "code", "docs")
    shutil.rmtree(run.store.root / "documents")
    assert [stage.fingerprint for stage in run.plan.stages] == before
    assert set(run.train()) == {"init", "cooldown"}


def test_inputs_that_are_here_and_differ_are_told(run):
    without(run, "docs")
    with open(run.data_root / "code.jsonl", "a") as file:
        file.write(json.dumps({"text": "one more"}) + "\n")
    states = run.workspace.found
    assert not states["code"].built and "input code.jsonl changed" in states["code"].reason
    with pytest.raises(codemix.CodemixError, match="not built yet"):
        run.train()


def test_another_way_of_reading_is_not_what_the_store_has(run):
    without(run, "docs")
    path = Path(run.recipe_file.document.file)
    path.write_text(path.read_text().replace("paths: docs.jsonl}", "paths: docs.jsonl, text: body}"))
    states = codemix.open(path, store=run.store.root, data_root=run.data_root).workspace.found
    assert not states["docs"].built and "there is no file docs.jsonl" in states["docs"].reason


def test_two_versions_of_absent_inputs_are_not_guessed(run):
    with open(run.data_root / "docs.jsonl", "a") as file:
        file.write(json.dumps({"text": "one more"}) + "\n")
    run.build()
    without(run, "docs")
    reason = reasons(run)["docs"]
    assert "the store has documents of 2 versions" in reason


def test_a_ready_tokenizer_need_not_be_here_either(run, tmp_path_factory):
    folder = run.data_root
    [tokenizer] = (run.store.root / "tokenizers").glob("*/tokenizer.json")
    shutil.copy(tokenizer, folder / "ready.json")
    text = Path(run.recipe_file.document.file).read_text()
    ready = text.replace(
        "{kind: bpe, vocab_size: 300, train: {bytes: 10kB}}", "{kind: tokenizer_json, path: ready.json}"
    )
    (folder / "ready.yaml").write_text(ready)
    opened = codemix.open(folder / "ready.yaml", store=run.store.root, data_root=folder)
    opened.build()
    before = [stage.fingerprint for stage in opened.plan.stages]
    without(run, "code", "docs")
    (folder / "ready.json").unlink()
    assert [stage.fingerprint for stage in opened.plan.stages] == before
    assert all(
        state.built for state in take_inventory(opened.recipe_file.recipe, opened.store, folder).values()
    )
