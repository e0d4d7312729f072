"""The laws of a mixture and the best one: against known laws, independent solvers, and published tables."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, minimize
from support.mixture_laws import LAWS, METRICS, PRIOR, evidence_rows, mixtures

from codemix.errors import CodemixError
from codemix.eval.evidence.layouts import read_tables
from codemix.eval.evidence.table import Table
from codemix.eval.evidence.tabulation import table, varied
from codemix.eval.mix import intervals, quality
from codemix.eval.mix.boosted_trees import boosted, tree_ranks
from codemix.eval.mix.proposal import Bound, Objective, Region, propose
from codemix.eval.mix.surrogate import Laws, fit

ONE_STAGE = np.zeros(3, int)


def evidence(n, noise, seed, laws=LAWS):
    rng = np.random.default_rng(seed)
    shares = mixtures(n, rng)
    losses = laws(shares) + noise * rng.normal(size=(n, 2))
    names = tuple(map(str, range(n)))
    return Table(names, ("s",), ("a", "b", "c"), ONE_STAGE, METRICS, shares, losses, np.ones(n))


# ------------------------------------------------------------------------------------------------- the law


def test_the_law_is_found_from_exact_losses():
    shares = mixtures(40, np.random.default_rng(1))
    found = fit(shares, LAWS(shares))
    np.testing.assert_allclose(found(shares), LAWS(shares), rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_the_unit_of_a_loss_does_not_matter(unit):
    data = evidence(40, 0.01, 2)
    a = fit(data.shares, data.losses)(data.shares)
    b = fit(data.shares, data.losses * unit)(data.shares)
    np.testing.assert_allclose(b, a * unit, rtol=1e-6)


def test_stages_together_are_one_law():
    """Two stages of three domains: the shares of each sum to one, and the law is over both."""
    rng = np.random.default_rng(3)
    shares = np.concatenate([mixtures(80, rng), mixtures(80, rng)], 1)
    both = Laws(np.array([0.7]), np.array([[-1.0, 0.4, 0.2, -0.3, 0.5, 0.0]]))
    found = fit(shares, both(shares))
    np.testing.assert_allclose(found(shares), both(shares), rtol=1e-3)


def test_a_resample_is_a_fit_of_the_runs_it_drew():
    data = evidence(40, 0.05, 4)
    counts = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=3)
    together = fit(data.shares, data.losses, counts)
    for i, count in enumerate(counts):
        rows = np.repeat(np.arange(40), count)
        alone = fit(data.shares[rows], data.losses[rows])
        np.testing.assert_allclose(together[i](data.shares), alone(data.shares), rtol=2e-2)


# -------------------------------------------------------------------------------------------- the proposal


def region(rng, n, n_stages=1):
    prior = np.concatenate([rng.dirichlet(np.ones(n)) for _ in range(n_stages)])
    stages = np.repeat(np.arange(n_stages), n)
    rows = [np.eye(n * n_stages)[0], (rng.random(n * n_stages) < 0.5).astype(float)]
    bounds = [Bound(row, float(row @ prior) * rng.choice([0.9, 1.2]), "a bound") for row in rows]
    return Region(tuple(map(str, range(n * n_stages))), stages, prior, tuple(bounds))


@pytest.mark.parametrize("seed", range(16))
def test_the_proposal_is_what_an_independent_solver_finds(seed):
    """scipy's trust-constr, an interior point method of another kind, within 1e-4 of each share."""
    rng = np.random.default_rng(seed)
    allowed = region(rng, int(rng.integers(3, 6)), int(rng.integers(1, 3)))
    n = len(allowed.prior)
    laws = Laws(np.ones(3), rng.normal(size=(3, n)) * rng.choice([1, 4]))
    objective = Objective(("a", "b", "c"), rng.random(3) + 0.1, 0.05, rng.choice([None, 0.02]))
    bounds = [*allowed.bounds, *objective.bounds(laws, allowed.prior)]

    def cost(w):
        w = np.maximum(w, 1e-12)
        return objective.weights @ np.exp(laws.slopes @ w) + 0.05 * (w @ np.log(w / allowed.prior))

    def slopes(w):
        w = np.maximum(w, 1e-12)
        pulls = objective.weights * np.exp(laws.slopes @ w)
        return pulls @ laws.slopes + 0.05 * (np.log(w / allowed.prior) + 1)

    try:
        found = propose(laws, objective, allowed)
    except CodemixError as error:
        assert "mix-no-room" in error.problems[0].rule
        return
    theirs = minimize(
        cost,
        allowed.prior,
        jac=slopes,
        method="trust-constr",
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(allowed.sums, 1, 1),
            LinearConstraint(np.array([b.row for b in bounds]), -np.inf, [b.most for b in bounds]),
        ],
        options={"gtol": 1e-10, "xtol": 1e-12, "maxiter": 3000, "barrier_tol": 1e-10},
    )
    assert cost(found) <= theirs.fun + 1e-8
    np.testing.assert_allclose(found, theirs.x, atol=1e-4)


