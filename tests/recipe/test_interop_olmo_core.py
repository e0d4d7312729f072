"""The learning rate of an OLMo-core configuration: what is imported is its own formula, at every step."""

import json
import math
from dataclasses import replace
from itertools import product

import pytest

from codemix.recipe.checks import validation
from codemix.recipe.interop.mixtures import parse_mixture, recipe_text
from codemix.recipe.language import recipe_file
from codemix.recipe.language.component import component_class
from codemix.train.schedule import Position

LR = 2e-3
BATCH = 256  # tokens
STEPS = 40
CLASSES = {
    "constant": "ConstantScheduler",
    "constant_with_warmup": "ConstantWithWarmup",
    "linear_with_warmup": "LinearWithWarmup",
    "cos_with_warmup": "CosWithWarmup",
    "wsd": "WSD",
}


def configuration(scheduler, *, duration=None, lr=LR):
    """As OLMo-core saves that of a run."""
    sources = [{"source_name": name, "target_ratio": 0.5, "paths": [name]} for name in ("web", "code")]
    mixture = {
        "source_list": {"sources": sources},
        "requested_tokens": STEPS * BATCH,
        "global_batch_size": BATCH,
    }
    return {
        "dataset": {"sequence_length": 64, "source_mixture_config": mixture},
        "data_loader": {"global_batch_size": BATCH},
        "train_module": {"optim": {"lr": lr}, "scheduler": scheduler},
        "trainer": {"max_duration": duration or {"value": STEPS * BATCH, "unit": "tokens"}},
    }


def imported(scheduler, **more):
    made = parse_mixture(None, json.dumps(configuration(scheduler, **more)), "config.json")
    checked = validation.check(recipe_file.parse_recipe(recipe_text(made), "imported.yaml"))
    assert not checked.errors, checked.errors
    return made.phases[0]


def olmo_rate(described, now, end):
    """OLMo-core 3.0.0's rate when `now` steps, or tokens, of `end` are over (`optim/scheduler.py`)."""
    name = described["type"]
    lowest, span = described.get("warmup_min_lr", 0.0), described.get("t_max") or end
    warmup = described.get("warmup", 0)
    if "warmup_fraction" in described:
        warmup = round(span * described["warmup_fraction"])
    if name != "constant" and now < warmup:
        return lowest + (LR - lowest) * now / warmup
    if name.startswith("constant"):
        return LR
    if name == "wsd":
        decay = described.get("decay", round(end * described.get("decay_fraction", 0.1)))
        floor = described.get("decay_min_lr", 0.0)
        return floor + (LR - floor) * min(end - now, decay) / decay
    floor = LR * described.get("alpha_f", 0.1)
    x = min(1, (now - warmup) / (span - warmup))
    kept = 1 - x if name == "linear_with_warmup" else (1 + math.cos(math.pi * x)) / 2
    return floor + (LR - floor) * kept


def described_schedulers():
    choices = {
        "type": list(CLASSES),
        "warmup": [None, 0, 7],
        "warmup_fraction": [None, 0.15],
        "warmup_min_lr": [None, 1e-5],
        "alpha_f": [None, 0.0, 0.3],
        "t_max": [None, 55, 30],
        "decay": [None, 9],
        "decay_fraction": [None, 0.2],
        "decay_min_lr": [None, 1e-4],
    }
    for values in product(*choices.values()):
        given = {key: value for key, value in zip(choices, values, strict=True) if value is not None}
        own = FIELDS[given["type"]]
        one_warmup = ("warmup" in given) != ("warmup_fraction" in given) or given["type"] == "constant"
        if own >= set(given) and one_warmup and not {"decay", "decay_fraction"} <= set(given):
            yield given


WARMUP = {"type", "warmup", "warmup_fraction", "warmup_min_lr"}
FIELDS = {
    "constant": {"type"},
    "constant_with_warmup": WARMUP,
    "linear_with_warmup": WARMUP | {"alpha_f", "t_max"},
    "cos_with_warmup": WARMUP | {"alpha_f", "t_max"},
    "wsd": WARMUP | {"decay", "decay_fraction", "decay_min_lr"},
}


def our_rates(phase):
    schedule = component_class("schedule", phase.learning_rate["kind"]).model_validate(phase.learning_rate)
    position = Position(0, phase.steps, ((0, BATCH),))
    assert schedule.problems(position) == []
    return [schedule.lr(replace(position, step=step)) for step in range(phase.steps)]


