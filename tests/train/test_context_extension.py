"""A stage with a base of angles of its own: trained, resumed, read back and inherited as the recipe says."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from support import tiny

from codemix.recipe.planning.planner import End
from codemix.train.model.decoder import hidden
from codemix.train.model.huggingface import export
from codemix.train.run.checkpoint import load_model
from codemix.train.run.session import train

BASE = 500_000.0
FIRST, LONG, AFTER = tiny.STAGES
LONG = LONG | {"seq_len": 32, "rope_theta": BASE, "cursor": "restart"}
AFTER = AFTER | {"seq_len": 32}


def bases(plan):
    return [stage.model.rope_theta for stage in plan.stages]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan, store, manifests = tiny.make_run(
        tmp_path_factory.mktemp("long"), tiny.make_recipe([FIRST, LONG, AFTER])
    )
    return plan, train(plan, store, manifests, options=tiny.options())


def test_the_base_holds_from_the_stage_that_says_it(run):
    plan, folders = run
    assert bases(plan) == [10_000.0, BASE, BASE]
    for stage, folder, base in zip(plan.stages, folders, bases(plan), strict=True):
        assert load_model(folder, stage.model, tiny.VOCAB).rope_theta == base
        assert json.loads((folder / "lineage.json").read_text())["model"]["rope_theta"] == base


def test_it_changes_what_is_trained_and_every_identity_from_there_on(run, tmp_path):
    plan, folders = run
    without = {key: value for key, value in LONG.items() if key != "rope_theta"}
    other, store, manifests = tiny.make_run(tmp_path, tiny.make_recipe([FIRST, without, AFTER]))
    assert [a.fingerprint == b.fingerprint for a, b in zip(plan.stages, other.stages, strict=True)] == [
        True,
        False,
        False,
    ]
    ends = train(other, store, manifests, options=tiny.options())
    alike = [tiny.same_bits(tiny.weights(a), tiny.weights(b)) for a, b in zip(folders, ends, strict=True)]
    assert alike == [True, False, False]
    stated = tiny.make_recipe([FIRST, without | {"rope_theta": 10_000.0}, AFTER])
    assert tiny.make_plan(stated, manifests).stages[1].fingerprint == other.stages[1].fingerprint


def test_a_stage_trains_as_one_whose_model_has_that_base(tmp_path):
    by_stage = tiny.make_recipe([FIRST | {"rope_theta": BASE}], model={"rope_theta": 7.0})
    by_model = tiny.make_recipe([FIRST], model={"rope_theta": BASE})
    ends = []
    for number, recipe in enumerate((by_stage, by_model)):
        plan, store, manifests = tiny.make_run(tmp_path / str(number), recipe)
        ends += train(plan, store, manifests, options=tiny.options())
    assert ends[0].name == ends[1].name  # one identity
    assert tiny.same_bits(*map(tiny.weights, ends))


def test_a_resumed_run_ends_in_the_same_bits(run, tmp_path):
    plan, folders = run
    again, store, manifests = tiny.make_run(tmp_path, plan.recipe)
    for until in (3, 8, 10, 15):
        train(again, store, manifests, options=tiny.options(until=until, save_every_steps=1))
    ends = train(again, store, manifests, options=tiny.options())
    assert all(tiny.same_bits(tiny.weights(a), tiny.weights(b)) for a, b in zip(folders, ends, strict=True))


def test_export_says_the_base_and_the_length_of_its_stage(run, tmp_path):
    plan, folders = run
    for stage, folder in zip(plan.stages, folders, strict=True):
        model = load_model(folder, stage.model, tiny.VOCAB)
        out = export(model, stage.model, tmp_path / stage.name, seq_len=stage.seq_len, eos_id=0)
        config = json.loads((out / "config.json").read_text())
        said = (
            config["rope_theta"],
            config["rope_parameters"]["rope_theta"],
            config["max_position_embeddings"],
        )
        assert said == (stage.model.rope_theta, stage.model.rope_theta, stage.seq_len)
    ids = jnp.arange(12)[None]
    before = dataclasses.replace(model, rope_theta=10_000.0)
    assert not np.allclose(hidden(model, ids), hidden(before, ids))


def test_a_stage_of_another_recipe_hands_its_base_on(run):
    plan, _ = run
    end = End(plan.stages[-1], {})

    def planned(stage, **model):
        recipe = tiny.make_recipe(
            [FIRST | {"init_from": {"recipe": "a.yaml", "stage": "x"}} | stage], model=model
        )
        planner = tiny.Planner(recipe, {}, lambda *_: end)
        return planner.plan(), [
            problem.problem for problem in planner.problems if problem.problem.rule == "model-changes"
        ]

    _, [problem] = planned({})
    assert any("rope_theta: 500000" in hint for hint in problem.hints)
    for stage, model, base in (({}, {"rope_theta": BASE}, BASE), ({"rope_theta": 2e6}, {}, 2e6)):
        one, problems = planned(stage, **model)
        assert problems == [] and bases(one) == [base]
    assert planned({"rope_theta": 2e6}, d_ff=64)[1] != []
