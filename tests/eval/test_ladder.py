"""Ladders: laws that are known, published predictions, coverage of the intervals, and what is refused."""

import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from codemix.cli.app import run
from codemix.errors import CodemixError
from codemix.eval.decide.curves import fit
from codemix.eval.decide.gains import gains
from codemix.eval.decide.ladder import predict, report
from codemix.eval.decide.ladder_laws import LossLadder
from codemix.eval.decide.ladder_runs import Size, Sizes, ladder_runs
from codemix.eval.decide.scaling_laws import LossCurve, ScoreCurve, fit_loss, fit_score
from codemix.eval.evidence.rows import Row, StageRead, write_rows

MODELS = (2e8, 4e8, 8e8, 1.3e9)
BUDGETS = (20, 40, 100, 200)  # tokens per parameter
TARGET = Size(7_000_000_000, 4_000_000_000_000)
GOLD, ERROR = "gold_bits_per_byte/quiz", "error/quiz"


def loss(n, d, better=1.0):
    """A known law; with `better`, that of a mixture which needs so much less compute."""
    n = n * math.sqrt(better)
    d = d * math.sqrt(better)
    return 400 / n**0.34 + 600 / d**0.3 + 0.5


def score(bits):
    return 0.25 + 0.75 / (1 + math.exp(6 * (bits - 0.8)))


def rows(noise=0.0, better=1.0, shares=None, models=MODELS, budgets=BUDGETS, seed=0, **about):
    rng = np.random.default_rng(seed)
    made = []
    for n in models:
        for ratio in budgets:
            bits = loss(n, n * ratio, better) * math.exp(noise * rng.normal())
            metrics = {GOLD: bits, ERROR: 1 - score(bits)}
            stage = StageRead(name="init", tokens=int(n * ratio), shares=shares or {"web": 1.0})
            name = f"{n:g}-{ratio}-{better}"
            made.append(Row(run=name, stages=(stage,), metrics=metrics, parameters=int(n), **about))
    return made


# -------------------------------------------------------------------------------------------------- the laws


CURVES = {
    "loss": (
        LossCurve(np.array([-1.0, 0.0, 2.0]), np.array([0.5, -1.0, 1.0])),
        [0.1, -1.0, -0.4, -1.2, -0.5],
    ),
    "score": (ScoreCurve(np.array([0.4, 0.8, 1.5])), [-0.3, 1.8, 0.7, -1.4]),
}


@pytest.mark.parametrize("name", CURVES)
def test_slopes_are_the_derivatives_of_the_values(name):
    curve, parameters = CURVES[name]
    at = np.array([parameters])
    slopes = curve.slopes(at)[0]
    for i in range(len(parameters)):
        step = np.zeros_like(at)
        step[0, i] = 1e-6
        numeric = (curve.values(at + step) - curve.values(at - step))[0] / 2e-6
        np.testing.assert_allclose(slopes[:, i], numeric, atol=1e-7)


def test_known_laws_are_found_and_reach_far():
    n = np.repeat(MODELS, len(BUDGETS))
    d = n * np.tile(BUDGETS, len(MODELS))
    losses = loss(n, d)
    law = fit_loss(n, d, losses[None])
    np.testing.assert_allclose(law(n, d)[0], losses, rtol=1e-5)
    far = loss(TARGET.parameters, TARGET.tokens)
    assert law(np.array([7e9]), np.array([4e12]))[0, 0] == pytest.approx(far, rel=5e-3)
    scores = np.array([score(bits) for bits in losses])
    of_score = fit_score(losses, scores[None])
    np.testing.assert_allclose(of_score(losses)[0], scores, atol=2e-3)


def test_a_resample_is_fitted_like_one_of_its_own():
    curve, parameters = CURVES["score"]
    rng = np.random.default_rng(0)
    y = curve.values(np.array([parameters])) + 0.01 * rng.normal(size=(3, 3))
    start = np.tile(parameters, (3, 1))
    together = fit(curve, y, start)
    for i in range(3):
        alone = fit(curve, y[i : i + 1], start[:1])
        np.testing.assert_allclose(together.parameters[i], alone.parameters[0])


# ------------------------------------------------------------------------------------------------ predictions


def test_step_by_step_to_a_larger_run():
    found = report(rows(noise=0.002), TARGET)
    by_metric = {one.metric: one for one in found.predictions["web 100%"]}
    bits = loss(TARGET.parameters, TARGET.tokens)
    assert by_metric[GOLD].value == pytest.approx(bits, abs=0.02)
    assert by_metric[GOLD].low < bits < by_metric[GOLD].high
    of_task = by_metric["score/quiz"]
    assert of_task.low < score(bits) < of_task.high and of_task.miss < 0.05
    assert found.notes[0].endswith("times the compute of the largest run.") and not found.gains