def test_every_schedule_with_a_form_here_is_olmo_cores_at_every_step():
    n_checked, left = 0, []
    for described in described_schedulers():
        phase = imported(described)
        if phase.learning_rate is None:
            left.append(described)
            continue
        n_checked += 1
        assert phase.steps == STEPS
        theirs = [olmo_rate(described, step, STEPS) for step in range(1, STEPS + 1)]
        assert our_rates(phase) == pytest.approx(theirs, abs=1e-15)
    assert n_checked > 60
    for described in left:  # another span than the run
        assert "t_max" in described, described
        assert described["type"] == "linear_with_warmup" or "warmup_fraction" in described, described


@pytest.mark.parametrize("name", ["cos_with_warmup", "linear_with_warmup", "wsd"])
def test_a_clock_of_tokens(name):
    described = {"type": name, "units": "tokens", "warmup": 700}
    theirs = [olmo_rate(described, step * BATCH, STEPS * BATCH) for step in range(1, STEPS + 1)]
    assert our_rates(imported(described)) == pytest.approx(theirs, abs=1e-15)


def test_the_name_of_the_class_and_the_older_names_of_fields():
    older = {
        "_CLASS_": "olmo_core.optim.scheduler.WSD",
        "warmup_steps": 7,
        "decay_steps": 9,
        "decay_fraction": None,
    }
    newer = {"type": "wsd", "warmup": 7, "decay": 9}
    assert imported(older) == imported(newer)


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        ({"value": 20 * BATCH - 1, "unit": "tokens"}, 20),
        ({"value": 20, "unit": "steps"}, 20),
        ({"value": 1, "unit": "epochs"}, STEPS),
    ],
)
def test_a_run_is_as_long_as_its_trainer_says(duration, steps):
    phase = imported({"type": "linear_with_warmup", "warmup": 2}, duration=duration)
    assert phase.steps == steps and our_rates(phase)[-1] == pytest.approx(LR * 0.1)


LEFT = [
    ({"type": "power_lr", "warmup": 3}, {}, "the scheduler power_lr has no form here"),
    ({"type": "sequential"}, {}, "the scheduler sequential has no form here"),
    ({"_CLASS_": "own.Scheduler"}, {}, "the scheduler own.Scheduler has no form here"),
    ({"type": "wsd", "warmup": 30, "decay": 20}, {}, "its decay does not fit"),
    ({"type": "wsd", "warmup": 3, "decay": 0}, {}, "its decay does not fit"),
    ({"type": "cos_with_warmup", "warmup": 40}, {}, "its warm-up does not end within the run"),
    ({"type": "cos_with_warmup"}, {}, "its warm-up does not end within the run"),
    ({"type": "cos_with_warmup", "warmup": 3, "alpha_f": 2.0}, {}, "its `alpha_f` is not a share"),
    ({"type": "cos_with_warmup", "warmup": 3, "warmup_min_lr": 1.0}, {}, "is not a rate below the highest"),
    ({"type": "cos_with_warmup", "warmup": 3}, {"lr": "high"}, "the file has no `optim.lr`"),
    (
        {"type": "cos_with_warmup", "warmup": 3},
        {"duration": {"value": 3, "unit": "epochs"}},
        "does not say how many steps",
    ),
    (
        {"type": "cos_with_warmup", "warmup": 3, "units": "tokens"},
        {"duration": {"value": 1000, "unit": "tokens"}},
        "its clock of tokens ends inside a step",
    ),
]


@pytest.mark.parametrize(("described", "more", "reason"), LEFT)
def test_what_has_no_form_here_is_left_to_fill_in_with_the_reason(described, more, reason):
    phase = imported(described, **more)
    assert phase.learning_rate is None and reason in phase.no_rate


@pytest.mark.optional("torch and ai2-olmo-core 3.0.0")
@pytest.mark.filterwarnings("ignore")
def test_the_formula_of_this_file_is_olmo_cores():
    pytest.importorskip("torch")
    schedulers = pytest.importorskip("olmo_core.optim.scheduler")
    for described in described_schedulers():
        given = dict(described)
        made_of = getattr(schedulers, CLASSES[given.pop("type")])
        if "decay" in given:
            given["decay_fraction"] = None
        theirs = made_of(**given)
        for step in range(1, STEPS + 1):
            assert theirs.get_lr(LR, step, STEPS) == pytest.approx(
                olmo_rate(described, step, STEPS), abs=1e-15
            )
