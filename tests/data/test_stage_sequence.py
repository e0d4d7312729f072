"""A stage as a sequence for any trainer: equal to the batches that codemix trains on, by row and by step."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from support.built_run import built_run

import codemix


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return built_run(tmp_path_factory.mktemp("sequence"))


@pytest.fixture
def stage(run):
    return run.stage("init")


def whole(run):
    return [batch for _, batch in run.batches("init", prefetch=0)]


def same(a, b):
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def stacked(rows):
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def test_steps_are_the_batches_that_codemix_trains_on(run, stage):
    for step, batch in enumerate(whole(run)):
        same(stage.steps[step], batch)
    assert len(stage.steps) == 8 == len(list(stage.steps))


def test_rows_are_the_same_in_any_order_of_asking(run, stage):
    batches = whole(run)
    expected = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    same(stacked(list(stage)), expected)
    backwards = [stage[row] for row in reversed(range(len(stage)))]
    same(stacked(backwards[::-1]), expected)
    same(stage[:], expected)
    same(stage[np.array([5, 1, 5])], {name: array[[5, 1, 5]] for name, array in expected.items()})
    same(stage[-1], {name: array[-1] for name, array in expected.items()})


def test_hosts_together_read_each_row_once(run, stage):
    for hosts in (1, 2):
        parts = [stage.steps.of_host(host, hosts) for host in range(hosts)]
        for step, batch in enumerate(whole(run)):
            of_hosts = [part[step] for part in parts]
            same({name: np.concatenate([part[name] for part in of_hosts]) for name in batch}, batch)


def test_the_ledger_counts_what_rows_say(stage):
    source = np.array([int(row["source"]) for row in stage])
    tokens = {name: int((source == number).sum()) * 16 for number, name in enumerate(stage.sources)}
    assert tokens == stage.plan.planned_tokens()


def test_workers_get_it_pickled_and_small(run, stage):
    steps = stage.steps.of_host(1, 2)
    expected = steps[4]
    stage[0]
    assert len(pickle.dumps(stage)) < 100_000
    same(pickle.loads(pickle.dumps(steps))[4], expected)
    same(pickle.loads(pickle.dumps(stage))[7], stage[7])


def test_its_repr_is_stable_and_names_the_stage(run, stage):
    assert repr(stage) == repr(run.stage("init"))
    assert repr(stage).startswith("StageRows(init-") and "0x" not in repr(stage)
    assert repr(stage.steps.of_host(1, 2)).endswith("8 steps, host 1 of 2)")


def test_a_state_is_the_next_row_whatever_the_hosts(stage):
    state = json.loads(json.dumps(stage.steps.of_host(1, 2).state(4)))
    assert state == stage.steps.state(4) == stage.state(4 * 2)
    assert stage.steps.step_of(state) == 4
    assert stage.row_of(state) == 8
    assert stage.steps.step_of(stage.steps.state(8)) == 8


def test_another_stages_state_is_refused(run, stage):
    other = run.stage("cooldown").steps.state(1)
    with pytest.raises(codemix.CodemixError, match="the state is of stage `cooldown`"):
        stage.steps.step_of(other)
    with pytest.raises(codemix.CodemixError, match="not the state of a stage"):
        stage.row_of({"epoch": 3})
    with pytest.raises(codemix.CodemixError, match="row 1,000,000 is beyond"):
        stage.row_of(stage.state(0) | {"row": 1_000_000})
    with pytest.raises(codemix.CodemixError, match="row 7 is inside step 3"):
        stage.steps.step_of(stage.state(7))


@pytest.mark.parametrize(
    "ask", [lambda s: s[1000], lambda s: s[-1000], lambda s: s.steps[8], lambda s: s.state(99)]
)
def test_beyond_the_stage_is_an_index_error(stage, ask):
    with pytest.raises(IndexError, match="beyond stage init"):
        ask(stage)


def test_hosts_that_do_not_divide_a_batch_are_refused(stage):
    with pytest.raises(codemix.CodemixError, match="2 rows has no 3 equal parts"):
        stage.steps.of_host(0, 3)
    with pytest.raises(IndexError):
        stage.steps.of_host(2, 2)


def test_rows_for_transformers_have_every_target_once(stage):
    rows = stage.for_transformers()
    for number in range(len(stage)):
        plain, labelled = stage[number], rows[number]
        np.testing.assert_array_equal(labelled["input_ids"][:-1], plain["inputs"])
        shifted = labelled["labels"][1:]
        np.testing.assert_array_equal(shifted, np.where(plain["weights"] > 0, plain["targets"], -100))
        np.testing.assert_array_equal(labelled["position_ids"][:-1], plain["positions"])


def test_jax_is_not_imported(run):
    code = f"""
import sys, codemix
run = codemix.open({str(run.recipe_file.document.file)!r}, store={str(run.store.root)!r}, data_root={str(run.data_root)!r})
run.stage("init").steps[1]
print([name for name in ("jax", "grain", "datatrove", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