def test_intervals_hold_what_a_larger_run_comes_to():
    """24 ladders with noise, each asked for a larger run that has noise too."""
    rng = np.random.default_rng(1)
    target = Size(2_600_000_000, 260_000_000_000)
    truth = loss(target.parameters, target.tokens)
    held = 0
    for seed in range(24):
        [runs] = ladder_runs(rows(noise=0.004, seed=seed), [GOLD])
        [found] = predict(runs, target)
        held += found.low <= truth * math.exp(0.004 * rng.normal()) <= found.high
    assert held >= 21


def test_a_law_that_misses_the_largest_models_stretches_its_intervals():
    broken = []
    for row in rows(noise=0.001):
        factor = 0.9 if row.parameters == int(MODELS[-1]) else 1.0
        broken.append(row.model_copy(update={"metrics": {GOLD: row.metrics[GOLD] * factor}}))
    plain = report(rows(noise=0.001), TARGET, [GOLD]).predictions["web 100%"][0]
    found = report(broken, TARGET, [GOLD]).predictions["web 100%"][0]
    assert plain.stretch < 4 < found.stretch and found.miss == pytest.approx(0.1, abs=0.03)


def test_three_models_predict_and_test_nothing():
    found = report(rows(models=MODELS[:3], noise=0.001), TARGET, [GOLD])
    assert found.predictions["web 100%"][0].miss is None
    assert any("none is held out" in note for note in found.notes)


def test_the_gain_in_compute_of_another_mixture():
    other = rows(noise=0.001, better=2.0, shares={"web": 0.5, "code": 0.5}, seed=1)
    found = report([*rows(noise=0.001), *other[-2:]], TARGET, [GOLD])
    [gain] = found.gains
    assert gain.candidate == "web 50%, code 50%" and gain.gain == pytest.approx(2.0, rel=0.1)
    assert gain.low < gain.gain < gain.high
    assert any("No prediction of `web 50%, code 50%`: 2 sizes" in note for note in found.notes)
    turned = report([*rows(noise=0.001), *other], TARGET, [GOLD], "web 50%, code 50%")
    assert turned.gains[0].gain == pytest.approx(0.5, rel=0.1)


def test_intervals_hold_the_gain():
    held = 0
    for seed in range(12):
        [base] = ladder_runs(rows(noise=0.004, seed=seed), [GOLD])
        [other] = ladder_runs(rows(noise=0.004, better=2.0, seed=100 + seed)[-1:], [GOLD])
        [gain] = gains(base, [other])
        held += gain.low <= 2.0 <= gain.high
    assert held >= 10


def test_a_loss_that_the_law_never_reaches_has_no_gain():
    other = rows(shares={"code": 1.0})[-1]
    other = other.model_copy(update={"metrics": {GOLD: 0.1}})
    found = report([*rows(), other], TARGET, [GOLD])
    assert found.gains[0].gain is None
    json.dumps(found.as_json(), allow_nan=False)


def test_seeds_of_one_size_are_one_point_of_the_first_law():
    twice = [*rows(noise=0.01), *(r.model_copy(update={"run": r.run + "b"}) for r in rows(0.01, seed=1))]
    [runs] = ladder_runs(twice)
    assert len(runs.sizes.n) == 16 and len(runs.each(GOLD)) == 32
    ladder = LossLadder.of(runs.sizes, runs.means(GOLD), 0)
    assert ladder.at(Sizes.of([TARGET]), 0).resampled.shape == (200, 1)


