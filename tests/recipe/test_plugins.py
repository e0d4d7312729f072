"""Components of other packages: found, used in a recipe, part of its identity;
clashes and broken ones refused.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.plugin_packages import install, install_example

import codemix
from codemix.errors import CodemixError
from codemix.recipe.language import component, plugins
from codemix.recipe.language.fingerprint import fingerprint
from codemix.recipe.language.recipe_file import parse_recipe

RECIPE = """\
codemix: 1
name: example
tokenizer: {kind: bytes}
sources:
  posts:
    read: {kind: csv, paths: posts.csv, text: body}
    ops: [{kind: max_todos, max_todos: 1}]
    held_out: 10%
    max_epochs: 50
model: {d_model: 8, n_layers: 1, n_heads: 1, d_ff: 8}
training: {seq_len: 16, batch_size: 2}
stages:
  - {name: only, steps: 4, mixture: {posts: 100%}, learning_rate: {kind: inverse_sqrt, peak: 1e-3, hold: 40}}
evaluation: {max_bytes: 1kB, tasks: [{kind: next_line, path: next_line.jsonl}]}
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path in which packages are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield folder
    forget()


def forget():
    plugins.forget()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("codemix_example", "strangers")]:
        del sys.modules[name]


def offer(
    site, kind="odd", value="strangers:Odd", *, group="codemix.ops", code=None, package="strangers", **more
):
    """Install a package that offers one component."""
    install(site, package, {group: {kind: value}}, **more)
    if code is not None:
        (site / "strangers.py").write_text(code)
    forget()


def odd_op(kind="odd", base="codemix.data.interfaces.Op"):
    module, _, name = base.rpartition(".")
    return f"""
from typing import Literal
from {module} import {name}
class Odd({name}):
    kind: Literal["{kind}"] = "{kind}"
    def apply(self, doc):
        return doc
"""


def with_op(kind):
    return RECIPE.replace("{kind: max_todos, max_todos: 1}", f"{{kind: {kind}}}")


def refused(recipe):
    with pytest.raises(CodemixError) as stopped:
        parse_recipe(recipe, "recipe.yaml")
    return stopped.value.problems


def test_a_recipe_with_a_component_of_each_family_runs(site, tmp_path):
    install_example(site)
    forget()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    bodies = [f"def f_{n}(x): return x + {n}" for n in range(40)] + ["TODO TODO"]
    (tmp_path / "posts.csv").write_text("body\n" + "".join(f'"{body}"\n' for body in bodies))
    question = {"code": "def f(x):", "right": "    return x", "wrong": "import"}
    (tmp_path / "next_line.jsonl").write_text(json.dumps(question) + "\n")
    run = codemix.open(tmp_path / "recipe.yaml", store=tmp_path / "store", data_root=tmp_path)
    manifest = run.build()["posts"]
    assert manifest.funnel["read"] == 41 and manifest.funnel["kept"] == 40
    assert manifest.funnel["dropped"] == {"01-max_todos/too_many_todos": 1}
    assert manifest.tokenizer["vocab_size"] == 257
    rates = []
    run.train(codemix.TrainOptions(live=False), on_step=lambda step: rates.append(step.lr))
    assert rates == pytest.approx(
        [1e-3, 1e-3 * (40 / 64) ** 0.5, 1e-3 * (40 / 96) ** 0.5, 1e-3 * (40 / 128) ** 0.5]
    )
    scores = run.evaluate().results["only"]
    assert set(scores["tasks"]) == {"next_line"}


def test_the_example_passes_what_components_of_codemix_pass(site):
    install_example(site)
    forget()
    for family, kind in [("op", "max_todos"), ("source", "csv"), ("tokenizer", "bytes")]:
        cls = component.component_class(family, kind)
        assert kind in component.kinds(family) and kind not in component.built_in_kinds(family)
        for example in cls.EXAMPLES:
            assert component.identity(cls.model_validate(example))["package"] == "codemix-example 1.0"


def test_the_package_and_its_version_are_part_of_the_identity(site):
    install_example(site)
    forget()
    before = fingerprint(parse_recipe(RECIPE, "r").recipe)
    again = component.component_class("op", "max_todos")(max_todos=1)  # made in Python, not read from YAML
    assert component.identity(again) == component.identity(
        parse_recipe(RECIPE, "r").recipe.sources["posts"].ops[0]
    )
    [about] = site.glob("*.dist-info")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: codemix-example\nVersion: 1.1\n")
    forget()
    assert fingerprint(parse_recipe(RECIPE, "r").recipe) != before


def test_components_of_codemix_itself_name_no_package():
    op = component.component_class("op", "size")
    assert "package" not in component.identity(op.model_validate(op.EXAMPLES[0]))


