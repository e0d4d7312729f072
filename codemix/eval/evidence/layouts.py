"""Mixture tables of other tools as rows of evidence: two CSV files, of shares and of metrics, joined by run.

RegMix (sail-sg/regmix) joins on `index`, Olmix (allenai/olmix) on `run_id` or `run`; Olmix's `name` and
`index` beside that are no data.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codemix.errors import CodemixError, Problem, Where
from codemix.eval.evidence.rows import Row, StageRead

KEYS = ("run_id", "run", "index")  # the first that both files have joins them
NO_DATA = {*KEYS, "name", "", "Unnamed: 0"}
MAX_OFF = 0.01  # by which rounded shares may miss one


@dataclass(frozen=True)
class CsvTable:
    """Numbers by run and column, and the line of each run."""

    path: Path
    values: Mapping[str, Mapping[str, float]]
    lines: Mapping[str, int]

    def where(self, run: str) -> Where:
        return Where(str(self.path), self.lines[run], 1)


@dataclass(frozen=True)
class RunSize:
    """What all runs of a table have in common; the tables do not say it."""

    parameters: int | None = None
    tokens: int | None = None


@dataclass
class Imported:
    """Rows, and what the reader should know about how they came about."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_tables(
    mixtures: Path,
    metrics: Path,
    stage: str,
    size: RunSize | None = None,
) -> Imported:
    """The runs that both files have, as rows whose only stage is called `stage`.

    Shares that miss one by rounding are divided by their sum, and a note says so. Raises CodemixError with
    all that is wrong: a run that is there twice, a number that is none, shares that are far from one.
    """
    size = size or RunSize()
    key = _key(mixtures, metrics)
    shares = _Reader(mixtures, key).read()
    losses = _Reader(metrics, key).read()
    both = [run for run in shares.values if run in losses.values]
    if not both:
        what = f"{mixtures} and {metrics} have no run in common"
        raise CodemixError(Problem(what, hints=(f"they are joined on `{key}`",), rule="evidence"))
    problems = []
    imported = Imported()
    most_off = 0.0
    for run in both:
        of_run = shares.values[run]
        total = math.fsum(of_run.values())
        off = abs(total - 1)
        most_off = max(most_off, off)
        if off > MAX_OFF or min(of_run.values()) < 0:
            problems.append(_bad_sum(shares, run, total))
            continue
        even = {name: share / total for name, share in of_run.items()}
        read = StageRead(name=stage, tokens=size.tokens, shares=even)
        metrics_of_run = dict(losses.values[run])
        row = Row(
            run=run,
            stages=(read,),
            metrics=metrics_of_run,
            parameters=size.parameters,
        )
        imported.rows.append(row)
    if problems:
        raise CodemixError(*problems)
    if most_off > 1e-9:
        imported.notes.append(f"shares missed 1 by up to {most_off:.3g} and were divided by their sum")
    imported.notes += _left_out(shares, losses)
    imported.notes += _left_out(losses, shares)
    return imported


def _bad_sum(
    table: CsvTable,
    run: str,
    total: float,
) -> Problem:
    what = f"the shares of run `{run}` sum to {total:.4g}"
    shares = table.values[run].values()
    if min(shares) < 0:
        what += ", one below 0"
    where = table.where(run)
    hint = "shares are of the whole and sum to 1"
    return Problem(what, where, (hint,), "evidence-sum")


def _left_out(
    table: CsvTable,
    other: CsvTable,
) -> Iterator[str]:
    """The runs that only one of two tables has, in a sentence."""
    missing = [run for run in table.values if run not in other.values]
    if not missing:
        return
    named = ", ".join(missing[:5])
    if len(missing) > 5:
        named += ", ..."
    here = table.path.name
    there = other.path.name
    yield f"{len(missing)} runs of {here} are not in {there}: {named}"


def _key(*paths: Path) -> str:
    headers = [_header(path) for path in paths]
    for key in KEYS:
        if all(key in header for header in headers):
            return key
    files = " and ".join(path.name for path in paths)
    what = f"{files} have no column that joins them"
    hints = (f"one of {', '.join(f'`{key}`' for key in KEYS)} must be in both",)
    raise CodemixError(Problem(what, hints=hints, rule="evidence"))


def _lines(path: Path) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CodemixError(f"cannot read {path}: {error}", rule="evidence") from None


def _header(path: Path) -> list[str]:
    lines = _lines(path)
    header = lines[0] if lines else []
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        what = f"the column `{doubled[0]}` is there twice"
        raise CodemixError(Problem(what, Where(str(path), 1, 1), ("delete one",), "evidence-twice"))
    return header


class _Reader:
    """Reads one file line by line; problems are collected."""

    def __init__(
        self,
        path: Path,
        key: str,
    ):
        self.path = path
        self.key = key
        self.header = _header(path)
        self.values: dict[str, dict[str, float]] = {}
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []

    def read(self) -> CsvTable:
        _, *lines = _lines(self.path)
        for number, line in enumerate(lines, 2):
            if len(line) == len(self.header):
                cells = dict(zip(self.header, line, strict=True))
                self._take(cells, number)
            elif line:
                what = f"{len(line)} values under {len(self.header)} columns"
                self._report(what, number, "give every column a value")
        if self.problems:
            raise CodemixError(*self.problems)
        return CsvTable(self.path, self.values, self.lines)

    def _report(
        self,
        what: str,
        line: int,
        hint: str,
        rule: str = "evidence",
    ) -> None:
        where = Where(str(self.path), line, 1)
        problem = Problem(what, where, (hint,), rule)
        self.problems.append(problem)

    def _take(
        self,
        cells: Mapping[str, str],
        line: int,
    ) -> None:
        run = cells[self.key]
        if run in self.values:
            what = f"the run `{run}` is there twice; first in line {self.lines[run]}"
            self._report(what, line, "delete one of the two", "evidence-twice")
        numbers = {}
        for name, cell in cells.items():
            if name in NO_DATA:
                continue
            number = _number(cell)
            numbers[name] = number
            if not math.isfinite(number):
                what = f"`{name}` of run `{run}` is `{cell}`, not a finite number"
                self._report(what, line, "delete the run, or score it again")
        self.values[run] = numbers
        self.lines[run] = line


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
