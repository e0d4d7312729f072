"""Planned and consumed tokens, and the alarm when they part."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny

from codemix.data.loader.order import Order
from codemix.errors import CodemixError
from codemix.train.run.ledger import Ledger


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return tiny.make_run(tmp_path_factory.mktemp("ledger"))[0]


def rows_of(stage, step):
    source = Order(stage).rows(step).source.tolist()
    return [source.count(i) for i in range(len(stage.sources))]


def test_planned_tokens_are_those_of_the_plan(plan):
    for stage in plan.stages:
        planned = stage.planned_tokens()
        rows = [sum(counts) for counts in zip(*(s.counts for s in stage.segments), strict=True)]
        assert list(planned.values()) == [n * stage.seq_len for n in rows]
        assert sum(planned.values()) == stage.tokens


def test_a_stage_read_as_planned_closes_to_the_token(plan):
    for stage in plan.stages:
        ledger = Ledger(stage)
        for step in range(stage.steps):
            ledger.check()
            ledger.add(rows_of(stage, step))
        ledger.check()
        tokens = {
            "planned": stage.planned_tokens(),
            "consumed": stage.planned_tokens(),
            "tokens": stage.tokens,
        }
        assert ledger.close() == {"stage": stage.name, "steps": stage.steps, **tokens}


def test_it_goes_on_from_what_a_checkpoint_says(plan):
    stage = plan.stages[0]
    first = Ledger(stage)
    for step in range(4):
        first.add(rows_of(stage, step))
    second = Ledger(stage, dict(first.rows), first.steps)
    for step in range(4, stage.steps):
        second.add(rows_of(stage, step))
    assert second.close()["consumed"] == stage.planned_tokens()


def test_one_row_of_another_source_is_a_mismatch_that_names_both(plan):
    stage = plan.stages[0]
    ledger = Ledger(stage)
    for step in range(stage.steps):
        code, text = rows_of(stage, step)
        ledger.add([code + 1, text - 1] if step == 3 else [code, text])
    ledger.check()  # one row is within what the order may be off at any moment
    with pytest.raises(CodemixError) as error:
        ledger.close()
    assert [(p.rule, p.what) for p in error.value.problems] == [
        ("ledger-mismatch", "stage `init` read 240 tokens of `code`, but the plan says 224"),
        ("ledger-mismatch", "stage `init` read 208 tokens of `text`, but the plan says 224"),
    ]


def test_a_stage_cut_short_is_a_mismatch(plan):
    ledger = Ledger(plan.stages[0])
    with pytest.raises(CodemixError, match="but the plan says 224"):
        ledger.close()


def test_rows_that_are_missing_or_drift_raise_the_alarm_while_training(plan):
    stage = plan.stages[0]
    missing = Ledger(stage)
    missing.add([2, 1])
    with pytest.raises(CodemixError, match="3 rows were read, but the plan says 4") as error:
        missing.check()
    assert error.value.problems[0].rule == "ledger-drift"
    drifting = Ledger(stage)
    for _ in range(3):
        drifting.add([4, 0])
    with pytest.raises(
        CodemixError, match="after 3 steps of `init`, 12 rows of `code` were read, the plan says 6.0"
    ):
        drifting.check()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=2, max_size=9), st.integers(1, 7))
def test_the_alarm_is_silent_for_the_order_at_every_step(weights, batch):
    """Against the order itself, for any shares, several segments, and up to nine sources."""
    total = sum(weights)
    counts = [tuple(weights), tuple(reversed(weights))]
    rows = 2 * total - (2 * total) % batch
    cut = 2 * total - rows
    last = list(counts[1])
    for i in range(len(last)):  # rows must be whole steps
        taken = min(cut, last[i])
        last[i] -= taken
        cut -= taken
    from codemix.recipe.planning.plan import Segment, StageSource

    base = PLAN[0]
    names = [f"s{i}" for i in range(len(weights))]
    segments = (Segment(0, total, counts[0]), Segment(total, sum(last), tuple(last)))
    sources = tuple(StageSource(n, 0, counts[0][i] + last[i], 0, 1000, {}) for i, n in enumerate(names))
    stage = replace(
        base, sources=sources, segments=segments, rows=rows, steps=rows // batch, batches=((0, batch),)
    )
    order, ledger = Order(stage), Ledger(stage)
    for step in range(stage.steps):
        source = order.rows(step).source.tolist()
        ledger.add([source.count(i) for i in range(len(names))])
        ledger.check()
    ledger.close()


PLAN = []


@pytest.fixture(autouse=True)
def _plan(plan):
    PLAN[:] = [plan.stages[0]]
