"""The variables that are codemix's own: named and read in one place, listed on a page, wrong ones refused by name."""

import ast
import re
from pathlib import Path

import pytest

import codemix
from codemix import environment
from codemix.errors import CodemixError

PACKAGE = Path(codemix.__file__).parent
PAGE = PACKAGE.parent / "docs" / "environment.md"
NAMES = {value for value in vars(environment).values() if str(value).startswith("CODEMIX_")}


def test_the_page_lists_every_variable():
    assert set(re.findall(r"^\| `(CODEMIX_\w+)`", PAGE.read_text(), re.M)) == NAMES


def test_no_other_module_names_a_variable():
    for path in PACKAGE.rglob("*.py"):
        if path.name == "environment.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in NAMES, f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    ("read", "name", "wrong"),
    [
        (
            lambda name: environment.whole_number(name, 2),
            environment.SLURM_MEM_GB,
            ["", "0", "-1", "2.5", "4G", "many"],
        ),
        (
            lambda name: environment.slurm_duration(name, "1:00:00"),
            environment.SLURM_TIME,
            ["", "soon", "1h", "1:2:3:4", "1-"],
        ),
        (environment.folder, environment.EVAL_DATA, ["no/such/folder", __file__]),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch, read, name, wrong):
    for value in wrong:
        monkeypatch.setenv(name, value)
        with pytest.raises(CodemixError, match=f"{name} is `{re.escape(value)}`"):
            read(name)
    monkeypatch.delenv(name)
    read(name)


@pytest.mark.parametrize("limit", ["90", "90:00", "24:00:00", "2-12", "2-12:30", "2-12:30:00"])
def test_time_limits_as_slurm_writes_them(monkeypatch, limit):
    monkeypatch.setenv(environment.SLURM_TIME, limit)
    assert environment.slurm_duration(environment.SLURM_TIME, "") == limit
