"""The page of a mixture: its numbers against laws that are known, and what it says where nothing can be told."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.base_recipe import recipe_text
from support.mixture_laws import LAWS, METRICS, PRIOR, SPLIT, STUDY, evidence_rows, mixtures

from codemix.cli.app import run
from codemix.eval.evidence.rows import Row, StageRead, write_rows
from codemix.eval.evidence.table import Table
from codemix.eval.mix.landscape import slices, trade_off
from codemix.eval.mix.misfit import correction
from codemix.eval.mix.moved_shares import MovedShare, moved, moved_shares
from codemix.eval.mix.proposal import Region
from codemix.eval.mix.reach import reach, within_runs
from codemix.eval.mix.search import search
from codemix.eval.mix.seeds import seeds_section, separations
from codemix.eval.mix.surrogate import Laws, fit
from codemix.eval.pages import rendering
from codemix.recipe.studies.mix_space import mix_space
from codemix.recipe.studies.study import load_study


def evidence(losses_of, n=40, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    shares = mixtures(n, rng, strength=3.0)
    losses = losses_of(shares) + noise * rng.normal(size=(n, 2))
    names = tuple(map(str, range(n)))
    return Table(
        names, ("init",), ("prose", "web", "markup"), np.zeros(3, int), METRICS, shares, losses, np.ones(n)
    )


# ----------------------------------------------------------------------------------------------- the seeds


def test_the_repeated_prior_says_which_metrics_decide():
    found = evidence(LAWS, n=8)
    shares = np.concatenate([found.shares, np.tile(PRIOR, (3, 1))])
    losses = LAWS(shares)
    losses[-3:, 0] += [-0.5, 0.0, 0.5]
    names = (*map(str, range(8)), "prior-0", "prior-1", "prior-2")
    noisy = Table(names, found.stage_names, found.domains, found.stages, METRICS, shares, losses, np.ones(11))
    wide, exact = separations(noisy)
    assert (wide.candidates, wide.runs, wide.freedom) == (9, 11, 2)
    assert (wide.verdict, exact.verdict) == ("cannot decide", "decides")
    [table] = seeds_section(noisy).blocks
    assert [row[0] for row in table.rows] == list(METRICS)


# ---------------------------------------------------------------------------------------------- the misfit


def bent(shares):
    """Losses that no law of the form `c + exp(t.w)` has: worst in the middle."""
    bump = np.sin(5 * shares[:, :1]) * [0.1, 0.0]
    return LAWS(shares) + bump


def test_a_misfit_that_runs_show_is_predicted():
    """The laws miss the gain; with what they miss at like runs it is nearly right, and its interval says how
    nearly."""
    found = evidence(bent, noise=0.003)
    laws = fit(found.shares, found.losses)
    picks = np.array([[0.2, 0.6, 0.2], [0.7, 0.2, 0.1], [0.35, 0.5, 0.15]])
    truth = bent(PRIOR[None]) - bent(picks)
    promised = laws(PRIOR[None]) - laws(picks)
    added = correction(found, laws, PRIOR, picks)
    before = np.abs(truth - promised)[:, 0]
    after = np.abs(truth - promised - added.mean)[:, 0]
    assert before.max() > 0.02 and (after < before / 3).all()
    assert (after < 3 * added.spread[:, 0] + 0.003).all()


def test_noise_alone_is_hardly_a_misfit():
    found = evidence(LAWS, noise=0.05)
    laws = fit(found.shares, found.losses)
    added = correction(found, laws, PRIOR, np.array([[0.3, 0.5, 0.2]]))
    assert np.abs(added.mean).max() < 0.01 and added.spread.max() < 0.02


def test_a_misfit_is_open_far_from_the_runs():
    rng = np.random.default_rng(1)
    near = evidence(bent, n=30, noise=0.003)
    near.shares[:] = 0.7 * PRIOR + 0.3 * rng.dirichlet(np.ones(3), size=30)
    near.losses[:] = bent(near.shares) + 0.003 * rng.normal(size=(30, 2))
    laws = fit(near.shares, near.losses)
    added = correction(near, laws, PRIOR, np.array([PRIOR, [0.55, 0.35, 0.1], [0.0, 1.0, 0.0]]))
    here, beside, far = added.spread[:, 0]
    assert here < 1e-6 and beside < far / 3


@given(st.integers(0, 10**6))
def test_a_weighted_misfit_is_that_of_the_weighted_metrics(seed):
    """One metric alone with all the weight is that metric."""
    rng = np.random.default_rng(seed)
    found = evidence(bent, n=12, noise=0.05, seed=seed)
    added = correction(found, fit(found.shares, found.losses), PRIOR, mixtures(2, rng))
    first = added.weighted(np.array([1.0, 0.0]))
    np.testing.assert_allclose(first.mean[:, 0], added.mean[:, 0])
    np.testing.assert_allclose(first.spread[:, 0], added.spread[:, 0], atol=1e-9)


# ------------------------------------------------------------------------------------- shares that move


@given(st.integers(0, 10**6), st.integers(3, 6))
def test_a_share_that_moves_leaves_the_others_in_proportion(seed, n):
    rng = np.random.default_rng(seed)
    prior = np.concatenate([rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(2))])
    around = np.arange(n + 2) < n
    some = MovedShare("some", "s", np.arange(n + 2) < rng.integers(1, n), around)
    levels = np.array([[0.0], [float(some.of(prior))], [1.0]])
    ends = moved(prior, [some], levels)
    np.testing.assert_allclose(ends[:, around].sum(1), 1)
    np.testing.assert_allclose(ends[:, ~around], [prior[~around]] * 3)
    np.testing.assert_allclose(some.of(ends), levels[:, 0], atol=1e-12)
    np.testing.assert_allclose(ends[1], prior)


def test_code_comes_first():
    found = evidence(LAWS)
    names = [share.name for share in moved_shares(found, {"web": "code", "markup": "code", "prose": "text"})]
    assert names == ["code", "web", "markup", "prose"]
    assert [share.name for share in moved_shares(found, {})] == ["prose", "web", "markup"]


# -------------------------------------------------------------------------------------------- the reach


def test_a_proposal_stays_where_runs_have_been():
    """The law alone would go to a corner that no run was near."""
    found = evidence(LAWS)
    found.shares[:] = 0.8 * PRIOR + 0.2 * found.shares
    region = within_runs(Region(found.domains, found.stages, PRIOR), found)
    corner = np.array([1.0, 0.0, 0.0])
    assert any("the most that a run had" in what for what in region.missed(corner))
    assert not region.missed(PRIOR) and not any(region.missed(shares) for shares in found.shares)


def test_how_far_a_proposal_is_from_the_runs():
    found = evidence(LAWS)
    region = Region(found.domains, found.stages, PRIOR)
    at_a_run = reach(found, region, found.shares[3])
    assert at_a_run.nearest < 1e-9
    far = reach(found, region, np.array([0.0, 0.0, 1.0]))
    assert far.nearest > far.usual and any("differs from it" in note for note in far.notes())


def test_a_prior_that_no_run_is_like_is_said():
    found = evidence(LAWS, n=30)
    found.shares[:] = [0.1, 0.1, 0.8] + 0.05 * (found.shares - 1 / 3)
    outside = Region(found.domains, found.stages, PRIOR)
    notes = list(reach(found, outside, PRIOR).notes())
    assert any("no run is like the prior" in note for note in notes)
    assert not within_runs(outside, found).missed(PRIOR)


# --------------------------------------------------------------------------------------------- the page


@pytest.fixture
def make(tmp_path):
    def write(changes=SPLIT, study=STUDY):
        (tmp_path / "base.yaml").write_text(recipe_text(changes))
        (tmp_path / "study.yaml").write_text(study)
        return mix_space(load_study(tmp_path / "study.yaml"))

    return write


def page_of(space, rows, tmp_path):
    from codemix.eval.mix.page import proposal_page

    answer = search(space, rows, tmp_path / "store", tmp_path, "best", resamples=20)
    return answer, proposal_page(answer)


def checked(page):
    """The HTML of a page; every id once, nothing fetched, no script."""
    html = rendering.html(page)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) and "<script" not in html
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", html)
    return html


def test_the_page_shows_shares_gains_effects_trade_off_and_surface(make, tmp_path):
    answer, page = page_of(make(), evidence_rows(), tmp_path)
    html = checked(page)
    for section in ("mixture", "gains", "effects", "trade-off", "surface", "quality"):
        assert f'<section id="{section}"' in html
    assert "all code of init" in html and "cannot tell from the prior" not in page.answer[1].lower()
    text = rendering.markdown(page)
    assert "| objective |" in text and "The best ten places" in text
    value = json.loads(json.dumps(answer.as_json()))
    assert [effect["share"] for effect in value["effects"]][0] == "code"
    assert value["trade_off"]["weight_of_code"][-1] == 1 and value["reach"]["nearest"] > 0


def test_the_trade_off_goes_from_the_best_text_to_the_best_code(make, tmp_path):
    answer, _ = page_of(make(), evidence_rows(), tmp_path)
    curve = trade_off(answer.fitted, answer.objective, answer.region, answer.measures)
    assert curve.text.value[0] > curve.text.value[-1] and curve.code.value[-1] > curve.code.value[0]
    for values in (curve.text.value[::-1], curve.code.value):
        assert (np.diff(values) > -1e-3).all()


def test_a_surface_of_the_law_is_the_law(make, tmp_path):
    answer, _ = page_of(make(), evidence_rows(noise=1e-4), tmp_path)
    [cut] = slices(answer.fitted, PRIOR, answer.landscape.effects, answer.measures[0])
    truth = (LAWS(PRIOR[None]) - LAWS(cut.mixtures)) @ answer.objective.weights
    inside = cut.mixtures.min(1) > 0.05
    np.testing.assert_allclose(cut.gain[inside], truth[inside], atol=0.01)


def test_where_nothing_can_be_told_the_page_says_so(make, tmp_path):
    flat = Laws(np.array([1.0, 1.0]), np.zeros((2, 3)))
    _, page = page_of(make(), evidence_rows(noise=0.05, laws=flat), tmp_path)
    assert page.answer[1].startswith("**Cannot tell from the prior**")
    checked(page)


def test_two_groups_have_no_surface_and_metrics_of_one_kind_no_trade_off(make, tmp_path):
    study = STUDY.replace("[init]", "[init], objective: {'*/prose': 1}")
    space = make({}, study)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(12):
        prose = float(rng.uniform(0.1, 0.9))
        shares = {"prose": prose, "web": 0.8 * (1 - prose), "markup": 0.2 * (1 - prose)}
        loss = 1 + np.exp(-prose) + 0.002 * rng.normal()
        rows.append(
            Row(
                run=f"r{i}",
                stages=(StageRead(name="init", shares=shares),),
                metrics={"bits_per_byte/prose": loss},
            )
        )
    _, page = page_of(space, rows, tmp_path)
    html = checked(page)
    assert 'id="surface"' not in html and "nothing to weigh" in html


def test_two_stages_are_shown_each(make, tmp_path):
    study = STUDY.replace("[init]", "[init, cooldown]")
    both = SPLIT | {"mixture: {prose: 80%, code: 20%}": "mixture: {prose: 60%, web: 25%, markup: 15%}"}
    first = evidence_rows(30)
    second = evidence_rows(30, seed=5, stage="cooldown")
    rows = []
    for a, b in zip(first, second, strict=True):
        metrics = {name: loss + b.metrics[name] for name, loss in a.metrics.items()}
        rows.append(a.model_copy(update={"stages": (*a.stages, *b.stages), "metrics": metrics}))
    _, page = page_of(make(both, study), rows, tmp_path)
    html = checked(page)
    for name in ("all code of init", "all code of cooldown", "cooldown.markup"):
        assert name in html


def test_the_command_writes_its_pages(make, tmp_path, monkeypatch, capsys):
    make()
    write_rows(tmp_path / "e.jsonl", evidence_rows())
    monkeypatch.chdir(tmp_path)
    assert run(["mix", "fit", "e.jsonl", "--html", "out/fit.html"]) == 0
    assert "Spearman" in capsys.readouterr().out
    assert "all metrics" in (tmp_path / "out/fit.html").read_text()
    assert run(["mix", "propose", "study.yaml", "e.jsonl", "--html", "p.html", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# ")
    assert "<!doctype html>" in (tmp_path / "p.html").read_text()
