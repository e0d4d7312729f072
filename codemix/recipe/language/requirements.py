"""What components need beyond a plain install, and whether this machine has it. Nothing is imported to find
out."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass

from codemix.errors import Problem
from codemix.recipe.language import schema, source_graph, yaml_text
from codemix.recipe.language.finding import Finding, located


@dataclass(frozen=True)
class Requirement:
    """A package (or a program on the PATH) that some work needs: `work` is a phrase such as "reading
    Parquet"."""

    work: str
    name: str
    remedy: str
    modules: tuple[str, ...] = ()  # what must be importable; default the module of that name
    program: bool = False

    @property
    def absent(self) -> bool:
        """Whether this machine lacks it."""
        if self.program:
            return shutil.which(self.name) is None
        return not all(map(_importable, self.modules or (self.name,)))

    def problem(self, *, severity: str = "error") -> Problem:
        kind = "program" if self.program else "package"
        rule = f"{kind}-missing"
        hints = (self.remedy,)
        what = f"{self.work} needs the {kind} `{self.name}`, which is not installed"
        return Problem(what, hints=hints, rule=rule, severity=severity)


def package(work: str, name: str, install: str, *modules: str) -> Requirement:
    """A package that pip installs as `install`."""
    remedy = f"install it with `pip install {install}`"
    return Requirement(work, name, remedy, modules)


def _importable(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package around it is absent, or half initialised
        return False


def lacking(recipe: schema.Recipe, *, severity: str = "error") -> list[Finding]:
    """For each component, what it needs and this machine lacks."""
    findings = []
    for path, component in source_graph.components(recipe):
        for requirement in dict.fromkeys(component.requirements()):
            if requirement.absent:
                problem = requirement.problem(severity=severity)
                findings.append(Finding(path, problem))
    return findings


def warnings(recipe: schema.Recipe, document: yaml_text.YamlFile) -> list[Problem]:
    """What this machine lacks for a recipe, as warnings: another machine may build it."""
    absent = lacking(recipe, severity="warning")
    return located(absent, document)
