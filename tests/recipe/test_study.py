"""Studies: overrides, expansion, sweeps, the tree of shared stages, problems at their places."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file, yaml_text
from codemix.recipe.language.overrides import layered, override, remove
from codemix.recipe.planning import plan_tables
from codemix.recipe.studies import study
from codemix.recipe.studies.study_spec import Sweep
from codemix.recipe.studies.sweep import NewShare, apply_share

RECIPES = Path(__file__).parents[2] / "recipes"

BASE = """\
codemix: 1
name: base
tokenizer: {kind: tokenizer_json, path: t.json}
sources:
  text: {read: {kind: jsonl, paths: t.jsonl}, tokens: 1B, held_out: 1%}
  web: {read: {kind: jsonl, paths: w.jsonl}, tokens: 1B, tags: {kind: code}}
  fine.web: {read: {kind: jsonl, paths: f.jsonl}, tokens: 1B}
groups:
  code: {web: 80%, fine.web: 20%}
model: {preset: 120M}
training: {seq_len: 1024, batch_size: 8}
stages:
  - name: init
    tokens: 10M
    mixture: {text: 50%, code: 50%}
    learning_rate: {kind: cosine, peak: 1e-3, floor: 1e-4, warmup: 1%}
  - name: cooldown
    tokens: 1M
    mixture: {text: 80%, code: 20%}
    learning_rate: {kind: linear, floor: 1e-6}
"""


@pytest.fixture
def make(tmp_path):
    """Writes base.yaml and a study beside it."""
    (tmp_path / "base.yaml").write_text(BASE)

    def write(body: str, head: str = "codemix: 1\nstudy: s\nbase: base.yaml\n") -> study.Study:
        (tmp_path / "study.yaml").write_text(head + body)
        return study.load_study(tmp_path / "study.yaml")

    return write


def plans(s: study.Study) -> dict:
    result = study.check(s)
    checked, problems = result.points, result.problems
    assert not [p for p in problems if p.severity == "error"], problems
    return {name: c.plan for name, c in checked.items()}


def shares(plan, stage: str) -> dict[str, Fraction]:
    return {s.source: s.share for s in plan.stage(stage).sources}


def test_points_are_the_product_of_variations_grid_sweep_and_seeds(make):
    axes = "grid: {rate: {low: {}, high: {}}}\nsweep: {stage: init, of: code, shares: [0%, 50%]}\n"
    s = make("variations: [{name: a}, {name: b}]\n" + axes + "seeds: [1, 2]\n")
    names = list(study.expand(s))
    assert len(names) == 2 * 2 * 2 * 2 == len(set(names))
    assert names[0] == "s-a-low-00pct-seed1" and names[-1] == "s-b-high-50pct-seed2"
    assert study.expand(s)["s-a-low-00pct-seed2"].seed == 2


def test_a_study_without_variations_is_its_base(make):
    recipe = study.expand(make(""))["s"]
    assert recipe.model_copy(update={"name": "base"}) == recipe_file.parse_recipe(BASE, "b").recipe


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("{stages: {init: {tokens: 20M}}}", ("stages", 0, "tokens"), "20M"),
        ("{stages.init.tokens: 20M}", ("stages", 0, "tokens"), "20M"),
        ("{model.preset: 470M}", ("model",), {"preset": "470M"}),
        ("{stages.init.mixture: {text: 100%}}", ("stages", 0, "mixture"), {"text": "100%"}),
        ("{stages: {init: {mixture: {text: 100%}}}}", ("stages", 0, "mixture"), {"text": "100%"}),
        ("{groups.code: {web: 100%}}", ("groups", "code"), {"web": "100%"}),
        ("{sources.fine.web.tokens: 5B}", ("sources", "fine.web", "tokens"), "5B"),
        (
            "{stages.init.learning_rate: {peak: 2e-3}}",
            ("stages", 0, "learning_rate"),
            {"kind": "cosine", "peak": 2e-3, "floor": 1e-4, "warmup": "1%"},
        ),
        (
            "{stages.init.learning_rate: {kind: constant, value: 1e-3}}",
            ("stages", 0, "learning_rate"),
            {"kind": "constant", "value": 1e-3},
        ),
        ("{training: {z_loss: 1e-4}}", ("training",), {"seq_len": 1024, "batch_size": 8, "z_loss": 1e-4}),
        ("{silence: {many-epochs: why}}", ("silence",), {"many-epochs": "why"}),
    ],
)
def test_what_an_override_changes(make, change, path, value):
    point = next(iter(study.recipes(make(f"set: {change}\n")).values())).document
    found = point.value
    for part in path:
        found = found[part]
    assert found == value


def test_stages_are_taken_out_and_put_in(make):
    s = make("""\
