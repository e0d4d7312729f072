"""A stage trained once a seed, and the mean of its weights."""

import json

import numpy as np
import pytest
from support import tiny

from codemix.train.run import soup
from codemix.train.run.checkpoint import load_model
from codemix.train.run.session import train
from codemix.train.run.status import status

SOUP = tiny.STAGES[1] | {
    "average_seeds": [11, 12],
    "learning_rate": {"kind": "constant", "value": 0.01},
    "cursor": "restart",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    recipe = tiny.make_recipe([tiny.STAGES[0], SOUP, tiny.STAGES[2] | {"cursor": "restart"}])
    plan, store, manifests = tiny.make_run(tmp_path_factory.mktemp("soup"), recipe)
    assert train(plan, store, manifests, options=tiny.options(until=10)) == [
        store.path("stages", "init", plan.stages[0].fingerprint)
    ]
    return plan, store, manifests, train(plan, store, manifests, options=tiny.options())


def test_it_is_the_mean_of_what_each_seed_gives(made):
    plan, store, _, folders = made
    one, two = [
        tiny.weights(store.path("stages", m.name, m.fingerprint)) for m in soup.members(plan.stages[1])
    ]
    mean = tiny.weights(folders[1])
    assert any(one[k].tobytes() != two[k].tobytes() for k in one)
    for name in mean:
        expected = (
            one[name] if mean[name].dtype.kind == "i" else ((one[name] + two[name]) / 2).astype(np.float32)
        )
        np.testing.assert_array_equal(mean[name], expected, err_msg=name)


def test_each_seed_is_the_stage_that_the_seed_alone_would_give(made):
    plan, store, manifests, _ = made
    alone = tiny.make_plan(
        tiny.make_recipe(
            [tiny.STAGES[0], {k: v for k, v in SOUP.items() if k != "average_seeds"} | {"seed": 12}]
        ),
        manifests,
    )
    assert alone.stages[1].fingerprint == soup.members(plan.stages[1])[1].fingerprint


def test_the_ledger_names_every_seed_and_the_next_stage_starts_from_the_mean(made):
    plan, _, _, folders = made
    ledger = json.loads((folders[1] / "ledger.json").read_text())
    assert ledger["consumed"] == ledger["planned"] == plan.stages[1].planned_tokens()
    assert [(s["seed"], s["consumed"]) for s in ledger["seeds"]] == [
        (11, ledger["planned"]),
        (12, ledger["planned"]),
    ]
    done = json.loads((folders[1] / "done.json").read_text())
    assert len(done["averaged"]) == 2
    assert (
        json.loads((folders[2] / "lineage.json").read_text())["parent"]["fingerprint"]
        == plan.stages[1].fingerprint
    )
    assert load_model(folders[1], plan.recipe.model, tiny.VOCAB).norm.shape == (16,)


def test_a_run_that_ends_before_the_mean_has_its_place_goes_on(made):
    plan, store, manifests, folders = made
    mean, work = tiny.weights(folders[1]), store.work(folders[1])
    (folders[1] / "done.json").unlink()
    folders[1].rename(work)
    assert train(plan, store, manifests, options=tiny.options()) == folders
    assert tiny.same_bits(tiny.weights(folders[1]), mean)


def test_status_shows_the_seeds_and_the_mean(made):
    _, store, _, _ = made
    assert sorted(s.name for s in status(store) if s.state == "done") == [
        "continue",
        "continue",
        "continue",
        "cooldown",
        "init",
    ]
