"""Whether runs may stand in one table: they must differ in nothing but their shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

from codemix.errors import CodemixError, Problem
from codemix.eval.evidence.rows import Row

SHOWN = 4  # problems or names of many


def require_comparable(
    rows: Sequence[Row],
    *,
    any_data: bool = False,
) -> None:
    """Raises CodemixError unless all rows are of one model, tokenizer and measurement, and, without
    `any_data`, one training text."""
    problems = []
    for what, of in _SAME.items():
        problem = _different(rows, what, of)
        if problem is not None:
            problems.append(problem)
    for source, fingerprints in _data_by_source(rows).items():
        if len(fingerprints) > 1 and not any_data:
            changed = f"`{source}` held different text in different rows"
            hint = "score the older runs again on the new text, or leave their rows out"
            problems.append(Problem(changed, hints=(hint,), rule="evidence-stale"))
    if problems:
        raise CodemixError(*problems)


def _course(row: Row) -> tuple:
    sizes = {}
    for stage in row.stages:
        sizes[stage.name] = stage.tokens
    return tuple(sizes.items())


def _rates(row: Row) -> tuple:
    return tuple(stage.learning_rate for stage in row.stages)


_SAME: Mapping[str, Callable[[Row], Hashable]] = {
    "tokenizer": lambda row: row.tokenizer,
    "model": lambda row: row.model,
    "size": lambda row: row.parameters,
    "measurement": lambda row: row.scored_on,
    "course of stages": _course,
    "learning rate": _rates,
}


def _different(
    rows: Sequence[Row],
    what: str,
    of: Callable[[Row], Hashable],
) -> Problem | None:
    """The rows that differ from most in one respect."""
    counts = Counter(map(of, rows))
    if len(counts) < 2:
        return None
    [(common, n)] = counts.most_common(1)
    others = [row.run for row in rows if of(row) != common]
    problem = f"{len(others)} of {len(rows)} rows are of another {what} than the other {n}: {_list(others)}"
    hint = "fit rows of one kind at a time: leave those rows out"
    return Problem(problem, hints=(hint,), rule="evidence-mixed")


def _list(names: Sequence[str]) -> str:
    """The first few names."""
    quoted = [f"`{name}`" for name in names[:SHOWN]]
    if len(names) > len(quoted):
        quoted.append("...")
    return ", ".join(quoted)


def _data_by_source(rows: Sequence[Row]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        for source, fingerprint in row.data.items():
            of_source = found.setdefault(source, set())
            of_source.add(fingerprint)
    return found
