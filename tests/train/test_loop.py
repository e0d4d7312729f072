"""What `train` does with a store: finds what is done, goes on with what was begun, and says what is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import tiny

from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.recipe.language import schema
from codemix.recipe.language.yaml_text import parse
from codemix.train.model.mesh import make_mesh
from codemix.train.run import context, session, soup
from codemix.train.run import loop as stages
from codemix.train.run import status as status_module
from codemix.train.run.loss_alarm import Spike
from codemix.train.run.options import TrainOptions
from codemix.train.run.session import train, train_stage
from codemix.train.run.status import status


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    plan, store, manifests = tiny.make_run(tmp_path_factory.mktemp("made"))
    return plan, store, manifests, train(plan, store, manifests, options=tiny.options())


def problems(error):
    return [p.rule for p in error.value.problems]


def test_every_stage_is_in_the_store_whole(made):
    plan, store, _, folders = made
    for stage, folder in zip(plan.stages, folders, strict=True):
        assert folder == store.path("stages", stage.name, stage.fingerprint)
        assert {p.name for p in folder.iterdir()} == {
            "recipe.yaml",
            "lineage.json",
            "metrics.jsonl",
            "checkpoints",
            "ledger.json",
            "done.json",
            "SHA256SUMS",
        }
        assert [p.name for p in (folder / "checkpoints").iterdir()] == [str(stage.steps)]
        ledger = json.loads((folder / "ledger.json").read_text())
        assert ledger["planned"] == ledger["consumed"] == stage.planned_tokens()
        done = json.loads((folder / "done.json").read_text())
        assert (
            done["fingerprint"] == stage.fingerprint
            and done["mesh"] == {"data": 1, "fsdp": 1, "model": 1}
            and "jax" in done["versions"]
        )
        assert (
            json.loads((folder / "lineage.json").read_text())["path"][-1]["fingerprint"] == stage.fingerprint
        )


def test_the_recipe_is_kept_whole(made):
    plan, _, _, folders = made
    value = parse((folders[0] / "recipe.yaml").read_text(), "recipe.yaml").value
    value["tokenizer"] = tiny.Numbers()
    for source in value["sources"].values():
        source["read"] = tiny.Made()
    assert schema.Recipe.model_validate(value) == plan.recipe


def test_done_stages_are_found_and_nothing_is_trained(made, monkeypatch, capsys):
    plan, store, manifests, folders = made
    monkeypatch.setattr(session, "run_stage", lambda *_: pytest.fail("a finished stage was trained again"))
    assert train(plan, store, manifests, options=tiny.options()) == folders
    assert capsys.readouterr().err.count("in the store already") == 3


def test_a_stage_that_was_copied_in_part_is_said_before_it_is_trained_again(tmp_path):
    plan, store, manifests = tiny.make_run(tmp_path)
    final = store.path("stages", "init", plan.stages[0].fingerprint)
    (final / "checkpoints").mkdir(parents=True)
    with pytest.raises(CodemixError, match=f"not whole, it has no done.json\nhint: delete {final}"):
        train(plan, store, manifests, options=tiny.options(until=1))
    assert not store.work(final).exists()


def test_recipes_that_begin_alike_share_their_first_stages(made):
    plan, store, manifests, folders = made
    other = tiny.make_plan(
        tiny.make_recipe([*tiny.STAGES[:2], tiny.STAGES[2] | {"name": "long", "steps": 6}], name="other"),
        manifests,
    )
    again = train(other, store, manifests, options=tiny.options())
    assert again[:2] == folders[:2] and again[2] != folders[2]


def test_the_step_compiles_once_for_all_stages(tmp_path):
    context.shared_step.cache_clear()
    plan, store, manifests = tiny.make_run(tmp_path)
    train_stage(plan, 0, store, manifests, options=tiny.options())
    train(plan, store, manifests, options=tiny.options())
    shared = context.shared_step(
        plan.recipe.training,
        plan.recipe.model,
        tiny.VOCAB,
        2,
        make_mesh(),
        microbatches=1,
        remat="none",
    )
    assert context.shared_step.cache_info().misses == 1 and shared.traces == 1


def test_steps_to_keep_for_good_are_saved_whatever_else_is(tmp_path):
    plan, store, manifests = tiny.make_run(tmp_path)
    folder = train_stage(plan, 0, store, manifests, options=tiny.options(keep_every_steps=3, keep=1))
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["3", "6", "7"]


def test_until_stops_with_a_checkpoint_and_the_next_run_goes_on(tmp_path, capsys):
    plan, store, manifests = tiny.make_run(tmp_path)
    assert len(train(plan, store, manifests, options=tiny.options(until=9))) == 1
    assert "stopped after step 2 of `continue`, as asked" in capsys.readouterr().err
    assert [(s.name, s.state, s.checkpoint) for s in status(store)] == [
        ("continue", "stopped", 2),
        ("init", "done", 7),
    ]
    assert train_stage(plan, 1, store, manifests, options=tiny.options(until=10)) is None
    assert len(train(plan, store, manifests, options=tiny.options())) == 3


def test_a_stopped_stage_that_a_changed_recipe_leaves_behind_is_named(tmp_path, capsys):
    for batch_size, until in ((4, 5), (4, 6), (2, 3)):
        plan, store, manifests = tiny.make_run(tmp_path, tiny.make_recipe(batch_size=batch_size))
        train(plan, store, manifests, options=tiny.options(until=until))
        if batch_size == 4:  # it begins, it goes on
            assert "begins at step 0" not in capsys.readouterr().err
    said = capsys.readouterr().err
    stopped = [
        f for f in (store.root / ".building" / "stages").iterdir() if (f / "checkpoints" / "6").is_dir()
    ]
    assert (
        f"{stopped[0]} stopped after step 6" in said and "begins at step 0" in said and "codemix diff" in said
    )


def test_until_the_last_step_of_a_stage_finishes_it_and_begins_no_other(tmp_path, capsys):
    plan, store, manifests = tiny.make_run(tmp_path)
    assert len(train(plan, store, manifests, options=tiny.options(until=7))) == 1
    assert "stopped before `continue`, as asked" in capsys.readouterr().err
    assert [(s.name, s.state) for s in status(store)] == [("init", "done")]


def test_a_stage_that_gets_its_place_while_status_reads_is_met_there(made, monkeypatch):
    _, store, _, folders = made

    def moved(path):
        if path.parent == work:
            work.rename(folders[0])
        return read(path)

    work, read = store.work(folders[0]), status_module.read_json
    folders[0].rename(work)
    monkeypatch.setattr(status_module, "read_json", moved)
    assert [(s.name, s.folder) for s in status(store) if s.name == "init"] == [("init", str(folders[0]))]


def test_status_passes_over_a_stage_that_only_begins_and_says_which_is_damaged(tmp_path):
    folder = tmp_path / ".building/stages/init-123456789012"
    folder.mkdir(parents=True)
    assert status(Store(tmp_path)) == []
    (folder / "lineage.json").write_text("{")
    with pytest.raises(CodemixError, match="is damaged"):
        status(Store(tmp_path))


def test_weights_alone_or_the_whole_state_come_from_the_parent(made, tmp_path):
    _, _, manifests, folders = made
    fixed = {"kind": "constant", "value": 1e-12}
    ends = {}
    for kept in ("keep", "reset"):
        after = tiny.STAGES[0] | {"name": "next", "steps": 1, "learning_rate": fixed, "optimizer_state": kept}
        plan = tiny.make_plan(tiny.make_recipe([tiny.STAGES[0], after]), manifests)
        ends[kept] = tiny.weights(train(plan, Store(made[1].root), manifests, options=tiny.options())[1])
    start = tiny.weights(folders[0])
    assert np.allclose(ends["keep"][".model.embedding"], start[".model.embedding"], atol=1e-9)
    assert np.allclose(ends["reset"][".model.embedding"], start[".model.embedding"], atol=1e-9)
    [count] = [k for k in start if k.endswith(".count")]
    assert (ends["keep"][count], ends["reset"][count]) == (8, 1)


def test_a_stage_of_another_recipe_can_be_the_parent(made, tmp_path):
    plan, store, manifests, folders = made
    other = tiny.make_recipe(
        [tiny.STAGES[2] | {"name": "branch", "init_from": {"recipe": "tiny.yaml", "stage": "init"}}],
        name="branching",
    )
    child = plan.stages[2]
    branch = replace(
        child,
        name="branch",
        index=0,
        spec=other.stages[0],
        parent=plan.stages[0],
        run_tokens=plan.stages[0].tokens,
    )
    branch = replace(branch, fingerprint=soup.stage_fingerprint(branch))
    folder = train_stage(
        replace(plan, recipe=other, stages=(branch,)), 0, store, manifests, options=tiny.options()
    )
    lineage = json.loads((folder / "lineage.json").read_text())
    assert lineage["parent"]["fingerprint"] == plan.stages[0].fingerprint and lineage["run_steps_before"] == 7
    with pytest.raises(CodemixError, match="starts from `init`, which is not in the store") as error:
        train_stage(
            replace(plan, recipe=other, stages=(branch,)),
            0,
            Store(tmp_path),
            manifests,
            options=tiny.options(),
        )
    assert problems(error) == ["parent-missing"]


def test_sources_that_are_not_built_or_speak_another_tokenizer_are_refused(made, tmp_path):
    plan, _, manifests, _ = made
    with pytest.raises(CodemixError, match="source `text` is not built") as error:
        train(plan, Store(tmp_path), {"code": manifests["code"]}, options=tiny.options())
    assert problems(error) == ["not-built"]
    other = tiny.make_source(Store(tmp_path), "text", sha256="1" * 64)
    with pytest.raises(CodemixError, match="different tokenizers") as error:
        train(plan, Store(tmp_path), manifests | {"text": other}, options=tiny.options())
    assert problems(error) == ["tokenizer-mismatch"]


def test_a_loss_that_is_no_number_stops_and_names_the_rows(tmp_path, monkeypatch):
    plan, store, manifests = tiny.make_run(tmp_path)
    spoil(monkeypatch, 4, lambda batch: batch["weights"].fill(np.nan))
    with pytest.raises(CodemixError, match="not a number at step 5 of `init`") as error:
        train(plan, store, manifests, options=tiny.options(save_every_steps=3))
    assert problems(error) == ["loss-not-finite"]
    assert "`text` window" in str(error.value) and "(text/" in str(error.value)
    assert "the checkpoint after step 3 is kept" in str(error.value)
    [seen] = status(store)
    stopped = json.loads((Path(seen.folder) / "stopped.json").read_text())
    assert (
        stopped["step"] == 5
        and len(stopped["rows"]) == 4
        and all(row["documents"] for row in stopped["rows"])
    )
    assert (seen.checkpoint, seen.stopped_by) == (3, "loss-not-finite")
    monkeypatch.undo()
    finished = train(plan, store, manifests, options=tiny.options())
    assert len(finished) == 3 and not (finished[0] / "stopped.json").exists()


def spoil(monkeypatch, at, change):
    batches = stages.batches

    def spoiled(*arguments, **words):
        for step, batch in batches(*arguments, **words):
            if step == at:
                batch = {k: v.copy() for k, v in batch.items()}
                change(batch)
            yield step, batch

    monkeypatch.setattr(stages, "batches", spoiled)


def test_a_source_read_in_place_of_another_fails_the_ledger(tmp_path, monkeypatch):
    plan, store, manifests = tiny.make_run(tmp_path)

    def swap(batch):
        batch["source"][0] = 1 - batch["source"][0]

    spoil(monkeypatch, 4, swap)
    with pytest.raises(CodemixError, match="but the plan says 224") as error:
        train(plan, store, manifests, options=tiny.options())
    assert set(problems(error)) == {"ledger-mismatch"}
    begun = store.path("stages", plan.stages[0].name, plan.stages[0].fingerprint)
    assert store.work(begun).exists() and not begun.exists()


def test_a_spike_is_a_jump_and_not_noise():
    spike, rng = Spike(), np.random.default_rng(0)
    assert all(spike.add(4 + x) is None for x in rng.normal(0, 0.05, 200))
    assert spike.add(4.9) is None  # less than a nat
    assert spike.add(6.0) == pytest.approx(4.0, abs=0.05)
    assert (
        sum(spike.add(6.0) is not None for _ in range(100)) <= 2
    )  # it stays up: `--on-spike warn` says so a few times, not at each step
    early = Spike()
    assert all(early.add(x) is None for x in (4.0, 9.0, 4.0))


@pytest.mark.parametrize("on_spike", ["stop", "warn"])
def test_a_spike_stops_or_warns(tmp_path, monkeypatch, capsys, on_spike):
    plan, store, manifests = tiny.make_run(tmp_path)
    monkeypatch.setattr(stages.loss_alarm, "Spike", lambda: SimpleSpike())
    if on_spike == "warn":
        assert len(train(plan, store, manifests, options=tiny.options(on_spike="warn"))) == 3
        assert "warning: the loss jumped from 1.000 to" in capsys.readouterr().err
    else:
        with pytest.raises(
            CodemixError, match="the loss jumped from 1.000 to 4.* at step 3 of `init`"
        ) as error:
            train(plan, store, manifests, options=tiny.options())
        assert problems(error) == ["loss-spike"] and "on-spike warn" in str(error.value)


class SimpleSpike:
    """A jump at the third step."""

    def __init__(self):
        self.n = 0

    def add(self, loss):
        self.n += 1
        return 1.0 if self.n == 3 else None


@pytest.mark.parametrize(
    "word",
    [
        {"save_every_steps": 0},
        {"keep": 0},
        {"until": 0},
        {"save_every_s": 0.0},
        {"log_every": -1},
        {"on_spike": "wanr"},
    ],
)
def test_options_that_make_no_sense_are_refused(word):
    with pytest.raises(CodemixError) as error:
        TrainOptions(**word)
    assert problems(error) == ["train-option"] and next(iter(word)) in str(error.value)


@pytest.mark.parametrize(
    ("mesh", "rule"), [({"data": 64}, "mesh-too-big"), ({"data": 0}, "mesh-axis"), ({"rows": 1}, "mesh-axis")]
)
def test_a_mesh_that_does_not_fit_is_refused(made, tmp_path, mesh, rule):
    plan, _, manifests, _ = made
    with pytest.raises(CodemixError) as error:
        train(plan, Store(tmp_path), manifests, options=tiny.options(mesh=mesh))
    assert problems(error) == [rule]


def test_microbatches_change_nothing_but_the_order_of_sums_and_must_divide(made, tmp_path):
    plan, _, manifests, folders = made
    with pytest.raises(CodemixError, match="4 rows per device, which 3 microbatches do not divide") as error:
        train_stage(plan, 0, Store(tmp_path), manifests, options=tiny.options(microbatches=3))
    assert problems(error) == ["microbatches"] and "2 does" in str(error.value)
    folder = train_stage(plan, 0, Store(tmp_path), manifests, options=tiny.options(microbatches=2))
    whole = tiny.weights(folders[0])
    for name, array in tiny.weights(folder).items():
        np.testing.assert_allclose(array, whole[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_log_lines_are_about_a_hundred_a_stage():
    assert [TrainOptions().log_interval(n) for n in (1, 99, 300, 1000, 50_000)] == [1, 1, 3, 10, 10]


def test_a_changing_batch_size_trains_to_the_token(tmp_path):
    stage = tiny.STAGES[0] | {"steps": 8, "batch_size": {"from": 2, "to": 4, "over": "4 steps", "n_steps": 2}}
    plan, store, manifests = tiny.make_run(tmp_path, tiny.make_recipe([stage]))
    assert len(plan.stages[0].batches) > 1
    [folder] = train(plan, store, manifests, options=tiny.options())
    rows = sum(plan.stages[0].batch_size(step) for step in range(8))
    assert json.loads((folder / "ledger.json").read_text())["tokens"] == plan.stages[0].tokens == 16 * rows
