"""Problems a person can act on: what is wrong, where, and what to do about it.

Everything a user can cause ends here as a `Problem`; nothing a user can cause ends in a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

# Exit codes of the command line. 3 is also what `aot` returns when a program does not fit.
EXIT_DONE, EXIT_PROBLEM, EXIT_USAGE, EXIT_BUG, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True)
class Where:
    """A place in a text file: 1-based `line` and `column`, `length` characters long."""

    file: str
    line: int
    column: int
    length: int = 1
    path: str = ""  # dotted path of the value inside the YAML, `stages[1].mixture.code`
    text: str = ""  # the whole source line, for the caret

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


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
        lines = [f"{self.severity}: {self.what}" + (f" [{self.rule}]" if self.severity == "warning" else "")]
        if self.where is not None:
            w = self.where
            lines.append(f"  --> {w}" + (f"  {w.path}" if w.path else ""))
            if w.text:
                gutter = " " * len(str(w.line))
                pad = "".join("\t" if c == "\t" else " " for c in w.text[: w.column - 1])
                lines += [
                    f"{gutter} |",
                    f"{w.line} | {w.text}",
                    f"{gutter} | {pad}{'^' * max(1, min(w.length, len(w.text) - w.column + 1))}",
                ]
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
        self.problems = tuple(
            Problem(p, hints=tuple(hints), rule=rule) if isinstance(p, str) else p for p in problems
        )
        super().__init__("\n\n".join(p.render() for p in self.problems))

    def __reduce__(self):  # so that a worker process can hand its problems over whole
        return type(self), self.problems


def printable(text: str) -> str:
    """The text without control characters: a stranger's file may hold escape sequences for the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def nearest(word: str, known: Iterable[str], n: int = 1) -> list[str]:
    """Up to `n` of `known` that a word may be a misspelling of, the likeliest first."""
    return difflib.get_close_matches(word, known, n=n, cutoff=0.6)


def did_you_mean(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Hints that name the nearest of `known`, or all of them when there are few."""
    known = sorted(set(known))
    if close := nearest(word, known, 2):
        return (f"did you mean {' or '.join(f'`{c}`' for c in close)}?",)
    return (f"known here: {', '.join(known)}",) if 0 < len(known) <= 20 else ()
