"""What seeds and sizes allow to say: numbers against enumeration, published tables and simulation; refusals."""

import itertools
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import f_oneway

from codemix.cli.app import run
from codemix.errors import CodemixError
from codemix.eval.decide.decision import decide
from codemix.eval.decide.outcomes import outcomes
from codemix.eval.decide.rankings import _Rankings, agreement
from codemix.eval.decide.separation import CANNOT_DECIDE, DECIDES, UNKNOWN, Seeds, seeds_needed, separation
from codemix.eval.evidence.layouts import RunSize, read_tables
from codemix.eval.evidence.rows import Row, StageRead, write_rows

METRIC = "bits_per_byte/prose"


def row(share, loss, seed=0, **about):
    """A run that read `share` prose and the rest code."""
    shares = {"prose": share, "code": 1 - share}
    stage = StageRead(name="init", tokens=about.pop("tokens", 1000), shares=shares, learning_rate=1e-3)
    stage = stage.model_copy(update={"learning_rate": about.pop("rate", 1e-3)})
    name = f"study-{share:g}-seed{seed}.init.0123abcd"
    about = {"parameters": 100, "metrics": {METRIC: loss}, "seed": seed, **about}
    return Row(run=name, stages=(stage,), **about)


def swarm(losses, spread=0.0, seeds=2, **about):
    """Runs of one candidate per loss, whose seeds lie `spread` apart."""
    rows = []
    for i, loss in enumerate(losses):
        for seed in range(seeds):
            share = (i + 1) / (len(losses) + 1)
            rows.append(row(share, loss + spread * (seed - (seeds - 1) / 2), seed, **about))
    return rows


# ------------------------------------------------------------------------------------------ orders of pairs


@pytest.mark.parametrize("n", [2, 3, 5, 7])
def test_rankings_are_counted_by_their_inversions(n):
    counts = np.zeros(n * (n - 1) // 2 + 1)
    for order in itertools.permutations(range(n)):
        counts[sum(a > b for a, b in itertools.combinations(order, 2))] += 1
    np.testing.assert_allclose(np.exp(_Rankings.of(n).log_counts), counts)


def test_rankings_of_more_candidates_than_a_float_can_count():
    assert np.logaddexp.reduce(_Rankings.of(256).log_counts) == pytest.approx(math.lgamma(257))


ORDERS = {  # small, large -> accuracy, least and largest
    "two alike say next to nothing": ([1, 2], [3, 4], (1.0, 0.025, 1.0)),
    "two apart neither": ([1, 2], [4, 3], (0.0, 0.0, 0.975)),
    "five alike beat chance": ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], (1.0, 0.60, 1.0)),
    "four alike do not": ([1, 2, 3, 4], [1, 2, 3, 4], (1.0, 0.44, 1.0)),
    "ties count half and widen": ([1, 1, 1], [1, 2, 3], (0.5, 0.0, 1.0)),
}


@pytest.mark.parametrize("case", ORDERS)
def test_agreement_has_an_exact_interval(case):
    small, large, expected = ORDERS[case]
    found = agreement(np.array(small), np.array(large))
    assert (found.accuracy, found.low, found.high) == pytest.approx(expected, abs=0.01)
    turned = agreement(np.array(small), -np.array(large))
    assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-6)


@pytest.mark.parametrize("n", [5, 10, 25])
@pytest.mark.parametrize("correlation", [0.0, 0.8, 0.95])
def test_the_interval_holds_the_truth_under_another_model(n, correlation):
    """Values with normal noise, of which Mallows' model knows nothing."""
    truth = 0.5 + math.asin(correlation) / math.pi
    rng = np.random.default_rng(n)
    held = 0
    for _ in range(200):
        small = rng.normal(size=n)
        large = correlation * small + math.sqrt(1 - correlation**2) * rng.normal(size=n)
        found = agreement(small, large)
        held += found.low <= truth <= found.high
    assert held >= 184  # 92%


# ---------------------------------------------------------------------------------------- signal and noise


