"""Every shipped recipe and study validates and plans; the paper's come to the paper's tokens."""

from fractions import Fraction
from pathlib import Path

import pytest

from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file, schema
from codemix.recipe.language.component import Component, Spec
from codemix.recipe.scaling.proxy_values import Wanted
from codemix.recipe.scaling.scale_down import scale_down
from codemix.recipe.studies import study
from codemix.recipe.studies.stage_tree import tree

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "recipes").rglob("*.yaml"))
STUDIES = [f for f in FILES if "\nstudy:" in f.read_text()]
RECIPES = [f for f in FILES if f not in STUDIES]
PAPER = ROOT / "recipes" / "paper"
B = 10**9


def name(path: Path) -> str:
    return str(path.relative_to(ROOT / "recipes"))


def planned(path: Path) -> dict:
    """Plans by recipe name, of a recipe or of a study."""
    if path in STUDIES:
        result = study.check(study.load_study(path))
        checked, problems = result.points, result.problems
    else:
        one = validation.check(recipe_file.read_recipe(path))
        checked, problems = {one.plan.recipe.name: one}, one.problems
    assert not problems, "\n".join(p.render() for p in problems)
    return {n: c.require() for n, c in checked.items()}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_it_plans_without_a_problem_or_an_unexplained_warning(path):
    for plan in planned(path).values():
        for stage in plan.stages:
            assert sum(s.windows for s in stage.sources) == stage.rows
            assert 0 <= stage.asked_tokens - stage.tokens < stage.batch_size(stage.steps - 1) * stage.seq_len


@pytest.mark.parametrize("path", FILES, ids=name)
def test_its_header_names_the_schema_that_editors_need(path):
    first = path.read_text().split("\n")[0]
    kind = "study" if path in STUDIES else "recipe"
    assert (
        first
        == f"# yaml-language-server: $schema={'../' * len(path.relative_to(ROOT).parts[:-1])}docs/{kind}.schema.json"
    )


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_a_recipe_is_called_like_its_file(path):
    assert recipe_file.read_recipe(path).recipe.name == path.stem


def shares(plan, stage: str) -> dict[str, Fraction]:
    """Shares by what the paper distinguishes, as planned."""
    s = plan.stage(stage)
    return {x.source: round(Fraction(x.windows, s.rows), 6) for x in s.sources}


def tokens(plan, stage: str, *kinds: str) -> float:
    """Planned tokens of the kinds in a stage [billions]."""
    s = plan.stage(stage)
    return sum(x.windows for x in s.sources if x.tags["kind"] in kinds) * s.seq_len / B


CODE = ("code", "markup", "synthetic-code", "code-adjacent")
STEP = 512 * 8192 / B  # a stage ends on a whole step


@pytest.mark.parametrize(
    ("recipe", "stage", "text", "code"),
    [  # table 2
        ("text-only", "pretrain", 400, 0),
        ("balanced-only", "pretrain", 200, 200),
        ("balanced-to-text", "init", 100, 100),
        ("balanced-to-text", "continue", 180, 20),
        ("code-to-text", "init", 0, 200),
        ("code-to-text", "continue", 180, 20),
        *((r, "cooldown", 32, 8) for r in ("text-only", "balanced-only", "balanced-to-text", "code-to-text")),
    ],
)
def test_table_2(recipe, stage, text, code):
    plan = planned(PAPER / f"{recipe}.yaml")[recipe]
    assert tokens(plan, stage, "text", "maths", "instruct") == pytest.approx(text, abs=STEP)
    assert tokens(plan, stage, *CODE) == pytest.approx(code, abs=STEP)
    assert sum(s.asked_tokens for s in plan.stages) == 440 * B
    assert plan.recipe.training.seq_len == 8192 and plan.recipe.training.batch_size == 512
    assert plan.recipe.tokenizer.vocab_size == 256_000
    parameters = plan.recipe.model.parameters(256_000)
    assert parameters == pytest.approx(470e6, rel=0.02)


def test_schedules_of_table_2():
    for recipe in ("text-only", "balanced-only", "balanced-to-text", "code-to-text"):
        plan = planned(PAPER / f"{recipe}.yaml")[recipe]
        first, last = plan.stages[0], plan.stages[-1]
        peak = first.spec.learning_rate.peak
        assert first.lr(1324) == pytest.approx(peak) and first.lr(1323) < peak and first.lr(3000) < peak
        assert last.lr(last.steps - 1) == pytest.approx(1e-6) and last.lr(0) <= last.parent.lr(
            last.parent.steps - 1
        )


