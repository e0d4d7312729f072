"""The points of a study with `mix:`: the same each time, allowed in whole windows, and what is refused."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.base_recipe import recipe_text

from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.studies.draws import Draws
from codemix.recipe.studies.mix_space import mix_space
from codemix.recipe.studies.study import check, load_study, recipes
from codemix.recipe.studies.swarm import draw_swarm

FIRST = [[0.529154, 0.367618, 0.103228], [0.104158, 0.151376, 0.744466]]
SPLIT = {"mixture: {prose: 50%, code: 50%}": "mixture: {prose: 50%, web: 40%, markup: 10%}"}
STUDY = "codemix: 1\nstudy: which\nbase: base.yaml\nmix: {stages: [init]}\n"


@pytest.fixture
def make(tmp_path):
    def write(study=STUDY, changes=SPLIT):
        (tmp_path / "base.yaml").write_text(recipe_text(changes))
        (tmp_path / "study.yaml").write_text(study)
        return load_study(tmp_path / "study.yaml")

    return write


@given(st.integers(0, 10**9), st.lists(st.integers(0, 50), min_size=2, max_size=12))
@settings(max_examples=60)
def test_a_drawn_mixture_sums_to_one_and_has_no_crumbs(seed, weights):
    prior = [weight / max(1, sum(weights)) for weight in weights]
    if not sum(weights):
        return
    draws = Draws(seed)
    for _ in range(5):
        mixture = draws.mixture(prior)
        assert sum(mixture) == pytest.approx(1)
        assert all(share == 0 or share >= 2e-3 for share in mixture)
        assert all(not share for share, q in zip(mixture, prior, strict=True) if not q)


def test_the_first_draws_are_what_they_always_were():
    """A swarm that is resumed, also by a later Python, must have the points that it began with."""
    draws = Draws(0)
    mixtures = [[round(share, 6) for share in draws.mixture([0.5, 0.3, 0.2])] for _ in range(2)]
    assert mixtures == FIRST


def test_the_mean_of_many_draws_is_near_the_tempered_prior():
    prior = [0.6, 0.3, 0.1]
    draws = Draws(1)
    n = 3000
    sums = [0.0] * 3
    for _ in range(n):
        sums = [a + b for a, b in zip(sums, draws.mixture(prior), strict=True)]
    tempered = [share**0.75 for share in prior]
    expected = [share / sum(tempered) for share in tempered]
    assert [s / n for s in sums] == pytest.approx(expected, abs=0.03)


def test_the_prior_each_domain_up_and_out_and_random_mixtures(make):
    study = make()
    points = draw_swarm(mix_space(study)).points
    names = [point.name for point in points]
    assert names[:3] == ["prior-seed0", "prior-seed1", "prior-seed2"]
    assert names[3:9] == ["up-prose", "out-prose", "up-web", "out-web", "up-markup", "out-markup"]
    assert len(names) == 23 == len(set(names))  # 20 more than the domains
    by_name = {point.name: point.shares[0] for point in points}
    assert by_name["up-markup"] == {
        "prose": Fraction("0.3889"),
        "web": Fraction("0.3111"),
        "markup": Fraction("0.3"),
    }
    assert by_name["up-prose"]["prose"] == Fraction(3, 4)  # halfway to all, under three times a half
    assert by_name["out-web"]["web"] == 0
    random = [tuple(point.shares[0].values()) for point in points[3:]]
    assert len(set(random)) == len(random)


def test_a_swarm_is_the_same_each_time_and_another_with_another_seed(make):
    first = [point.shares for point in draw_swarm(mix_space(make())).points]
    again = [point.shares for point in draw_swarm(mix_space(make())).points]
    other = [
        point.shares
        for point in draw_swarm(mix_space(make(STUDY.replace("[init]", "[init], seed: 1")))).points
    ]
    assert first == again != other
    assert first[:9] == other[:9]


def test_every_point_keeps_caps_and_limits_in_whole_windows(make):
    """`markup` can give 17% of the stage, `code` may be 60% of it."""
    changes = SPLIT | {
        "tokens: 1M": "tokens: 350k, max_epochs: 1",
        "groups:": "limits: [{where: {kind: [code, markup]}, max: 60%}]\ngroups:",
    }
    study = make(STUDY, changes)
    swarm = draw_swarm(mix_space(study))
    assert swarm.left_out == ("out-prose", "up-web", "up-markup")
    checked = check(study)
    assert len(checked.points) == 23 and not [p for p in checked.problems if p.severity == "error"]


def test_two_stages_vary_together_and_groups_stay_whole(make):
    study = make(STUDY.replace("[init]", "[init, cooldown]"), {})
    found = recipes(study)
    assert "which-up-cooldown-code" in found
    for recipe_file in found.values():
        assert set(recipe_file.recipe.stages[0].mixture) <= {"prose", "code"}
    assert found["which-prior-seed1"].recipe.seed == 1
    plans = {name: validation.check(point).require() for name, point in found.items()}
    [base, again] = [
        plans[f"which-{name}"].stages[0].fingerprint for name in ("prior-seed0", "up-cooldown-code")
    ]
    assert base == again  # the first stage is trained once for all points that only vary the second


REFUSED = {
    "no room": (
        STUDY.replace("[init]", "[init], points: 40"),
        SPLIT | {"tokens: 10M": "tokens: 1400k, max_epochs: 1", "tokens: 4M": "tokens: 890k, max_epochs: 1",
                 "tokens: 1M": "tokens: 230k, max_epochs: 1"},
        "mix-no-room",
    ),
    "a prior that breaks a cap": (STUDY, SPLIT | {"tokens: 4M": "tokens: 500k, max_epochs: 1"}, "max-epochs"),
    "other points": (STUDY + "seeds: [0, 1]\n", SPLIT, "schema"),
    "a stage twice": (STUDY.replace("[init]", "[init, init]"), SPLIT, "schema"),
    "no stage": (STUDY.replace("[init]", "[]"), SPLIT, "schema"),
    "a weight of nothing": (STUDY.replace("[init]", "[init], objective: {a: 0}"), SPLIT, "schema"),
}  # fmt: skip


@pytest.mark.parametrize(("study", "changes", "rule"), REFUSED.values(), ids=REFUSED)
def test_a_swarm_that_cannot_be_drawn_is_refused(make, study, changes, rule):
    with pytest.raises(CodemixError) as caught:
        draw_swarm(mix_space(make(study, changes)))
    assert rule in [problem.rule for problem in caught.value.problems], caught.value


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ("grid: {rate: {low: {seed: 1}, high: {seed: 2}}}\n", "`grid:`"),
        ("seeds: [0, 1]\n", "`seeds:`"),
        ("variations: [{name: a}]\nseeds: [1]\n", "`variations:` and `seeds:`"),
    ],
)
@pytest.mark.parametrize("mix_first", [True, False])
def test_other_axes_beside_mix_are_refused_at_mix_by_their_names(tmp_path, other, named, mix_first):
    head, mix, stages = STUDY.rpartition("mix:")
    text = f"{head}{mix}{stages}{other}" if mix_first else f"{head}{other}{mix}{stages}"
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(CodemixError) as caught:
        load_study(tmp_path / "study.yaml")
    [problem] = caught.value.problems
    assert problem.where.path == "mix" and named in problem.what and named in problem.hints[0]
