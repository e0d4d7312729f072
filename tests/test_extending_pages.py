"""docs/extend.md shows the example package as it is, and docs/environment.md every variable."""

import re
from pathlib import Path

import pytest
import yaml
from support.plugin_packages import EXAMPLE, install_example

from codemix.recipe.language import plugins, schema

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
FILES = [path for path in sorted(EXAMPLE.rglob("*")) if path.suffix in (".py", ".toml")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_page_shows_the_file_that_the_tests_install(path):
    kind = {".py": "python", ".toml": "toml"}[path.suffix]
    if path.name != "__init__.py":
        assert f"```{kind}\n{path.read_text(encoding='utf-8')}```\n" in PAGE


def test_each_family_has_its_part():
    assert set(re.findall(r"^## An? (\w+)$", PAGE, re.M)) == set(plugins.GROUPS)
    assert all(f'"{group}"' in PAGE for group in plugins.GROUPS.values())


def test_the_snippets_of_recipes_are_valid(tmp_path, monkeypatch):
    install_example(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.forget()
    holders = {
        "ops": schema.SourceSpec,
        "read": schema.SourceSpec,
        "tokenizer": schema.Recipe,
        "learning_rate": schema.Stage,
        "evaluation": schema.Recipe,
    }
    snippets = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    for snippet in snippets:
        [(key, value)] = yaml.safe_load(snippet).items()
        holders[key].__pydantic_validator__.validate_assignment(
            holders[key].model_construct(steps=1), key, value
        )
    plugins.forget()
    assert len(snippets) == len(holders)


def test_every_environment_variable_is_on_its_page():
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    code = [*(ROOT / "codemix").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    read = set()
    for path in code:
        read |= set(re.findall(r"""["'](CODEMIX_[A-Z_]*[A-Z])["']""", path.read_text(encoding="utf-8")))
    assert read == set(re.findall(r"`(CODEMIX_[A-Z_]+)`", page))
