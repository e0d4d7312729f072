"""A problem at a path of the recipe, before recipe/checks/validation.py gives that path its place in the
file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codemix.errors import CodemixError, Problem, in_file_order

if TYPE_CHECKING:
    from codemix.recipe.language.yaml_text import YamlFile

_PAPER = "arXiv 2408.10914 section"
WARNINGS = {  # the rules that only warn -> where the literature says so
    "code-share-high": f"{_PAPER} 3.3: from 75% code on, language reasoning and world knowledge fall",
    "cooldown-without-code": f"{_PAPER} 3.5: without code a cooldown gives up most of what it brings",
    "many-epochs": "Muennighoff et al., arXiv 2305.16264: beyond 4 epochs repeated tokens are worth little",
    "warmup-longer-than-stage": f"the peak is never reached; {_PAPER} 2.3 warms up for 1325 of 47,684 steps",
    "classifier-overlap": "a model knows the documents that it was trained on better than others like them",
    "context-without-base": "Xiong et al., arXiv 2309.16039: a longer context is learnt with a larger RoPE base; "
    "theirs goes from 10,000 to 500,000",
    "nothing-held-out": "bits per byte is scored on held-out documents only",
}


@dataclass(frozen=True)
class Finding:
    """A problem and where the recipe causes it: the value at `path`, or its key."""

    path: tuple
    problem: Problem
    on_key: bool = False

    def located(self, document: YamlFile) -> Problem:
        """The problem at its place in the file."""
        where = document.where(self.path, key=self.on_key)
        return replace(self.problem, where=where)


def finding(path: tuple, rule: str, what: str, *hints: str, on_key: bool = False) -> Finding:
    """An error, or a warning when `rule` is one of WARNINGS."""
    severity = "warning" if rule in WARNINGS else "error"
    return Finding(
        path, Problem(what, hints=hints, rule=rule, severity=severity, cite=WARNINGS.get(rule, "")), on_key
    )


class Faults(CodemixError):
    """Findings that stop the work, raised by whoever has the recipe and not its file: see `placed_in`."""

    def __init__(self, findings: Iterable[Finding]):
        self.findings = tuple(findings)
        super().__init__(*(each.problem for each in self.findings))

    def __reduce__(self):
        return type(self), (self.findings,)


def faults_of(path: tuple, error: CodemixError) -> Faults:
    """An error that the value at `path` has caused, unless it says itself what has."""
    if isinstance(error, Faults):
        return error
    return Faults(Finding(path, problem) for problem in error.problems)


@contextmanager
def placed_in(document: YamlFile) -> Iterator[None]:
    """Raises `Faults` again as problems with their places in the file."""
    try:
        yield
    except Faults as faults:
        raise CodemixError(*located(faults.findings, document)) from None


def located(findings: Iterable[Finding], document: YamlFile) -> list[Problem]:
    """The problems of findings, each at its place, in the order of the file."""
    problems = []
    for finding in findings:
        problem = finding.located(document)
        problems.append(problem)
    return in_file_order(problems)


class Findings(list[Finding]):
    """What is wrong, in the order in which it was noticed."""

    def report(self, path: tuple, rule: str, what: str, *hints: str) -> None:
        """Of the value at `path`."""
        problem = finding(path, rule, what, *hints)
        self.append(problem)

    def report_key(self, path: tuple, rule: str, what: str, *hints: str) -> None:
        """Of the key at `path`."""
        of_value = finding(path, rule, what, *hints)
        problem = replace(of_value, on_key=True)
        self.append(problem)