def test_the_proportion_sweep():
    plans = planned(PAPER / "study-code-proportion.yaml")
    assert [round(tokens(p, "init", *CODE) / (p.stages[0].tokens / B), 4) for p in plans.values()] == [
        0,
        0.25,
        0.5,
        0.75,
        0.9,
        1,
    ]
    assert {p.stages[0].asked_tokens for p in plans.values()} == {200 * B}
    assert shares(plans["code-proportion-100pct"], "init") == {
        "web_code": Fraction(4, 5),
        "markup": Fraction(1, 5),
    }


def test_the_quality_study():
    plans = planned(PAPER / "study-code-quality.yaml")
    found = {n.removeprefix("code-quality-"): shares(p, "init") for n, p in plans.items()}
    assert found == {
        "web": {"web_code": 1},
        "markup": {"web_code": Fraction(4, 5), "markup": Fraction(1, 5)},
        "adjacent": {
            "web_code": Fraction(85, 100),
            "issues": Fraction(5, 100),
            "stackexchange": Fraction(5, 100),
            "notebooks": Fraction(5, 100),
        },
        "synthetic": {
            "web_code": Fraction(72, 100),
            "markup": Fraction(18, 100),
            "synthetic": Fraction(10, 100),
        },
    }
    synthetic = next(s for s in plans["code-quality-synthetic"].stages[0].sources if s.source == "synthetic")
    assert float(synthetic.epochs_after) == pytest.approx(6.25, abs=0.01)


def test_the_cooldown_arms():
    plans = planned(PAPER / "study-cooldown.yaml")
    assert [s.name for s in plans["cooldown-none"].stages] == ["init", "continue"]
    assert tokens(plans["cooldown-without-code"], "cooldown", *CODE) == 0
    assert tokens(plans["cooldown-without-code"], "cooldown", "text", "maths", "instruct") == pytest.approx(
        40, abs=STEP
    )


def test_scale():
    plans = planned(PAPER / "study-scale.yaml")
    assert len(plans) == 3
    for plan in plans.values():
        assert sum(s.asked_tokens for s in plan.stages) == 400 * B
        assert plan.recipe.model.parameters(256_000) == pytest.approx(2.8e9, rel=0.02)


def test_sources_hold_the_papers_tokens_and_are_the_same_in_every_recipe():
    recipes = [recipe_file.read_recipe(f).recipe for f in RECIPES if f.parent == PAPER]
    seen: dict = {}
    for recipe in recipes:
        for source, spec in recipe.sources.items():
            assert seen.setdefault(source, spec) == spec, f"{source} differs in {recipe.name}"
    sizes = {n: s.tokens / B for n, s in seen.items()}
    assert (sizes["text"], sizes["web_code"], sizes["markup"], sizes["synthetic"]) == (503, 139, 180, 3.2)
    assert sizes["issues"] + sizes["stackexchange"] + sizes["notebooks"] == pytest.approx(21.4)
    assert len(seen["web_code"].read.paths) == 25 and len(seen["markup"].read.paths) == 10
    assert [op.kind for op in seen["web_code"].ops][-4:] == [
        "max_floats",
        "contains_0x",
        "top_level_domains",
        "generated_by",
    ]


def test_the_kinds_of_code_are_apart_at_full_scale_and_repeat_as_much_in_the_proxy():
    community = ROOT / "recipes" / "community"
    arms = planned(community / "study-code-kinds.yaml")
    kinds = ("text", "code", "code-text", "math-text")
    found = {arm: [round(tokens(plan, "pretrain", kind)) for kind in kinds] for arm, plan in arms.items()}
    assert found == {
        "code-kinds-all-kinds": [8400, 800, 400, 400],
        "code-kinds-without-code": [9200, 0, 400, 400],
        "code-kinds-without-code-text": [8800, 800, 0, 400],
        "code-kinds-without-math-text": [8800, 800, 400, 0],
        "code-kinds-worked-math": [8400, 800, 400, 400],
    }
    source = recipe_file.read_recipe(community / "code-kinds.yaml")
    target = validation.check(source).require()
    shipped = planned(community / "code-kinds-proxy.yaml")["code-kinds-proxy"]
    wanted = Wanted(Fraction(1, 1000), "code-kinds-proxy", "120M", 1e-3)
    assert scale_down(source, target, {}, wanted).plan.stages == shipped.stages
    pairs = zip(target.stages[0].sources, shipped.stages[0].sources, strict=True)
    for whole, part in pairs:
        assert float(part.epochs_after) == pytest.approx(float(whole.epochs_after), rel=1e-3)


