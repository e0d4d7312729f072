"""MixMin: against an independent solver, and what is refused."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from support.base_recipe import recipe_text
from support.mixture_laws import SPLIT, STUDY, evidence_rows

from codemix.cli.app import run
from codemix.errors import CodemixError
from codemix.eval.evidence.rows import write_rows
from codemix.eval.mix.mixmin import best_mixture, read_losses


def lost(mixture, nats):
    least = nats.min(1, keepdims=True)
    return float(np.mean(least[:, 0] - np.log(np.exp(least - nats) @ mixture)))


@pytest.mark.parametrize("seed", range(8))
def test_the_mixture_is_what_an_independent_solver_finds(seed):
    rng = np.random.default_rng(seed)
    nats = rng.gamma(4, 1 + seed, size=(60, int(rng.integers(2, 6))))
    found = best_mixture(nats)
    n = nats.shape[1]
    theirs = minimize(
        lambda w: lost(np.clip(w, 1e-12, 1), nats),
        np.full(n, 1 / n),
        method="SLSQP",
        bounds=[(0, 1)] * n,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 2000},
    )
    assert found.sum() == pytest.approx(1) and found.min() >= 0
    assert lost(found, nats) <= theirs.fun + 1e-4


def test_where_one_model_is_best_everywhere_it_gets_everything():
    nats = np.array([[5000.0, 6000.0], [4000.0, 4800.0]])  # exp of them is nothing in float64
    np.testing.assert_allclose(best_mixture(nats), [1, 0], atol=1e-6)
    np.testing.assert_allclose(best_mixture(np.array([[1.0, 900.0], [900.0, 1.0]])), [0.5, 0.5])


GOOD = {"example": "x", "nats": {"a": 1.0, "b": 2.0}}
BAD = {
    "not json": ("{", "not an example's loss"),
    "a key too many": (json.dumps(GOOD | {"loss": 1}), "not an example's loss"),
    "a domain missing": ('{"example": "y", "nats": {"a": 1}}', "no loss of a model of `b`"),
    "a domain unknown": ('{"example": "y", "nats": {"a": 1, "b": 1, "c": 1}}', "`c` is no domain"),
    "not a number": ('{"example": "y", "nats": {"a": NaN, "b": 1}}', "loss"),
    "below nothing": ('{"example": "y", "nats": {"a": -1, "b": 1}}', "not below 0"),
    "twice": (json.dumps(GOOD), "there twice"),
}


@pytest.mark.parametrize(("line", "words"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named(tmp_path, line, words):
    path = tmp_path / "losses.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(CodemixError) as caught:
        read_losses(path, ["a", "b"])
    [problem] = caught.value.problems
    assert words in problem.what and problem.where.line == 2


def test_an_empty_or_absent_file_is_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    for name in ("empty.jsonl", "absent.jsonl"):
        with pytest.raises(CodemixError):
            read_losses(tmp_path / name, ["a"])


def test_it_stands_beside_the_proposal(tmp_path, monkeypatch, capsys):
    (tmp_path / "base.yaml").write_text(recipe_text(SPLIT))
    (tmp_path / "study.yaml").write_text(STUDY)
    write_rows(tmp_path / "e.jsonl", evidence_rows())
    lines = [
        {"example": f"x{i}", "nats": {"prose": 100.0 + i, "web": 105.0, "markup": 300.0}} for i in range(10)
    ]
    (tmp_path / "losses.jsonl").write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.chdir(tmp_path)
    assert run(["mix", "propose", "study.yaml", "e.jsonl", "--proxies", "losses.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "MixMin" in out and "0.00%" in out
    (tmp_path / "study.yaml").write_text(STUDY.replace("[init]", "[init, cooldown]"))
    assert run(["mix", "propose", "study.yaml", "e.jsonl", "--proxies", "losses.jsonl"]) == 1
    assert "several stages" in capsys.readouterr().err