without: [stages.init]
set:
  stages.first: {before: cooldown, tokens: 5M, mixture: {text: 100%}, learning_rate: {kind: constant, value: 1e-3}}
  stages.last: {steps: 10, mixture: {web: 100%}, learning_rate: {kind: constant}}
""")
    plan = plans(s)["s"]
    assert [stage.name for stage in plan.stages] == ["first", "cooldown", "last"]
    assert plan.stages[1].parent.name == "first"


@pytest.mark.parametrize(
    ("body", "says", "line"),
    [
        ("set: {stages.intit.tokens: 2M}\n", "no `intit`", 4),
        ("set: {stages: {intit: {tokens: 2M}}}\n", "no `intit`", 4),
        ("set:\n  training.seq_len.x: 4\n", "`x` leads into", 5),
        ("set:\n  sources.text.tokenz: 4B\n", "`tokenz` is not a key here", 5),
        ("set:\n  stages.init.mixture: {text: 50%}\n", "the shares sum to 50%", 5),
        ("without: [stages.cool]\n", "no `cool`", 4),
        ("sweep: {stage: init, of: markup, shares: [50%]}\n", "no source or group `markup`", 4),
        ("sweep: {stage: init, of: web, shares: [50%]}\n", "reads `web` inside `code` too", 4),
        (
            "set: {stages.init.mixture: {text: 50%, all: {share: 50%, of: {code: 100%}}}}\nsweep: {stage: init, of: web, shares: [0%]}\n",
            "inside `all` too",
            5,
        ),
        ("sweep: {stage: cool, of: code, shares: [50%]}\n", "no `cool`", 4),
        ("sweep: {stage: init, of: code, shares: [100%], kind: additive}\n", "cannot reach 100%", 4),
        ("anneal: {stage: init, candidates: [code]}\n", "`init` is not the last stage", 4),
        (
            "without: [stages.cooldown]\nanneal: {stage: init, candidates: [code]}\n",
            "there is no trunk that it continues",
            5,
        ),
        ("anneal: {stage: cool, candidates: [code]}\n", "no `cool`", 4),
        ("anneal: {stage: cooldown, candidates: [code, markup]}\n", "no source or group `markup`", 4),
        ("anneal: {stage: cooldown, candidates: [web]}\n", "reads `web` inside `code` too", 4),
        ("anneal: {stage: cooldown, candidates: [code, code]}\n", "a candidate appears twice", 4),
        ("anneal: {stage: cooldown, candidates: [baseline]}\n", "the point without a candidate", 4),
        ("anneal: {stage: cooldown, candidates: [code], share: 0%}\n", "is no candidate", 4),
        (
            "anneal: {stage: cooldown, candidates: [code]}\nsweep: {stage: init, of: code, shares: [50%]}\n",
            "either `sweep:` or `anneal:`",
            2,
        ),
        ("variations: [{name: a}, {name: a}]\n", "two variations are called `a`", 4),
        ("variations: [{name: a, base: /etc/x.yaml}]\n", "not a recipe beside this study", 4),
        ("variations: [{name: a, base: other.yaml}]\n", "cannot read", 4),
        ("seeds: [1, 1]\n", "each once", 4),
        ("grid: {rate: {}}\n", "the axis `rate` has no values", 4),
        ("sweep: {stage: init, of: code, shares: [50%, 50%]}\n", "appears twice", 4),
        (
            "set: {stages.init.mixture: {code: 100%}}\nsweep: {stage: init, of: code, shares: [50%]}\n",
            "reads only `code`",
            5,
        ),
        (
            "set: {stages.init.mixture: {text: {from: 10%, to: 20%}, code: rest}}\nsweep: {stage: init, of: code, shares: [50%]}\n",
            "needs a plain share of `text`",
            4,
        ),
        (
            "set: {stages.init.mixture: {text: 0%, code: 100%}}\nsweep: {stage: init, of: code, shares: [50%]}\n",
            "nothing but `code`",
            4,
        ),
        (
            "set: {stages.init: {tokens: null, steps: 9}}\nsweep: {stage: init, of: code, shares: [50%], kind: additive}\n",
            "an additive sweep needs `tokens:`",
            5,
        ),
        (
            "variations: [{name: a-b}, {name: a}]\ngrid: {x: {c: {}, b-c: {}}}\n",
            "two points become `s-a-b-c`",
            2,
        ),
        (
            "set: {stages.new: {before: nothing, steps: 5, mixture: {text: 100%}, learning_rate: {kind: constant, value: 1e-3}}}\n",
            "no `nothing`",
            4,
        ),
    ],
)
def test_problems_point_into_the_study(make, body, says, line):
    with pytest.raises(CodemixError) as caught:
        s = make(body)
        problems = study.check(s).problems
        raise CodemixError(*problems)
    problem = caught.value.problems[0]
    assert says in problem.what, problem.what
    assert problem.where.file.endswith("study.yaml") and problem.where.line in (line, 1), problem.where


def test_a_problem_of_the_base_points_into_the_base_and_is_told_once(make, tmp_path):
    (tmp_path / "base.yaml").write_text(BASE.replace("text: 80%, code: 20%", "text: 80%, code: 30%"))
    problems = study.check(make("seeds: [0, 1, 2]\n")).problems
    (problem,) = [p for p in problems if p.severity == "error"]
    assert problem.where.file.endswith("base.yaml") and "sum to 110%" in problem.what
    assert "`seed0`, `seed1`, `seed2`" in problem.hints[-1]


def test_what_takes_the_rest_takes_it_along_a_sweep(make):
    body = "set: {stages.init.mixture: {text: rest, code: 10%}}\nsweep: {stage: init, of: code, shares: [0%, 40%], kind: additive}\n"
    mixtures = [r.stages[0].mixture for r in study.expand(make(body)).values()]
    assert mixtures == [{"text": Fraction(1)}, {"text": Fraction(3, 5), "code": Fraction(2, 5)}]


def test_a_competitive_sweep_keeps_the_total(make):
    found = plans(make("sweep: {stage: init, of: code, shares: [0%, 25%, 90%, 100%]}\n"))
    assert len({p.stage("init").tokens for p in found.values()}) == 1
    assert [sum(v for k, v in shares(p, "init").items() if k != "text") for p in found.values()] == [
        0,
        Fraction(1, 4),
        Fraction(9, 10),
        1,
    ]


def test_an_anneal_gives_each_candidate_one_share_of_the_last_stage_of_one_trunk(make):
    changes = "set: {stages.cooldown.mixture: {text: 100%}}\n"
    anneal = "anneal: {stage: cooldown, candidates: [fine.web, web], share: 30%}\n"
    rates = "grid: {rate: {low: {stages.cooldown.learning_rate: {floor: 1e-7}}, high: {}}}\n"
    found = plans(make(changes + anneal + rates))
    assert [*found] == [f"s-{r}-{c}" for r in ("low", "high") for c in ("baseline", "fine.web", "web")]
    assert len({plan.stages[0].fingerprint for plan in found.values()}) == 1
    last = {name: shares(plan, "cooldown") for name, plan in found.items()}
    assert last["s-low-baseline"] == {"text": 1}
    assert last["s-high-web"] == {"text": Fraction(7, 10), "web": Fraction(3, 10)}
    assert len({plan.stages[1].tokens for plan in found.values()}) == 1


def test_an_additive_sweep_keeps_the_rest(make):
    changes = "set: {stages.init.mixture: {text: 100%}, stages.init.tokens: 1B, sources.text.max_epochs: 2}\n"
    s = make(changes + "sweep: {stage: init, of: web, shares: [0%, 20%, 50%], kind: additive}\n")
    asked = {n: (r.stages[0].tokens, r.stages[0].mixture) for n, r in study.expand(s).items()}
    assert [t for t, _ in asked.values()] == [10**9, 125 * 10**7, 2 * 10**9]
    for tokens, mixture in asked.values():
        assert abs(tokens * mixture["text"] - 10**9) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_a_sweep_scales_the_rest_in_proportion(percent, weights):
    names = [f"x{i}" for i in range(len(weights))]
    total = sum(weights)
    mixture = {n: f"{w}/{total}" for n, w in zip(names, weights, strict=True)}
    value = {
        "sources": {"code": {}} | {n: {} for n in names},
        "stages": [{"name": "a", "tokens": 1000, "mixture": mixture}],
    }
    point = layered(yaml_text.YamlFile("b", "", value), "s")
    sweep = Sweep(stage="a", of="code", shares=[f"{percent}%"])
    apply_share(point, NewShare.of_sweep(sweep, 0), yaml_text.YamlFile("s", "", {}))
    new = {
        n: Fraction(s.rstrip("%")) / (100 if s.endswith("%") else 1)
        for n, s in point.value["stages"][0]["mixture"].items()
    }
    assert sum(new.values()) == 1 and new.get("code", 0) == Fraction(percent, 100)
    for n, w in zip(names, weights, strict=True):
        assert new[n] == Fraction(w, total) * (1 - Fraction(percent, 100))
    assert value["stages"][0]["mixture"] == mixture, "the base is not touched"


def test_equal_stages_are_one_node_and_the_tree_says_what_that_saves(make):
    s = make(
        "variations: [{name: a}, {name: b, set: {stages.cooldown.tokens: 2M}}, {name: c, without: [stages.cooldown]}]\n"
    )
    found = plans(s)
    made = study.tree(found)
    assert [(d, n.stage.name, len(n.recipes)) for d, n in made.walk()] == [
        (0, "init", 3),
        (1, "cooldown", 1),
        (1, "cooldown", 1),
    ]
    saving = made.saving()
    init = next(iter(found.values())).stage("init").tokens
    assert saving.tokens_apart - saving.tokens == 2 * init
    assert saving.tokens == sum(n.stage.tokens for _, n in made.walk())
    assert 0 < saving.chip_hours < saving.chip_hours_apart
    drawn = made.text(lambda stage: f"[{stage.name}]")
    assert "└─ cooldown" in drawn and "3 stages: 2 [cooldown], 1 [init]" in drawn and "hours" not in drawn
    assert "3 recipes need 3 stages; one by one they would train 5" in made.text()
    assert [line.split("-> ")[1] for line in drawn.splitlines() if "-> " in line] == [
        "c",
        "a",
        "b",
    ]  # without what all names begin with
    assert made.as_json()["saving"]["stages"] == 3 and "| init |" in made.markdown()


def test_each_recipe_of_a_tree_is_estimated_with_its_own_vocabulary(make):
    bpe = "{kind: bpe, vocab_size: %d, train: {bytes: 1MB}}"
    made = plans(
        make(
            f"variations: [{{name: a, set: {{tokenizer: {bpe % 512}}}}}, {{name: b, set: {{tokenizer: {bpe % 50_000}}}}}]\n"
        )
    )
    apart = [sum(n["chip_hours"] for n in plan_tables.as_json(plan)["stages"]) for plan in made.values()]
    assert study.tree(made).saving().chip_hours == pytest.approx(sum(apart)) and apart[0] < apart[1] / 1.1


def test_another_seed_shares_nothing_and_names_or_notes_share_everything(make):
    assert len(study.tree(plans(make("seeds: [0, 1]\n"))).walk()) == 4
    assert (
        len(
            study.tree(
                plans(make("variations: [{name: a, set: {notes: x}}, {name: b, description: y}]\n"))
            ).walk()
        )
        == 2
    )


def test_written_points_are_complete_recipes_with_the_same_stages(make, tmp_path):
    s = make(
        "set: {silence: {code-share-high: on purpose}}\nsweep: {stage: init, of: code, shares: [0%, 100%]}\n"
    )
    before = {n: [x.fingerprint for x in p.stages] for n, p in plans(s).items()}
    for path in study.write_recipes(s, tmp_path / "out"):
        checked = validation.check(recipe_file.read_recipe(path))
        assert not checked.problems, checked.problems
        assert [x.fingerprint for x in checked.plan.stages] == before[path.stem]


def test_init_from_of_a_base_elsewhere_still_leads_there(make, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "first.yaml").write_text(BASE.replace("name: base", "name: first"))
    second = BASE.replace("name: base", "name: second")
    second = second.replace(
        "  - name: init\n", "  - name: init\n    init_from: {recipe: first.yaml, stage: init}\n"
    )
    (tmp_path / "sub" / "second.yaml").write_text(second)
    found = plans(make("", "codemix: 1\nstudy: s\nbase: sub/second.yaml\n"))["s"]
    assert found.stages[0].parent.name == "init" and found.stages[0].parent.parent is None


def test_a_recipe_is_not_a_study_and_a_study_is_not_a_recipe(make, tmp_path):
    with pytest.raises(CodemixError, match="this is a recipe, not a study"):
        study.load_study(tmp_path / "base.yaml")
    with pytest.raises(CodemixError, match="this is a study, not a recipe"):
        recipe_file.read_recipe(make("").document.file)
    with pytest.raises(CodemixError, match="base of a study is a recipe"):
        study.expand(make("", "codemix: 1\nstudy: s\nbase: study.yaml\n"))


def test_removing_keeps_later_origins_right():
    base = yaml_text.parse(
        "a: 1\nstages:\n  - {name: x, t: 1}\n  - {name: y, t: 2}\n  - {name: z, t: 3}\n", "b"
    )
    change = yaml_text.parse("stages.z.t: 9\n", "c")
    point = layered(base, "s")
    override(point, change.value, change, ())
    remove(point, "stages.x", change, ())
    remove(point, "a", change, ())
    assert point.value == {"stages": [{"name": "y", "t": 2}, {"name": "z", "t": 9}]}
    assert (point.where(("stages", 0, "t")).file, point.where(("stages", 0, "t")).line) == ("b", 4)
    assert (point.where(("stages", 1, "t")).file, point.where(("stages", 1, "t")).line) == ("c", 1)
    assert point.where(("stages", 1, "name")).line == 5


PATHS = [
    "stages",
    "stages.init",
    "stages.init.mixture",
    "stages.init.tokens",
    "stages.cooldown",
    "init",
    "sources",
    "sources.text",
    "sources.fine.web.read",
    "groups.code",
    "model",
    "model.preset",
    "training.batch_size",
    "seed",
    "name",
    "tokenizer",
    "learning_rate",
    "kind",
    "mixture",
    "tokens",
    "before",
    "silence.x",
    ".",
    "a..b",
    "",
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 10**6)
    | st.sampled_from(["50%", "1B", "rest", "init", "x", "", "constant"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(PATHS), inner, max_size=3),
    max_leaves=8,
)
CHANGES = st.dictionaries(st.sampled_from(PATHS), VALUES, max_size=3)
SWEEPS = st.fixed_dictionaries(
    {
        "stage": st.sampled_from(["init", "cooldown", "x"]),
        "of": st.sampled_from(["code", "text", "web", "x"]),
        "shares": st.lists(st.sampled_from(["0%", "50%", "100%"]), max_size=2),
        "kind": st.sampled_from(["competitive", "additive"]),
    }
)


@settings(max_examples=120, deadline=None)
@given(
    CHANGES,
    st.lists(st.sampled_from(PATHS), max_size=2),
    SWEEPS | st.none(),
    st.lists(st.integers(-1, 3), max_size=2),
)
def test_any_study_gives_plans_or_located_problems(tmp_path_factory, change, without, sweep, seeds):
    folder = tmp_path_factory.getbasetemp()
    (folder / "base.yaml").write_text(BASE)
    value = {
        "codemix": 1,
        "study": "s",
        "base": "base.yaml",
        "set": change,
        "without": without,
        "seeds": seeds,
    } | ({"sweep": sweep} if sweep else {})
    (folder / "study.yaml").write_text(yaml_text.dump(value))
    try:
        result = study.check(study.load_study(folder / "study.yaml"))
        checked, problems = result.points, result.problems
        study.tree({n: c.plan for n, c in checked.items() if not c.errors}).text()
    except CodemixError as error:
        problems = error.problems
    assert all(p.where is not None and p.what for p in problems)


@pytest.mark.parametrize("name", ["studies/additive", "studies/ladder", "paper/study-scale"])
def test_expanded_recipes_keep_comments_and_train_the_same_stages(name, tmp_path):
    of_study = study.load_study(RECIPES / f"{name}.yaml")
    base = (of_study.folder / of_study.spec.base).read_text()
    comments = [line.strip() for line in base.splitlines() if line.strip().startswith("# ")][2:]
    plans = study.check(of_study).require()
    for path in study.write_recipes(of_study, tmp_path / "deep" / "er"):
        written = validation.check(recipe_file.read_recipe(path)).require()
        planned = plans[written.recipe.name]
        assert [s.fingerprint for s in written.stages] == [s.fingerprint for s in planned.stages]
        assert all(comment in path.read_text() for comment in comments)