def test_all_trainings_of_the_paper_are_25_stages():
    plans: dict = {}
    for path in FILES:
        if path.parent == PAPER:
            plans |= planned(path)
    made = tree(plans)
    assert len(made.walk()) == 25
    by_print = {}
    for n, plan in plans.items():
        for stage in plan.stages:
            by_print.setdefault(stage.fingerprint, set()).add((n, stage.name))
    named = 0
    for stages in by_print.values():
        # two names of one training: the 100% point and the quality study's markup; the 50% point and the init
        # without synthetic code
        names = {n for n, _ in stages}
        named += (
            1
            + ({"code-proportion-100pct", "code-quality-markup"} <= names)
            + ({"code-proportion-50pct", "balanced-synthetic-without"} <= names)
        )
    assert named == 27
    assert any(
        {"code-to-text", "code-quality-synthetic"} <= {n for n, _ in stages} for stages in by_print.values()
    )


def test_the_miniature_shares_its_sweep_with_its_recipes():
    plans = planned(ROOT / "recipes" / "studies" / "to-code-mini.yaml")
    made = tree(plans)
    assert len(plans) == 20 and len(made.walk()) == 28
    assert sum(n.stage.tokens for _, n in made.walk()) < 30e6
    for seed in (0, 1):
        first = [
            plans[f"to-code-mini-{n}-seed{seed}"].stages[0].fingerprint
            for n in ("sweep-50", "balanced-to-text")
        ]
        assert first[0] == first[1]
    for recipe in ("text-only", "balanced-only", "balanced-to-text", "code-to-text"):
        assert plans[f"to-code-mini-{recipe}-seed0"].stages[-1].name == "cooldown"


def test_between_them_the_recipes_use_every_key_of_the_language():
    used: set[str] = set()

    def collect(value, name: str) -> None:
        for field, info in type(value).model_fields.items():
            inner = getattr(value, field)
            if inner != info.get_default(call_default_factory=True):
                used.add(f"{name}.{field}")
            parts = (
                inner.values() if isinstance(inner, dict) else inner if isinstance(inner, tuple) else (inner,)
            )
            for part in parts:
                if isinstance(part, Spec) and not isinstance(part, Component):
                    collect(part, type(part).__name__)

    for path in RECIPES:
        collect(recipe_file.read_recipe(path).recipe, "Recipe")
    wanted = {
        f"{m.__name__}.{f}"
        for m in (schema.Recipe, schema.SourceSpec, schema.Stage, schema.Replace, schema.InitFrom)
        for f in m.model_fields
    }
    unused = {
        "Recipe.seed",
        "SourceSpec.on_bad",
        "SourceSpec.max_bad",
        "SourceSpec.notes",
        "Stage.seed",
        "Stage.fim_spm",
        "Stage.description",
    }
    assert wanted - used <= unused | {"Stage.notes", "InitFrom.stage", "InitFrom.recipe"}, (
        wanted - used - unused
    )


def test_published_totals_of_the_community_recipes():
    totals = {
        p.stem: sum(s.asked_tokens for s in planned(p)[p.stem].stages)
        for p in RECIPES
        if p.parent.name == "community"
    }
    published = {
        "code-kinds": 10.0,
        "code-kinds-proxy": 0.01,
        "crystalcoder": 1.372,
        "llama3-anneal-probe": 7.54,
        "marin-8b": 12.75,
        "olmo2-7b": 3.95,
        "olmo3-7b": 6.08,
        "opencoder-8b": 2.6,
        "smollm2-1.7b": 11.0,
        "smollm3-3b": 11.136,
    }
    assert {n: t / 1e12 for n, t in totals.items()} == pytest.approx(published, rel=1e-3)
    olmo = planned(ROOT / "recipes/community/olmo2-7b.yaml")["olmo2-7b"].stages[0]
    assert olmo.lr(olmo.steps - 1) == pytest.approx(6.15e-5, rel=0.02), "the published start of stage 2"


def test_the_tour_has_room_where_python_brings_less_text(tmp_path):
    for name_of_file in ("quickstart.yaml", "tour.yaml"):
        text = (ROOT / "recipes" / name_of_file).read_text()
        smaller = text.replace("tokens: 900k", "tokens: 310k").replace("tokens: 2.8M", "tokens: 1.9M")
        (tmp_path / name_of_file).write_text(smaller)
    checked = validation.check(recipe_file.read_recipe(tmp_path / "tour.yaml"))
    assert checked.plan.recipe.sources["docs"].tokens == 310_000
    assert [problem for problem in checked.problems if problem.severity == "error"] == []