REFUSED = {
    "too few": (rows()[:4], "4 sizes of 1 models and 4 numbers of tokens"),
    "tokens follow parameters": (
        rows(models=(1e8, 2e8, 3e8, 4e8, 5e8, 6e8), budgets=(20,)),
        "tokens grow with parameters",
    ),
    "no size": ([row.model_copy(update={"parameters": None}) for row in rows()], "does not say how many"),
    "two tokenizers": ([*rows(), *rows(budgets=(300,), tokenizer="x")], "different tokenizers"),
    "two measurements": (
        [*rows(scored_on="a"), *rows(budgets=(300,), scored_on="x")],
        "measured on different",
    ),
    "a metric that some lack": (
        [*rows(), *(r.model_copy(update={"metrics": {GOLD: 1.0}}) for r in rows(budgets=(9,)))],
        "lacks 1 of 2 metrics",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_what_is_wrong(case):
    given, expected = REFUSED[case]
    with pytest.raises(CodemixError) as caught:
        report(given, TARGET)
    assert any(expected in problem.render() for problem in caught.value.problems)


def test_two_learning_rates_are_no_ladder():
    other = [
        row.model_copy(
            update={"run": "x", "stages": (row.stages[0].model_copy(update={"learning_rate": 1e-3}),)}
        )
        for row in rows()[:1]
    ]
    with pytest.raises(CodemixError, match="different learning rates"):
        report([*rows(), *other], TARGET)


@pytest.mark.parametrize("width", [80, 140])
def test_the_command_fits_its_terminal(tmp_path, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    other = rows(shares={"code": 1.0}, better=1.5)[-1:]
    write_rows(tmp_path / "e.jsonl", [*rows(0.002), *other])
    words = ["mix", "ladder", str(tmp_path / "e.jsonl"), "--parameters", "7B", "--tokens", "4T"]
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width and "score/quiz" in shown
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == {"parameters": 7 * 10**9, "tokens": 4 * 10**12}
    assert run([*words, "--markdown", "--baseline", "web 99%"]) == 1
    assert "there is no candidate `web 99%`" in capsys.readouterr().err
    assert run([*words[:-1], "lots"]) == 1
    assert "cannot read `--tokens lots`" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- published tables


MIXTURES = Path(os.environ.get("CODEMIX_MIXTURES") or "absent")
AUTHORS = Size(6_887_575_552, 3_945_065_873_408)  # the model that they predict
TASKS = {
    "hellaswag": "hellaswag_val_5shot",
    "arc_challenge": "arc_challenge_test_5shot",
    "arc_easy": "arc_easy_test_5shot",
    "piqa": "piqa_val_5shot",
    "csqa": "csqa_val_5shot",
    "socialiqa": "socialiqa_val_5shot",
    "openbookqa": "openbookqa_test_5shot",
}


def published(step):
    with open(MIXTURES / "ladder" / f"published_{step}_main.csv") as file:
        return {line["Task"]: line for line in csv.DictReader(file)}


def published_runs():
    """The last six evaluations of each run; all are of its final size."""
    with open(MIXTURES / "ladder" / "runs.csv") as file:
        lines = list(csv.DictReader(file))
    final = {line["run"]: int(line["tokens"]) for line in lines if line["last"] == "0"}
    for line in lines:
        metrics = {}
        for task in TASKS:
            metrics[f"gold_bits_per_byte/{task}"] = float(line[f"{task}_bits_per_byte"])
            metrics[f"error/{task}"] = 1 - float(line[f"{task}_accuracy"])
        stage = StageRead(name="pretrain", tokens=final[line["run"]], shares={"web": 1.0})
        name = f"{line['run']}-{line['last']}"
        yield Row(run=name, stages=(stage,), metrics=metrics, parameters=int(line["parameters"]))


@pytest.mark.skipif(not MIXTURES.is_dir(), reason="CODEMIX_MIXTURES names no folder of published tables")
def test_the_published_ladder(capsys):
    """Both steps come within 0.02 of what the authors print for six of the seven tasks. CommonsenseQA's first
    step has a floor of 0 and is hardly determined (ours 0.71, theirs 0.66, measured 0.81); OpenBookQA's second
    step is theirs over all checkpoints, ours over the last six. The intervals hold 12 of the 14 measured values: all but the scores of ARC,
    where the authors' predictions miss by as much.
    """
    found = report(list(published_runs()), AUTHORS)
    predicted = {one.metric: one for one in found.predictions["web 100%"]}
    held = 0
    close = {"step1": 0, "chained": 0}
    for step, kind in (("step1", "gold_bits_per_byte"), ("chained", "score")):
        theirs = published(step)
        for task, name in TASKS.items():
            ours = predicted[f"{kind}/{task}"]
            actual = float(theirs[name]["Actual"])
            their_value = float(theirs[name]["Pred"])
            held += ours.low <= actual <= ours.high
            close[step] += abs(ours.value - their_value) <= 0.02
            if step == "step1":
                assert ours.misfit == pytest.approx(float(theirs[name]["Fit Error"]), rel=0.06)
            print(f"{step} {task}: measured {actual:.3f}, ours {ours.value:.3f}, theirs {their_value:.3f}")
    assert close == {"step1": 6, "chained": 6} and held >= 12
