import ast
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.base_recipe import BASE, checked, recipe_text

from codemix.errors import CodemixError
from codemix.recipe.checks import limits, recipe_rules, stage_rules, validation
from codemix.recipe.language import recipe_file, yaml_text
from codemix.recipe.language.finding import WARNINGS
from codemix.recipe.planning import epoch_caps, mixture, planner
from codemix.recipe.planning.plan import Pool, lineage

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = yaml.safe_load((GOLDEN / "rules.yaml").read_text())
ELSEWHERE = {  # rules that need files around the recipe; tested by name below or where their files are
    "file",
    "plugin",
    "lineage-cycle",
    "model-changes",
}


def problems_of(case):
    content = case["text"] if "text" in case else recipe_text(case["change"])
    try:
        return validation.check(recipe_file.parse_recipe(content, "recipe.yaml"), root=Path.cwd()).problems
    except CodemixError as error:
        return error.problems


@pytest.mark.parametrize("rule", CASES)
def test_each_rule_fires_with_its_exact_message(rule, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    found = problems_of(CASES[rule])
    message = "\n\n".join(p.render() for p in found) + "\n"
    golden = GOLDEN / "rules" / f"{rule}.txt"
    if os.environ.get("CODEMIX_UPDATE_GOLDEN"):
        golden.write_text(message)
    assert rule in {p.rule for p in found}, message
    assert all(p.where is not None for p in found)
    assert message == golden.read_text()


def rules_in(module):
    """Every rule that a module can report: `rule=` of any call, and the second word of `finding(...)`."""
    out = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.Call):
            words = [k.value for k in node.keywords if k.arg == "rule"]
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("finding", "_found", "problem") and len(node.args) > 1:
                words.append(node.args[1])
            if name == "Problem" and len(node.args) > 3:
                words.append(node.args[3])
            out |= {
                w.value
                for word in words
                for w in ast.walk(word)
                if isinstance(w, ast.Constant) and isinstance(w.value, str)
            }
    return {w for w in out if w and set(w) <= set("abcdefghijklmnopqrstuvwxyz-")}


def test_no_rule_is_dead():
    known = set().union(
        *(
            rules_in(m)
            for m in (
                yaml_text,
                recipe_file,
                mixture,
                planner,
                epoch_caps,
                validation,
                recipe_rules,
                stage_rules,
                limits,
            )
        )
    ) - {"component_kind"}
    assert known - set(CASES) - ELSEWHERE == set()
    assert set(WARNINGS) <= set(CASES)


def test_all_problems_at_once_in_file_order():
    result = checked(
        {
            "{prose: 50%, code: 50%}": "{prose: 60%, cod: 50%}",
            "{prose: 80%, code: 20%}": "{prose: 70%, code: 20%}",
        }
    )
    lines = [p.where.line for p in result.problems]
    assert len(lines) >= 3 and lines == sorted(lines)


def test_recipes_that_start_from_each_other_in_a_circle(tmp_path):
    for a, b in (("one", "two"), ("two", "one")):
        (tmp_path / f"{a}.yaml").write_text(
            recipe_text(
                {
                    "    tokens: 2M\n": f"    tokens: 2M\n    init_from: {{recipe: {b}.yaml, stage: cooldown}}\n"
                }
            )
        )
    found = validation.check(recipe_file.read_recipe(tmp_path / "one.yaml")).errors
    assert "circle" in found[0].what


def test_a_stage_may_start_from_another_recipe_and_continues_its_cursors(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "more.yaml").write_text(
        recipe_text(
            {
                "name: base": "name: more",
                "    tokens: 2M\n": "    tokens: 1M\n    init_from: {recipe: base.yaml, stage: init}\n",
            }
        )
    )
    base, more = (
        validation.check(recipe_file.read_recipe(tmp_path / n)).require() for n in ("base.yaml", "more.yaml")
    )
    first = more.stages[0]
    assert first.parent.fingerprint == base.stages[0].fingerprint
    assert {s.source: s.start for s in first.sources} == {s.source: s.windows for s in base.stages[0].sources}
    changed = (tmp_path / "more.yaml").read_text().replace("d_ff: 128", "d_ff: 256")
    (tmp_path / "more.yaml").write_text(changed)
    assert "model-changes" in {
        p.rule for p in validation.check(recipe_file.read_recipe(tmp_path / "more.yaml")).errors
    }


def test_another_recipe_is_read_once_however_many_stages_start_from_it(tmp_path, monkeypatch):
    for i in range(11):
        start = f"\n    init_from: {{recipe: r{i + 1}.yaml, stage: init}}\n    tokens:"
        (tmp_path / f"r{i}.yaml").write_text(BASE.replace("\n    tokens:", start))
    (tmp_path / "r11.yaml").write_text(
        BASE.replace("{prose: 50%, code: 50%}", "{prose: 50%}")
    )  # a mistake at the end is not looked for again either
    calls, really = [], recipe_file.read_recipe
    monkeypatch.setattr(validation, "read_recipe", lambda path: calls.append(path) or really(path))
    problems = validation.check(really(tmp_path / "r0.yaml")).errors
    assert len(calls) == 11 and [p.rule for p in problems].count("init-from") == 2
    assert f"`codemix validate {tmp_path / 'r1.yaml'}` says more" in problems[0].hints


