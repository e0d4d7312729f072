"""Problems a person can act on: what is wrong, where, and what to do about it.

Everything a user can cause ends here as a `Problem`; nothing a user can cause ends in a traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

# Exit codes of the command line.
EXIT_DONE, EXIT_PROBLEM, EXIT_USAGE, EXIT_BUG, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True)
class Where:
    """A place in a text file: 1-based `line` and `column`, `length` characters long."""

    file: str
    line: int
    column: int
    length: int = 1
    path: str = ""  # dotted path of the value inside the YAML, `stages[1].mixture.code`
    text: str = ""  # the source line, or what is around the place, for the caret
    text_column: int = 1  # at which `text` begins

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def excerpt(self) -> list[str]:
        """The place, the line with what is around it, and carets under the text that is meant."""
        path = f"  {self.path}" if self.path else ""
        lines = [f"  --> {self}{path}"]
        if self.text:
            gutter = " " * len(str(self.line))
            start = self.column - self.text_column
            before = self.text[:start]
            indent = re.sub(r"[^\t]", " ", before)  # tabs stay, so that the carets are below the text
            left = len(self.text) - start
            width = max(1, min(self.length, left))
            carets = "^" * width
            lines += [f"{gutter} |", f"{self.line} | {self.text}", f"{gutter} | {indent}{carets}"]
        return lines


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in the user's terms.

    `what` is one sentence without a full stop; `hints` are things one can do, with the numbers that fix it;
    `rule` is the stable kebab-case name by which tests, docs and `silence:` refer to it.
    """

    what: str
    where: Where | None = None
    hints: tuple[str, ...] = ()
    rule: str = ""
    severity: str = "error"  # "error" | "warning"
    cite: str = ""  # where the literature says so, for warnings

    def render(self) -> str:
        rule = f" [{self.rule}]" if self.severity == "warning" else ""
        lines = [f"{self.severity}: {self.what}{rule}"]
        if self.where is not None:
            lines += self.where.excerpt()
        lines += [f"hint: {hint}" for hint in self.hints]
        if self.cite:
            lines.append(f"source: {self.cite}")
        return printable("\n".join(lines))

    def as_json(self) -> dict:
        where = self.where
        return {
            "severity": self.severity,
            "rule": self.rule,
            "what": self.what,
            "hints": list(self.hints),
            "cite": self.cite,
            "where": None
            if where is None
            else {
                "file": where.file,
                "line": where.line,
                "column": where.column,
                "length": where.length,
                "path": where.path,
            },
        }


class CodemixError(Exception):
    """One or more problems that stop the work. The command line prints them and exits with 1."""

    def __init__(self, *problems: Problem | str, hints: Iterable[str] = (), rule: str = ""):
        hints = tuple(hints)
        whole: list[Problem] = []
        for problem in problems:
            if isinstance(problem, str):
                problem = Problem(problem, hints=hints, rule=rule)
            whole.append(problem)
        self.problems = tuple(whole)
        rendered = [problem.render() for problem in whole]
        super().__init__("\n\n".join(rendered))

    def __reduce__(self):  # so that a worker process can hand its problems over whole
        return type(self), self.problems


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """The problems by their place in the file, each once; those without a place come first."""
    unique: dict[tuple, Problem] = {}
    for problem in problems:
        unique[(problem.what, *_line_and_column(problem))] = problem
    return sorted(unique.values(), key=_line_and_column)


def _line_and_column(problem: Problem) -> tuple[int, int]:
    where = problem.where
    if where is None:
        return (0, 0)
    return (where.line, where.column)


def printable(text: str) -> str:
    """The text without control characters: a stranger's file may hold escape sequences for the terminal."""
    control = {character for character in text if not character.isprintable()} - {"\n", "\t"}
    table = {ord(character): "\ufffd" for character in control}
    return text.translate(table)


def nearest(word: str, known: Iterable[str], n: int = 1) -> list[str]:
    """Up to `n` of `known` that a word may be a misspelling of, the likeliest first."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=n, cutoff=0.6)
    return close


def did_you_mean(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Hints that name the nearest of `known`, or all of them when there are few."""
    words = sorted(set(known))
    close = [f"`{name}`" for name in nearest(word, words, 2)]
    if close:
        return (f"did you mean {' or '.join(close)}?",)
    if not words or len(words) > 20:
        return ()
    return (f"known here: {', '.join(words)}",)
