"""What pyproject.toml, constraints.txt, the Makefile and the hints say about packages,
held against each other.
"""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
]
NEEDED = [
    Requirement(line)
    for line in (*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines))
]


@pytest.mark.parametrize("needed", NEEDED, ids=str)
def test_constraints_name_one_version_that_fits_each_dependency(needed):
    [pin] = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(needed.name)]
    [exact] = pin.specifier
    assert exact.operator == "==" and needed.specifier.contains(exact.version)


def test_every_extra_that_a_hint_or_a_page_names_exists():
    files = [ROOT / "README.md", ROOT / "Makefile", *(ROOT / ".ci").iterdir()]
    files += [*(ROOT / "docs").glob("*.md"), *(ROOT / "codemix").rglob("*.py")]
    named = {
        (path.name, extra)
        for path in files
        for extra in re.findall(r"(?:codemix|['\" ]\.)\[([a-z-]+)\]", path.read_text())
    }
    assert named and {(path, extra) for path, extra in named if extra not in EXTRAS} == set()


def test_the_supported_pythons_are_the_same_everywhere():
    classified = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    supported = SpecifierSet(PROJECT["requires-python"])
    assert classified == [f"3.{minor}" for minor in range(30) if supported.contains(f"3.{minor}.1")]
    first, last = (version.replace(".", ", ") for version in (classified[0], classified[-1]))
    assert f"({first}) <= v <= ({last})" in (ROOT / "Makefile").read_text()
    quoted = ", ".join(f'"{version}"' for version in classified)
    assert f"PYTHONS = ({quoted})" in (ROOT / ".ci" / "extras").read_text()
    assert f"{', '.join(classified[:-1])} or {classified[-1]}" in (ROOT / "README.md").read_text()
