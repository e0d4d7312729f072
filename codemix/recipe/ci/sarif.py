"""Problems as SARIF 2.1.0 (OASIS), for code scanning; it has no limit of ten."""

from __future__ import annotations

from typing import Any

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
        "rules": [{"id": rule} for rule in rules],
    }
    results = [_result(review, problem, rules) for problem in problems]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(problem: Problem) -> str:
    return problem.rule or "codemix"


def _result(review: Review, problem: Problem, rules: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": _rule(problem),
        "ruleIndex": rules.index(_rule(problem)),
        "level": problem.severity,
        "message": {"text": message(problem)},
    }
    where = problem.where
    if where is not None:
        region = {
            "startLine": where.line,
            "startColumn": where.column,
            "endColumn": where.column + where.length,
        }
        artifact = {"uri": _uri(repository_path(review, where.file))}
        result["locations"] = [{"physicalLocation": {"artifactLocation": artifact, "region": region}}]
    return result


def _uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path)