def test_a_component_that_is_not_offered_names_no_package():
    class Loose(component.Component):
        family = "op"
        kind: str = "loose"

    assert "package" not in component.identity(Loose())


def test_without_the_package_the_recipe_says_what_is_missing():
    problems = refused(RECIPE)
    assert {p.rule for p in problems} == {"unknown-kind"} and len(problems) == 5
    by_place = {p.where.path: p for p in problems}
    hints = by_place["sources.posts.read.kind"].hints
    assert any("`codemix.sources`" in hint for hint in hints)


NOT_COMPONENTS = {
    "a module that is not there": ("absent:Odd", None, "cannot be imported: ModuleNotFoundError"),
    "a class that is not there": ("strangers:Absent", odd_op(), "cannot be imported: AttributeError"),
    "no class": ("strangers", odd_op(), "is not a component"),
    "another class": ("strangers:Literal", odd_op(), "is not a component"),
    "an error": ("strangers:Odd", "1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    "bad syntax": ("strangers:Odd", "class Odd(", "cannot be imported: SyntaxError"),
    "an exit": ("strangers:Odd", "raise RuntimeError('{0} {')", "cannot be imported: RuntimeError: {0} {"),
    "another kind": ("strangers:Odd", odd_op("even"), "does not call itself that"),
    "another family": (
        "strangers:Odd",
        odd_op(base="codemix.data.interfaces.DocumentReader"),
        "is a source: it belongs in another group",
    ),
}


@pytest.mark.parametrize(("value", "code", "what"), NOT_COMPONENTS.values(), ids=NOT_COMPONENTS)
def test_a_broken_component_is_refused_at_its_place(site, value, code, what):
    offer(site, value=value, code=code)
    [problem] = [p for p in refused(with_op("odd")) if p.rule == "plugin"]
    assert problem.what.startswith("the op `odd` of the package strangers 1.0 ") and what in problem.what
    assert (problem.where.line, problem.where.path) == (7, "sources.posts.ops[0].kind")
    assert f"`odd = {value}`" in problem.hints[0] and str(site) in problem.hints[0]
    assert "pip uninstall strangers" in problem.hints[1]


def test_a_broken_component_does_no_harm_to_a_recipe_without_it(site):
    offer(site, code="1 / 0")
    assert "odd" in component.kinds("op")
    assert component.component_class("op", "size")


def test_two_packages_with_one_kind(site):
    offer(site, code=odd_op())
    offer(site, value="others:Odd", package="others")
    [problem] = [p for p in refused(with_op("odd")) if p.rule == "plugin"]
    assert "strangers 1.0" in problem.what and "others 1.0" in problem.what
    with pytest.raises(CodemixError, match="has the same kind as one of the package others"):
        component.kinds("op")


def test_a_kind_of_codemix_itself_is_not_replaced(site, tmp_path):
    offer(site, "size", code=odd_op("size"))
    assert component.component_class("op", "size").__module__ == "codemix.data.ops.size"
    message = "the op `size` of the package strangers 1.0 has the same kind as op `size` of codemix itself"
    with pytest.raises(CodemixError, match=message):
        component.kinds("op")
    recipe = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
    run = codemix.open(recipe, store=tmp_path / "store", data_root=tmp_path)
    for work in (run.build, lambda: run.plan):
        with pytest.raises(CodemixError, match=message):
            work()


@pytest.mark.parametrize("kind", ["{x}", "{hints}", "{0} {", "{at} {message}"])
def test_braces_in_a_kind_are_shown_as_they_are(kind):
    problems = refused(with_op(json.dumps(kind)))
    assert f"there is no op of kind `{kind}`" in {p.what for p in problems}


def test_names_that_no_recipe_could_write(site):
    offer(site, "bad-name", code=odd_op("bad-name"))
    assert {p.rule for p in refused(with_op("bad-name")) if p.where.path.endswith("ops[0].kind")} == {
        "unknown-kind"
    }


def test_validate_reads_no_packages_when_every_kind_is_codemix_s_own():
    code = """
from codemix.recipe.language import plugins, recipe_file
recipe_file.read_recipe("recipes/quickstart.yaml")
print(plugins.offers.cache_info().misses)
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("0\n", "")


def test_generated_pages_do_not_depend_on_what_is_installed(site):
    from codemix.recipe.reference.pages import components_page

    install_example(site)
    forget()
    assert "max_todos" not in components_page()


def test_the_schema_for_editors_knows_what_is_installed(site):
    from codemix.recipe.reference.json_schema import recipe_schema

    install_example(site)
    forget()
    assert "op.max_todos" in recipe_schema()["$defs"]
