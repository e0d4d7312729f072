"""The generated pages are up to date, complete, and their examples are real."""

import json
import re
from pathlib import Path

import pytest

from codemix.recipe.checks import validation
from codemix.recipe.language import component, recipe_file, schema, yaml_text
from codemix.recipe.language.finding import WARNINGS
from codemix.recipe.language.starter import starting_recipe
from codemix.recipe.reference import pages
from codemix.recipe.studies import study, study_spec

FOLDER = Path(__file__).resolve().parents[2] / "docs"
PAGES = pages.pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_file_is_what_the_code_makes(name):
    path = FOLDER / name
    assert path.is_file() and path.read_text() == PAGES[name], (
        f"docs/{name} is out of date: run `python -m codemix.recipe.docs`"
    )


def test_every_key_of_a_recipe_and_of_a_study_is_on_the_page():
    page = PAGES["recipe.md"]
    for model in (*pages._models(schema.Recipe), *pages._models(study_spec.StudySpec)):
        for field, info in model.model_fields.items():
            assert f"| `{info.alias or field}` |" in page, f"{model.__name__}.{field}"
    assert all(f"`{name}`" in page for name in WARNINGS)


@pytest.mark.parametrize("family", component.FAMILIES)
def test_every_kind_is_on_the_page_with_its_fields_described(family):
    for kind in component.kinds(family):
        page = pages.describe_kind(family, kind)
        assert page.removeprefix("# ") in PAGES["components.md"]
        cls = component.component_class(family, kind)
        for field, info in cls.model_fields.items():
            if field != "kind":
                assert f"| `{info.alias or field}` |" in page and info.description, (
                    f"{family} {kind}: `{field}` has no description"
                )


def test_links_inside_the_pages_lead_somewhere():
    for name in ("recipe.md", "components.md"):
        for target, anchor in re.findall(r"\]\(([\w.]*)#([\w-]+)\)", PAGES[name]):
            page = PAGES[target or name]
            headings = {
                re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-")
                for h in re.findall(r"^#+ (.+)$", page, re.M)
            }
            assert anchor in headings or f'id="{anchor}"' in page, f"{name}: #{anchor}"


def test_yaml_on_the_pages_is_yaml():
    for name in ("recipe.md", "components.md"):
        for block in re.findall(r"```yaml\n(.*?)```", PAGES[name], re.S):
            for part in block.split("\n---\n"):
                for example in (
                    [part]
                    if ":" in part.split("\n")[0] and not part.startswith("{")
                    else [p for p in part.split("\n") if p]
                ):
                    assert isinstance(yaml_text.parse(example, name).value, dict)


def test_the_study_on_the_page_is_a_study(tmp_path):
    (example,) = [
        b
        for b in re.findall(r"```yaml\n(.*?)```", PAGES["recipe.md"], re.S)
        if b.startswith("codemix: 1\nstudy:")
    ]
    (tmp_path / "recipe.yaml").write_text(starting_recipe("base"))
    (tmp_path / "study.yaml").write_text(
        example.replace("set: {model.preset: 120M}", "set: {model.d_model: 32}")
    )
    assert len(study.expand(study.load_study(tmp_path / "study.yaml"))) == 6


@pytest.mark.parametrize(
    "name", ["my-recipe", "My Recipe 2", "", "ÄÖ", "a" * 90, "2024", "1e5", "null", "True"]
)
def test_the_starting_recipe_validates_whatever_it_is_called(name):
    checked = validation.check(recipe_file.parse_recipe(starting_recipe(name), "r.yaml"))
    assert not checked.problems and len(checked.plan.stages) == 3
    assert starting_recipe(name).count("#") > 10


def test_every_op_that_judges_texts_by_themselves_says_what_it_costs():
    costs = json.loads((FOLDER / "op_costs.json").read_text())
    needs_more = {"classifier", "decontaminate", "hash_sample", "where"}  # a model, files, conditions
    assert set(costs["ops"]) == set(component.built_in_kinds("op")) - needs_more
    assert costs["machine"] in PAGES["components.md"]