def test_recipes_that_start_from_the_same_two_are_read_once_each_and_keep_what_is_built(
    tmp_path, monkeypatch
):
    second = "  - name: second\n    init_from: {recipe: b%d.yaml, stage: init}\n    steps: 9\n    mixture: {prose: 100%%}\n    learning_rate: {kind: constant, value: 1e-6}\n"
    for i in range(8):
        start = f"\n    init_from: {{recipe: a{i + 1}.yaml, stage: init}}\n    tokens:"
        for name in (f"a{i}", f"b{i}"):
            (tmp_path / f"{name}.yaml").write_text(
                BASE.replace("tokens: 2M", "tokens: 200k").replace("\n    tokens:", start, 1)
                + second % (i + 1)
            )
    for name in ("a8", "b8"):
        (tmp_path / f"{name}.yaml").write_text(BASE)
    calls, really = [], recipe_file.read_recipe
    monkeypatch.setattr(validation, "read_recipe", lambda path: calls.append(path) or really(path))
    built = Pool((30_000_000,), fingerprint="built")
    found = validation.check(really(tmp_path / "a0.yaml"), {"prose": built})
    assert (
        sorted(p.name for p in calls) == sorted(f"{n}{i}.yaml" for n in "ab" for i in range(1, 9))
        and not found.errors
    )
    assert all(
        s.pool_fingerprint == "built"
        for stage in lineage(found.plan.stages[0])
        for s in stage.sources
        if s.source == "prose"
    )


def test_a_bound_on_a_part_of_what_a_stage_does_not_read_is_kept():
    limits = {"model: {": "limits: [{where: {licence: mit}, of: {kind: [code, markup]}, min: 70%}]\nmodel: {"}
    text_only = {"{prose: 80%, code: 20%}": "{prose: 100%}"}
    assert not checked(limits | text_only).errors
    assert [
        p.rule
        for p in checked(
            limits | {"{web: 80%, markup: 20%}": "{web: 60%, markup: 40%}", "tokens: 1M, d": "tokens: 2M, d"}
        ).errors
    ] == ["limit"] * 2


def test_a_silenced_warning_is_silent():
    change = CASES["code-share-high"]["change"] | {
        "model: {": "silence: {code-share-high: a code model is wanted}\nmodel: {"
    }
    assert not checked(change).problems


def test_thousands_of_mutations_never_raise_anything_but_located_problems():
    generator = random.Random(0)
    words = [
        "%",
        ":",
        "-",
        "{",
        "}",
        "[",
        "]",
        "1e9",
        "rest",
        "null",
        "!!x",
        "&a",
        "*a",
        "'",
        '"',
        "\t",
        "\n  ",
        "kind",
        "999999999999999999999",
        "from",
        "é",
        "\0",
        "~",
        "0",
        "-1",
        "steps",
    ]
    located = 0
    for _ in range(int(os.environ.get("CODEMIX_FUZZ", "2500"))):
        content = BASE
        for _ in range(generator.randint(1, 3)):
            at = generator.randrange(len(content))
            move = generator.random()
            if move < 0.35:
                content = content[:at] + generator.choice(words) + content[at:]
            elif move < 0.7:
                content = content[:at] + content[at + generator.randint(1, 12) :]
            else:
                lines = content.split("\n")
                i, j = generator.randrange(len(lines)), generator.randrange(len(lines))
                lines[i], lines[j] = lines[j], lines[i]
                content = "\n".join(lines)
        try:
            problems = validation.check(
                recipe_file.parse_recipe(content, "recipe.yaml"), root=Path.cwd()
            ).problems
        except CodemixError as error:
            problems = error.problems
            assert problems
        assert all(p.where is not None and p.where.line >= 1 and p.where.column >= 1 for p in problems), (
            content
        )
        located += bool(problems)
    assert located > 500


def test_validate_and_plan_import_nothing_heavy():
    code = (
        "import sys\nfrom codemix.recipe.language import recipe_file as read; from codemix.recipe.checks import validation as rules; from codemix.recipe.planning import plan_tables as show\n"
        f"plan = rules.check(read.read_recipe({str(Path('recipes/quickstart.yaml').resolve())!r})).require()\nshow.as_json(plan)\n"
        "print([m for m in ('jax', 'numpy', 'datatrove', 'grain', 'pyarrow', 'tokenizers', 'equinox', 'optax', 'orbax') if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert told.stdout.strip() == "[]"


def test_misspelt_keys_do_not_hide_what_else_is_wrong():
    """Each is taken for the nearest key, so the cap below is judged with `max_epochs:
    3`, and only it is found wrong beside the shares.
    """
    text_ = recipe_text(
        {
            "tokens: 4M,": "tokens: 4M, max_epoch: 3,",
            "seq_len: 128": "seqlen: 128, frobnicate: 1",
            "prose: 50%, code: 50%": "prose: 50%, code: 40%",
        }
    )
    with pytest.raises(CodemixError) as caught:
        validation.check_document(yaml_text.parse(text_, "recipe.yaml"))
    said = [p.what for p in caught.value.problems if p.severity == "error"]
    assert said == [
        "`max_epoch` is not a key here",
        "`seqlen` is not a key here",
        "`frobnicate` is not a key here",
        "the shares sum to 90%, not 100%",
    ]
    assert [p.where.line for p in caught.value.problems] == sorted(
        p.where.line for p in caught.value.problems
    )

    with pytest.raises(CodemixError) as caught:  # what cannot be understood otherwise is told alone
        validation.check_document(
            yaml_text.parse(text_.replace("n_layers: 2", "n_layers: two"), "recipe.yaml")
        )
    assert {p.rule for p in caught.value.problems} == {"unknown-key", "schema"}
