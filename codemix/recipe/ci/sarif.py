"""Problems as SARIF 2.1.0 (OASIS), for code scanning; it has no limit of ten."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import codemix
from codemix.errors import Problem
from codemix.recipe.ci.review import Review
from codemix.recipe.ci.workflow_commands import located, message, repository_path

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def log(review: Review) -> dict[str, Any]:
    """One run with every problem of the reviewed files."""
    problems = [*located(review, "error"), *located(review, "warning")]
    rules = sorted({_rule(problem) for problem in problems})
    driver = {
        "name": "codemix",
        "version": codemix.__version__,
        "rules": [_described(rule) for rule in rules],
    }
    results = [_result(review, problem, rules) for problem in problems]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(problem: Problem) -> str:
    return problem.rule or "codemix"


def _described(rule: str) -> dict[str, Any]:
    """A rule as code scanning asks for it: a result's own message says what is wrong and what to do."""
    words = rule.replace("-", " ")
    return {
        "id": rule,
        "shortDescription": {"text": words},
        "fullDescription": {"text": f"codemix found this in a recipe or a study: {words}."},
        "help": {"text": "The message of each result names the cause and the remedy."},
    }


def _result(review: Review, problem: Problem, rules: list[str]) -> dict[str, Any]:
    rule = _rule(problem)
    return {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": problem.severity,
        "message": {"text": message(problem)},
        "locations": [{"physicalLocation": _place(review, problem)}],
    }


def _place(review: Review, problem: Problem) -> dict[str, Any]:
    """Where it is; of a problem that has no place, the first file that has the problem."""
    where = problem.where
    if where is None:
        file = next(file for file in review.files if problem in file.problems)
        return {"artifactLocation": {"uri": quote(file.path)}}
    region = {
        "startLine": where.line,
        "startColumn": where.column,
        "endColumn": where.column + where.length,
    }
    path = repository_path(review, where.file)
    return {"artifactLocation": {"uri": quote(path)}, "region": region}
