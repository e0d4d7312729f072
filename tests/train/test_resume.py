"""However often training is cut off, and wherever, what comes out is bit for bit what an undisturbed run
gives.
"""

import json
import signal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import tiny

from codemix.errors import CodemixError
from codemix.train.run import loop
from codemix.train.run.metrics import read_metrics
from codemix.train.run.session import train

STEPS = 18  # of the three tiny stages: 7, 6, 5
RECIPE = tiny.make_recipe(
    dropout=0.1
)  # what a step draws must come back too; test_resume_signals.py draws nothing


class Cut(BaseException):
    """Stands for kill -9: nothing is saved, nothing is tidied up."""


def everything(folders):
    """What must be equal: weights and moments, ledgers, and every number of the metrics but those that tell
    the time.
    """
    lines = [
        [
            {k: v for k, v in line.items() if k not in ("time", "tokens_per_s")}
            for line in read_metrics(f / "metrics.jsonl")
        ]
        for f in folders
    ]
    return (
        [tiny.weights(f) for f in folders],
        [json.loads((f / "ledger.json").read_text()) for f in folders],
        lines,
    )


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    plan, store, manifests = tiny.make_run(tmp_path_factory.mktemp("straight"), RECIPE)
    return everything(train(plan, store, manifests, options=tiny.options()))


def test_a_straight_run_is_reproducible_and_its_metrics_cover_every_step_once(straight, tmp_path):
    plan, store, manifests = tiny.make_run(tmp_path, RECIPE)
    weights, ledgers, lines = everything(train(plan, store, manifests, options=tiny.options()))
    assert all(tiny.same_bits(a, b) for a, b in zip(weights, straight[0], strict=True))
    assert (ledgers, lines) == straight[1:]
    assert [[line["step"] for line in stage] for stage in lines] == [[2, 4, 6, 7], [2, 4, 6], [2, 4, 5]]
    assert [line["run_step"] for stage in lines for line in stage] == [2, 4, 6, 7, 9, 11, 13, 15, 17, 18]
    assert lines[-1][-1]["tokens"] == STEPS * 4 * tiny.SEQ_LEN and lines[-1][-1]["lr"] == 1e-6


@settings(max_examples=5, deadline=None)
@example(
    cuts=[(7, "signal"), (7, "kill"), (8, "kill")], every=None, keep=2
)  # at the last step of a stage, and the first of the next
@example(cuts=[(13, "kill"), (14, "signal"), (18, "signal")], every=1, keep=1)
@given(
    cuts=st.lists(
        st.tuples(st.integers(1, STEPS), st.sampled_from(["signal", "kill", "until"])), min_size=1, max_size=3
    ),
    every=st.sampled_from([None, 1, 3, 4]),
    keep=st.integers(1, 2),
)
def test_interrupted_anywhere_up_to_three_times(straight, tmp_path_factory, cuts, every, keep):
    plan, store, manifests = tiny.make_run(tmp_path_factory.mktemp("cut"), RECIPE)
    for at, how in cuts:
        cut_off(plan, store, manifests, at, how, tiny.options(save_every_steps=every, keep=keep))
    finished = train(plan, store, manifests, options=tiny.options(save_every_steps=every, keep=keep))
    weights, ledgers, lines = everything(finished)
    assert all(tiny.same_bits(a, b) for a, b in zip(weights, straight[0], strict=True))
    assert ledgers == straight[1]
    assert lines == straight[2]
    assert not [p for p in (store.root / ".building" / "stages").iterdir() if p.is_dir()]


def cut_off(plan, store, manifests, at, how, options):
    """One run that ends when step `at` of the run is done, or before, if that step was done earlier."""
    import dataclasses

    if how == "until":
        finished = train(plan, store, manifests, options=dataclasses.replace(options, until=at))
        assert sum(s.steps for s in plan.stages[: len(finished)]) <= max(at, STEPS)
        return

    original = loop.StageRun._asked

    def asked(self, done):
        if self.stage.run_steps + done != at:
            return original(self, done)
        if how == "kill":
            raise Cut
        return signal.SIGINT

    loop.StageRun._asked = asked
    try:
        train(plan, store, manifests, options=options)
    except (Cut, KeyboardInterrupt) as error:
        assert isinstance(error, Cut) == (how == "kill")
    finally:
        loop.StageRun._asked = original


def test_a_kill_loses_no_more_than_the_steps_since_the_last_checkpoint(tmp_path):
    plan, store, manifests = tiny.make_run(tmp_path)
    cut_off(plan, store, manifests, 6, "kill", tiny.options(save_every_steps=2))
    work = store.work(store.path("stages", "init", plan.stages[0].fingerprint))
    with loop.Checkpoints(work / "checkpoints") as checkpoints:
        assert checkpoints.latest() == 4


@pytest.mark.parametrize("field", ["seed", "sources.text.data", "model.rope_theta", "plan"])
def test_a_checkpoint_of_something_else_is_refused_by_the_name_of_the_field(tmp_path, monkeypatch, field):
    plan, store, manifests = tiny.make_run(tmp_path)
    cut_off(plan, store, manifests, 3, "signal", tiny.options())
    belongs_to = loop.lineage.belongs_to
    monkeypatch.setattr(loop.lineage, "belongs_to", lambda *a: belongs_to(*a) | {field: "other"})
    with pytest.raises(CodemixError) as error:
        train(plan, store, manifests, options=tiny.options())
    assert [p.rule for p in error.value.problems] == ["checkpoint-mismatch"]
    assert f"`{field}` is" in str(error.value) and "'other' here" in str(error.value)