def test_signal_noise_and_the_test_of_equal_candidates():
    values = {"a": [1.0, 1.2, 1.1], "b": [1.5, 1.3], "c": [2.0]}
    found = separation("m", values)
    assert found.mean == pytest.approx((1.1 + 1.4 + 2.0) / 3)
    assert found.signal == pytest.approx(0.9 / found.mean)
    sd = math.sqrt((0.02 + 0.02) / 3)
    assert found.noise == pytest.approx(sd / found.mean) and found.freedom == 3
    assert found.p == pytest.approx(f_oneway(*values.values()).pvalue)
    assert (found.first, found.second) == ("a", "b")
    assert found.seeds_needed == math.ceil(2 * (1.95996 * sd / 0.3) ** 2)


VERDICTS = {
    "far apart": ([[1.0, 1.01], [2.0, 2.01]], DECIDES),
    "inside the noise": ([[1.0, 1.2], [1.1, 1.3]], CANNOT_DECIDE),
    "one seed each": ([[1.0], [2.0]], UNKNOWN),
    "seeds that agree to the last bit": ([[1.0, 1.0], [2.0, 2.0]], DECIDES),
    "nothing differs": ([[1.0, 1.0], [1.0, 1.0]], CANNOT_DECIDE),
    "a score of 0": ([[0.0, 0.0], [0.0, 0.0]], CANNOT_DECIDE),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verdicts(case):
    runs, verdict = VERDICTS[case]
    found = separation("m", dict(enumerate(runs)))
    assert found.verdict == verdict
    json.dumps(found.as_json(), allow_nan=False)


def test_seeds_needed_follow_from_spread_and_difference():
    assert seeds_needed(1.0, 1.0) == 8 and seeds_needed(1.0, 2.0) == 2 and seeds_needed(1.0, 0.1) == 769
    assert seeds_needed(0.0, 1.0) == 1 and seeds_needed(1.0, 0.0) is None


def test_equal_candidates_are_called_apart_in_one_of_twenty_cases():
    rng = np.random.default_rng(0)
    apart = 0
    decided = 0
    for _ in range(400):
        runs = rng.normal(10, 1, size=(4, 3)).tolist()
        apart += len(Seeds.of(runs).pairs_apart())
        decided += separation("m", dict(enumerate(runs))).verdict == DECIDES
    assert apart / 400 / 6 == pytest.approx(0.05, abs=0.02)
    assert decided / 400 == pytest.approx(0.05, abs=0.03)


# ------------------------------------------------------------------------------------- from rows of evidence


def test_settings_go_from_small_to_large_and_candidates_meet_by_their_shares():
    losses = [3.0, 2.0, 4.0, 1.0, 5.0]
    small = swarm(losses, 0.01)
    large = swarm([loss / 2 for loss in losses], 0.01, parameters=1000, tokens=5000)
    decision = decide([*large, *small])
    assert [s.name for s in decision.settings] == [
        "100 parameters, 1k tokens, rate 0.001",
        "1k parameters, 5k tokens, rate 0.001",
    ]
    [carried] = decision.carrying
    assert (carried.order.accuracy, carried.flips, carried.verdict) == (1.0, 0, "carries over")
    assert decision.settings[0].metrics[0].first == "study-0.666667"


def test_a_flip_is_beyond_the_noise_of_both():
    small = swarm([1.0, 2.0, 3.0], 0.01)
    large = swarm([1.0, 3.0, 2.0], 0.01, rate=1e-2)
    noisy = swarm([1.0, 3.0, 2.0], 5.0, rate=1e-2)
    alone = swarm([1.0, 3.0, 2.0], seeds=1, rate=1e-2)
    flips = [decide([*small, *other]).carrying[0].flips for other in (large, noisy, alone)]
    assert flips == [1, 0, None]


def test_what_only_one_setting_has_is_said():
    small = swarm([1.0, 2.0, 3.0])
    large = [r for r in swarm([1.0, 2.0, 3.0], tokens=9000) if "0.25" not in r.run]
    lone = swarm([1.0], tokens=500)
    decision = decide([*small, *large, *lone])
    assert decision.notes == (
        "Only one candidate was run at 100 parameters, 500 tokens, rate 0.001.",
        "1 of 3 candidates of 100 parameters, 1k tokens, rate 0.001 were not run at "
        "100 parameters, 9k tokens, rate 0.001.",
    )
    assert decision.carrying[0].order.candidates == 2


def test_shares_that_windows_round_meet_and_others_do_not():
    small = [row(share, 1 + share) for share in (0.2, 0.5, 0.8)]
    large = [row(share + 0.004, 1 + share, tokens=9000) for share in (0.2, 0.5, 0.8)]
    far = [row(share + 0.05, 1 + share, tokens=9000) for share in (0.2, 0.5, 0.8)]
    assert decide(small + large).carrying[0].order.candidates == 3
    assert not decide(small + far).carrying


REFUSED = {
    "nothing is compared": ([row(0.5, 1.0)], "all 1 runs read the same mixture"),
    "each setting has one candidate": (
        [row(0.5, 1.0), row(0.2, 1.0, tokens=9)],
        "2 settings of one candidate",
    ),
    "one seed twice": ([row(0.5, 1.0), row(0.5, 2.0), row(0.2, 1.0)], "and seed"),
    "other text under one name": (
        [row(0.5, 1.0, data={"prose": "a"}), row(0.5, 1.1, 1, data={"prose": "b"}), row(0.2, 1.0)],
        "different text",
    ),
    "another measurement": (
        [row(0.5, 1.0, scored_on="a"), row(0.2, 1.0, scored_on="b")],
        "measured on different text",
    ),
    "a metric that one lacks": ([row(0.5, 1.0), row(0.2, 1.0, metrics={"m": 1.0})], "lacks 1 of 2 metrics"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_what_is_wrong(case):
    rows, expected = REFUSED[case]
    with pytest.raises(CodemixError) as caught:
        decide(rows)
    assert any(expected in problem.render() for problem in caught.value.problems)


def test_names_of_two_mixtures_never_meet():
    rows = [row(0.5, 1.0), row(0.2, 2.0).model_copy(update={"run": row(0.5, 1.0).run})]
    [found] = outcomes(rows)
    assert [candidate.name for candidate in found.candidates] == ["study-0.5", "study-0.5 (2)"]


@pytest.mark.parametrize("width", [80, 140])
def test_the_command_fits_its_terminal(tmp_path, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    write_rows(tmp_path / "small.jsonl", swarm([3.0, 2.0, 4.0, 1.0, 5.0], 0.01))
    write_rows(tmp_path / "large.jsonl", swarm([3.0, 2.0, 4.0, 1.0, 5.0], 0.01, tokens=10**9))
    files = [str(tmp_path / name) for name in ("small.jsonl", "large.jsonl")]
    assert run(["mix", "decide", *files]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    assert "10 of 10" in shown and "carries over" in shown
    assert run(["mix", "decide", *files, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["carrying"][0]["order"]["same_order"] == 10
    assert run(["mix", "decide", *files, "--markdown", "--metrics", "none"]) == 1
    assert "no row has a metric `none`" in capsys.readouterr().err


def test_the_size_of_an_imported_table_is_given_beside_it(tmp_path, capsys):
    (tmp_path / "x.csv").write_text("index,a,b\n1,0.5,0.5\n2,0.2,0.8\n")
    (tmp_path / "y.csv").write_text("index,loss\n1,2.0\n2,3.0\n")
    words = ["mix", "import", str(tmp_path / "x.csv"), str(tmp_path / "y.csv"), "-o", str(tmp_path / "e")]
    assert run([*words, "--parameters", "1.5M", "--tokens", "2B"]) == 0
    [first, _] = map(json.loads, (tmp_path / "e").read_text().splitlines())
    assert first["parameters"] == 1_500_000 and first["stages"][0]["tokens"] == 2 * 10**9
    assert run([*words, "--parameters", "many"]) == 1
    assert "cannot read `--parameters many`" in capsys.readouterr().err


MIXTURES = Path(os.environ.get("CODEMIX_MIXTURES") or "absent")


@pytest.mark.skipif(not MIXTURES.is_dir(), reason="CODEMIX_MIXTURES names no folder of published tables")
def test_orders_of_regmix_carry_from_1m_to_60m():
    rows = []
    for size, parameters in (("1m", 10**6), ("60m", 6 * 10**7)):
        folder = MIXTURES / "regmix"
        tables = [folder / f"test_{what}_{size}.csv" for what in ("mixture", "pile_loss")]
        rows += read_tables(*tables, "pretrain", RunSize(parameters=parameters)).rows
    decision = decide(rows)
    accuracies = [carried.order.accuracy for carried in decision.carrying]
    assert len(accuracies) == 13 and min(accuracies) > 0.9 and np.mean(accuracies) > 0.95
    for carried in decision.carrying:
        assert carried.order.candidates == 256 and carried.order.high - carried.order.low < 0.04