@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 3), st.sampled_from([0.0, 1e-3, 0.05, 1.0]))
@settings(max_examples=60)
def test_a_proposal_keeps_every_bound(seed, n, n_stages, kl):
    rng = np.random.default_rng(seed)
    allowed = region(rng, n, n_stages)
    laws = Laws(np.ones(2), rng.normal(size=(2, n * n_stages)) * 3)
    objective = Objective(("a", "b"), np.array([0.5, 0.5]), kl, rng.choice([None, 0.01]))
    try:
        found = propose(laws, objective, allowed)
    except CodemixError as error:
        assert error.problems[0].hints
        return
    np.testing.assert_allclose(allowed.sums @ found, 1)
    assert found.min() >= 0
    for bound in (*allowed.bounds, *objective.bounds(laws, allowed.prior)):
        assert bound.row @ found <= bound.most + 1e-5


def test_a_large_divergence_weight_keeps_the_prior_and_none_goes_to_a_corner():
    laws = Laws(np.ones(1), np.array([[-2.0, 0.0, 1.0]]))
    allowed = Region(("a", "b", "c"), ONE_STAGE, PRIOR)
    near = propose(laws, Objective(("m",), np.ones(1), 100.0), allowed)
    np.testing.assert_allclose(near, PRIOR, atol=0.01)
    corner = propose(laws, Objective(("m",), np.ones(1), 0.0), allowed)
    np.testing.assert_allclose(corner, [1, 0, 0], atol=1e-4)


def test_a_domain_without_a_share_in_the_prior_gets_none():
    prior = np.array([0.6, 0.4, 0.0])
    laws = Laws(np.ones(1), np.array([[0.0, 0.0, -9.0]]))
    found = propose(laws, Objective(("m",), np.ones(1), 0.05), Region(("a", "b", "c"), ONE_STAGE, prior))
    assert found[2] == 0


def test_a_region_without_room_says_what_would_have_to_give_way():
    caps = [Bound(row, 0.2, f"`{name}` at its cap") for name, row in zip("abc", np.eye(3), strict=True)]
    with pytest.raises(CodemixError) as caught:
        propose(
            LAWS, Objective(METRICS, np.ones(2), 0.05), Region(("a", "b", "c"), ONE_STAGE, PRIOR, tuple(caps))
        )
    [problem] = caught.value.problems
    assert problem.rule == "mix-no-room" and "at its cap (by 0.4)" in problem.hints[0]


# ------------------------------------------------------------------------------------------------ intervals


@dataclass(frozen=True)
class Coverage:
    """How often intervals hold the truth."""

    gain: float  # of the pick, by the objective
    gains: float  # the same by single metrics, their mean
    shares: float  # that are best by the law without a misfit


