"""Problems as GitHub's workflow commands, which mark lines of a pull request."""

from __future__ import annotations

import os
from collections.abc import Iterator

from codemix.errors import Problem
from codemix.recipe.ci.review import Review

PER_STEP = 10  # of a severity; GitHub drops the rest and says nothing


def commands(review: Review) -> Iterator[str]:
    """One line each, errors first; where there are more than GitHub shows, the last says how many."""
    for severity in ("error", "warning"):
        problems = located(review, severity)
        shown = problems if len(problems) <= PER_STEP else problems[: PER_STEP - 1]
        for problem in shown:
            yield _command(review, problem)
        more = len(problems) - len(shown)
        if more:
            yield f"::{severity} title=codemix::{more:,} more of these; the step's summary and log list all"


def located(review: Review, severity: str) -> list[Problem]:
    """The problems of a severity in all files, each once."""
    found: dict[Problem, None] = {}
    for file in review.files:
        for problem in file.problems:
            if problem.severity == severity:
                found[problem] = None
    return list(found)


def repository_path(review: Review, path: str) -> str:
    """A path as git and GitHub write it, wherever the review ran: from the top of the repository."""
    file = os.path.abspath(path)
    inside = os.path.relpath(file, review.top)
    return inside.replace(os.sep, "/")


def message(problem: Problem) -> str:
    """What is wrong, and the remedies."""
    hints = [f"hint: {hint}" for hint in problem.hints]
    return "\n".join([problem.what, *hints])


def _command(review: Review, problem: Problem) -> str:
    properties = []
    where = problem.where
    if where is not None:
        file = repository_path(review, where.file)
        properties = [
            f"file={_property(file)}",
            f"line={where.line}",
            f"endLine={where.line}",
            f"col={where.column}",
            f"endColumn={where.column + where.length}",
        ]
    title = f"title={_property(problem.rule or 'codemix')}"
    return f"::{problem.severity} {','.join([*properties, title])}::{_data(message(problem))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
