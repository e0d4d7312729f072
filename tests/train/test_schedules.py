"""Learning-rate schedules: named points, continuity, exact ends, and one cosine over several stages."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from codemix.errors import CodemixError
from codemix.recipe.language.component import component_class, kinds
from codemix.train.schedule import Position


def schedule(**fields):
    return component_class("schedule", fields["kind"]).model_validate(fields)


def curve(made, position):
    return [made.lr(replace(position, step=step)) for step in range(position.steps)]


def stage(steps, tokens=100, **fields):
    return Position(step=0, steps=steps, tokens_per_step=((0, tokens),), **fields)


WHOLE = {  # every kind, with a floor and a warm-up of 10 steps
    "cosine": dict(kind="cosine", peak=1e-3, floor=1e-6, warmup="10 steps"),
    "wsd linear": dict(kind="wsd", peak=1e-3, floor=1e-6, warmup="10 steps", decay="30%", shape="linear"),
    "wsd exponential": dict(
        kind="wsd", peak=1e-3, floor=1e-6, warmup="10 steps", decay="30%", shape="exponential"
    ),
    "wsd cosine": dict(kind="wsd", peak=1e-3, floor=1e-6, warmup="10 steps", decay="30%", shape="cosine"),
    "wsd sqrt": dict(kind="wsd", peak=1e-3, floor=1e-6, warmup="10 steps", decay="30%", shape="sqrt"),
    "linear": dict(kind="linear", start=1e-3, floor=1e-6, warmup="10 steps"),
    "exponential": dict(kind="exponential", start=1e-3, floor=1e-6, warmup="10 steps"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_last_step_uses_exactly_the_floor_and_warm_up_ends_exactly_at_the_peak(name):
    rates = curve(schedule(**WHOLE[name]), stage(100))
    assert rates[-1] == 1e-6
    assert rates[0] == pytest.approx(1e-4)  # the first step already learns
    assert rates[9] == 1e-3 == max(rates)
    assert all(a >= b for a, b in zip(rates[9:], rates[10:], strict=False))


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(WHOLE)),
    steps=st.integers(40, 3000),
    change=st.floats(0.1, 0.9),
    factor=st.integers(1, 8),
)
def test_no_rate_jumps_even_where_the_batch_grows(name, steps, change, factor):
    position = Position(0, steps, ((0, 64), (int(steps * change), 64 * factor)))
    rates = curve(schedule(**WHOLE[name]), position)
    decay = (
        0.3 * position.stage_total / (64 * factor)
    )  # steps in the shortest leg of any of them, but for the warm-up
    limit = {"wsd sqrt": math.sqrt(1 / decay), "wsd exponential": 7 / decay}.get(
        name, 7 / min(decay, steps / 2)
    )
    jumps = [abs(b - a) / 1e-3 for a, b in zip(rates, rates[1:], strict=False)]
    assert max(jumps) <= max(limit, 0.1 * factor) + 1e-9
    assert all(0 < rate <= 1e-3 for rate in rates)


@pytest.mark.parametrize("warmup", ["10 steps", "1k tokens", "10%"])
def test_a_warm_up_means_the_same_in_steps_tokens_or_share(warmup):
    made, same = (schedule(kind="cosine", peak=1.0, warmup=text) for text in (warmup, "10 steps"))
    assert curve(made, stage(100)) == curve(same, stage(100))


def test_a_decay_in_steps_is_the_last_steps_of_a_stage_whose_batch_grows():
    made, grown = schedule(kind="wsd", peak=1.0, decay="2 steps"), Position(0, 10, ((0, 100), (6, 400)))
    assert curve(made, grown) == [1.0] * 8 + [0.5, 0.0]
    assert (
        made.problems(grown) == [] and schedule(kind="wsd", peak=1.0, decay="10 steps").problems(grown) == []
    )
    assert [p.rule for p in schedule(kind="wsd", peak=1.0, decay="11 steps").problems(grown)] == [
        "schedule-longer-than-stage"
    ]


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=5), warmup=st.integers(0, 20), total=st.booleans()
)
def test_a_cosine_over_the_run_is_one_cosine_over_its_stages(cuts, warmup, total):
    steps = sum(cuts)
    straight = curve(schedule(kind="cosine", peak=3e-4, floor=1e-6, warmup=f"{warmup} steps"), stage(steps))
    over = steps * 100 if total else "run"
    made = schedule(kind="cosine", peak=3e-4, floor=1e-6, warmup=f"{warmup} steps", over=over)
    parts, before = [], 0
    for cut in cuts:
        parts += curve(
            made, stage(cut, run_tokens=before, run_total=steps * 100, previous=parts[-1] if parts else None)
        )
        before += cut * 100
    assert parts == straight


def test_previous_goes_on_from_the_end_of_the_parent():
    parent = curve(schedule(kind="cosine", peak=3e-4, floor=3e-5), stage(50))
    cooldown = curve(schedule(kind="linear", start="previous", floor=1e-6), stage(10, previous=parent[-1]))
    assert parent[-1] == 3e-5
    assert cooldown[0] == pytest.approx(3e-5 - (3e-5 - 1e-6) / 10)
    assert cooldown[-1] == 1e-6
    assert curve(schedule(kind="constant", value="previous"), stage(3, previous=5e-5)) == [5e-5] * 3
    rewarm = curve(
        schedule(kind="cosine", peak=1e-3, warmup="4 steps", warmup_from="previous"), stage(10, previous=2e-4)
    )
    assert rewarm[:4] == pytest.approx([4e-4, 6e-4, 8e-4, 1e-3])


def test_previous_without_a_parent_is_a_problem_with_a_way_out():
    made = schedule(kind="linear", start="previous")
    assert [p.rule for p in made.problems(stage(10))] == ["previous-without-parent"]
    with pytest.raises(CodemixError, match="no stage before it"):
        made.lr(stage(10))


@pytest.mark.parametrize(
    "fields",
    [
        dict(kind="cosine", peak=1e-3, warmup="101 steps"),
        dict(kind="linear", start=1e-3, warmup="20k tokens"),
        dict(kind="wsd", peak=1e-3, warmup="60%", decay="50%"),
        dict(kind="exponential", start=1e-3, floor=1e-6, warmup="101 steps"),
        dict(kind="constant", value=1e-3, warmup="101 steps"),
    ],
)
def test_lengths_that_do_not_fit_the_stage_are_a_problem(fields):
    [problem] = schedule(**fields).problems(stage(100))
    part = "schedule" if "decay" in fields else "warmup"
    assert problem.rule == f"{part}-longer-than-stage" and "10,000 tokens" in problem.what


@pytest.mark.parametrize(
    "fields",
    [
        dict(kind="cosine", peak=0.0),
        dict(kind="cosine", peak=-1e-3),
        dict(kind="cosine", peak=float("nan")),
        dict(kind="cosine", peak="previous", over="run"),
        dict(kind="cosine", peak=1e-3, over=0),
        dict(kind="wsd", peak=1e-3, decay="10%", shape="exponential"),
        dict(kind="exponential", start=1e-3, floor=0),
        dict(kind="cosine", peak=1e-3, warmup=100),
    ],
)
def test_what_makes_no_sense_is_refused(fields):
    with pytest.raises(ValidationError):
        schedule(**fields)


@pytest.mark.parametrize("kind", kinds("schedule"))
def test_examples_give_a_positive_rate_at_every_step(kind):
    for example in component_class("schedule", kind).EXAMPLES:
        position = Position(0, 20_000, ((0, 2**22),), run_total=20_000 * 2**22 + 10**12, previous=1e-4)
        made = schedule(**example)
        assert made.problems(position) == []
        assert all(made.lr(replace(position, step=step)) > 0 for step in (0, 1, 100, 19_998))


def test_schedules_import_no_jax_and_no_numpy():
    code = "import sys; from codemix.recipe.language.component import component_class, kinds; [component_class('schedule', k) for k in kinds('schedule')];"
    code += "print([m for m in ('jax', 'numpy', 'optax', 'equinox') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