def covered(runs, repeats, resamples, noise=0.05, truth_of=LAWS):
    objective = Objective(METRICS, np.array([0.5, 0.5]), 0.05)
    allowed = Region(("a", "b", "c"), ONE_STAGE, PRIOR)
    best = propose(LAWS, objective, allowed)
    gain, gains, shares = [], [], []
    for seed in range(repeats):
        found = intervals.proposal(
            evidence(runs, noise, seed, truth_of), objective, allowed, resamples=resamples, seed=seed
        )
        [falls] = intervals.falls_to(truth_of, PRIOR, found.mixture[None])
        gain.append(holds(found.gain, falls @ objective.weights))
        gains += map(holds, found.gains, falls)
        shares += map(holds, found.shares, best)
    coverage = Coverage(np.mean(gain), np.mean(gains), np.mean(shares))
    print(coverage)
    return coverage


def holds(interval, truth):
    return interval.low <= truth <= interval.high


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    found = covered(runs=24, repeats=24, resamples=50)
    assert min(found.gain, found.gains, found.shares) >= 0.85


def bent(shares):
    """Losses that no law of the form `c + exp(t.w)` has."""
    across = shares[..., :1]
    up = shares[..., 1:2]
    return LAWS(shares) + 0.15 * np.concatenate([across * up, np.sin(4 * across) / 4], -1)


def powers(shares):
    """Losses that fall as powers of shares, as those of single domains do with their tokens."""
    a, b, c = np.moveaxis(shares + 0.1, -1, 0)
    first = 0.8 + 0.25 * a**-0.35 + 0.1 * c**-0.2
    second = 0.5 + 0.25 * (b + 0.05 * a) ** -0.35
    return np.stack([first, second], -1)


def test_a_misfit_that_hides_in_the_noise_widens_the_intervals_of_single_metrics():
    """Where runs hardly show it, its chance decides: at 1/4 these are 69 %."""
    found = covered(runs=32, repeats=24, resamples=30, noise=0.01, truth_of=bent)
    assert found.gains >= 0.85


@pytest.mark.optional("takes two minutes")
@pytest.mark.parametrize("noise", [0.05, 0.01])
def test_intervals_hold_the_truth_between_90_and_98_percent_of_the_time(noise):
    found = covered(runs=32, repeats=100, resamples=80, noise=noise)
    assert 0.90 <= found.gain <= 0.98
    assert found.gains >= 0.90
    assert 0.90 <= found.shares <= 0.98


@pytest.mark.optional("takes four minutes")
@pytest.mark.parametrize("noise", [0.05, 0.01])
@pytest.mark.parametrize("truth_of", [bent, powers])
def test_the_interval_of_a_gain_holds_it_where_the_law_is_wrong(truth_of, noise):
    """One case is short of it: `powers` at the small noise, 0.89 by the objective."""
    found = covered(runs=32, repeats=100, resamples=80, noise=noise, truth_of=truth_of)
    short = truth_of is powers and noise == 0.01
    assert min(found.gain, found.gains) >= (0.88 if short else 0.90)


def test_noise_alone_is_no_gain():
    """Losses that do not depend on the mixture: the interval of the gain holds 0."""
    flat = Laws(np.array([1.0, 1.0]), np.zeros((2, 3)))
    objective = Objective(METRICS, np.array([0.5, 0.5]), 0.05)
    allowed = Region(("a", "b", "c"), ONE_STAGE, PRIOR)
    calls = []
    for seed in range(10):
        data = evidence(24, 0.05, seed, laws=flat)
        calls.append(intervals.proposal(data, objective, allowed, resamples=40).gain.excludes_zero)
    assert sum(calls) <= 1


# -------------------------------------------------------------------------------------------------- quality


def test_quality_of_a_perfect_and_of_a_reversed_prediction():
    measured = np.array([3.0, 1.0, 2.0, 4.0])
    perfect = quality.quality("m", measured * 2, measured)
    assert (perfect.spearman, perfect.decision_accuracy, perfect.rank_of_pick) == (1.0, 1.0, 1)
    reverse = quality.quality("m", -measured, measured)
    assert (reverse.spearman, reverse.decision_accuracy, reverse.rank_of_pick) == (-1.0, 0.0, 4)


def test_equal_values_share_a_rank():
    from scipy.stats import spearmanr

    a, b = np.array([1.0, 1, 2, 3, 3, 3]), np.array([2.0, 1, 1, 5, 4, 4])
    assert quality.spearman(a, b) == pytest.approx(spearmanr(a, b)[0])


def test_the_law_predicts_runs_that_it_was_not_fitted_on():
    rows = evidence_rows(40)
    for found in quality.k_fold(table(rows, varied(rows))):
        assert found.spearman > 0.97 and found.decision_accuracy > 0.9 and found.rank_of_pick <= 4


def test_runs_of_one_mixture_are_in_one_fold():
    data = evidence(30, 0.01, 0)
    data.shares[20:] = data.shares[0]
    fold = quality.folds(data, 5, 0)
    assert len(set(fold[20:]) | {fold[0]}) == 1 and len(set(fold)) == 5


# ----------------------------------------------------------------------------------------- published tables


@pytest.fixture(scope="module")
def regmix():
    """(shares, losses) of the 512 runs that RegMix published, and of its tests at two sizes."""
    folder = Path(os.environ.get("CODEMIX_MIXTURES", "absent")) / "regmix"
    if not folder.is_dir():
        pytest.skip("CODEMIX_MIXTURES does not name the folder of published mixture tables")

    def read(mixtures, losses):
        rows = read_tables(folder / f"{mixtures}.csv", folder / f"{losses}.csv", "pretrain").rows
        return table(rows, varied(rows))

    train = read("train_mixture_1m", "train_pile_loss_1m")
    tests = {size: read(f"test_mixture_{size}", f"test_pile_loss_{size}") for size in ("1m", "60m")}
    return train, tests


def mean_spearman(laws, test):
    predicted = laws(test.shares)
    ranks = [quality.spearman(predicted[:, k], test.losses[:, k]) for k in range(len(test.metrics))]
    return np.mean(ranks)


@pytest.mark.parametrize(
    ("n", "size", "least"), [(512, "1m", 0.975), (512, "60m", 0.969), (64, "1m", 0.945), (64, "60m", 0.94)]
)
def test_ranking_of_the_published_runs(regmix, n, size, least):
    train, tests = regmix
    assert mean_spearman(fit(train.shares[:n], train.losses[:n]), tests[size]) >= least


PUBLISHED_BY_TREES = {  # RegMix's own Spearman correlations of LightGBM by domain [%], 512 runs, the 1M test
    "arxiv": 99.60, "freelaw": 99.71, "pubmed_central": 99.08, "wikipedia_en": 99.45, "dm_mathematics": 97.20,
    "github": 99.77, "stackexchange": 99.73, "gutenberg_pg_19": 99.18, "pile_cc": 98.92, "ubuntu_irc": 96.87,
    "hackernews": 98.51, "pubmed_abstracts": 99.19, "uspto_backgrounds": 99.12,
}  # fmt: skip


@pytest.mark.optional("needs codemix[lightgbm], and grows a thousand trees for each domain")
def test_trees_rank_the_published_runs_as_their_authors_print(regmix):
    pytest.importorskip("lightgbm")
    train, tests = regmix
    for place, metric in enumerate(train.metrics):
        domain = metric.removeprefix("metric/the_pile_").removesuffix("_val_loss")
        predicted = boosted(train.shares, train.losses[:, place], tests["1m"].shares)
        rank = 100 * quality.spearman(predicted, tests["1m"].losses[:, place])
        assert rank == pytest.approx(PUBLISHED_BY_TREES[domain], abs=0.3), metric


@pytest.mark.optional("needs codemix[lightgbm]")
def test_trees_are_judged_on_the_folds_of_the_laws():
    pytest.importorskip("lightgbm")
    rows = evidence_rows(60)
    for rank in tree_ranks(table(rows, varied(rows))):
        assert 0.5 < rank < 1


def test_without_lightgbm_the_comparison_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(CodemixError) as caught:
        boosted(np.eye(3), np.ones(3), np.eye(3))
    assert "codemix[lightgbm]" in caught.value.problems[0].hints[0]
