"""Rows of evidence: what one finished run read, stage by stage, and how well it then did.

A file of evidence holds one JSON object a line. codemix writes a row for every stage that it scores; tables
of other tools become rows through eval/evidence/layouts.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from codemix.errors import CodemixError, Problem, Where
from codemix.files import write_whole
from codemix.recipe.language.component import Spec

FORMAT = 1


class StageRead(Spec):
    """What one stage of the run's lineage read."""

    name: str
    tokens: int | None = Field(None, gt=0, description="of the stage")
    shares: dict[str, float] = Field(description="of its tokens, by source, as the ledger counts them")
    epochs: dict[str, float] = Field({}, description="by source, over the lineage up to the stage's end")
    learning_rate: float | None = Field(None, description="the highest of the stage")


class Row(Spec):
    """One scored run. What is unknown, as in tables of other tools, is left out."""

    format: Literal[1] = 1
    run: str = Field(min_length=1)
    stages: tuple[StageRead, ...] = Field(min_length=1, description="the lineage; the last one was scored")
    metrics: dict[str, float] = Field(min_length=1, description="lower is better")
    seed: int | None = None
    parameters: int | None = None
    model: str = Field("", description="fingerprint of its shape")
    tokenizer: str = Field("", description="SHA-256")
    data: dict[str, str] = Field({}, description="fingerprint of the training text, by source")
    scored_on: str = Field("", description="fingerprint of the text and tasks behind the metrics")
    stage_fingerprint: str = ""


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """The rows of some files. Raises CodemixError with every line that is not a row, and every run that is
    there twice with different content."""
    rows: dict[str, Row] = {}
    problems = []
    for path in paths:
        for number, line in enumerate(_lines(path), 1):
            if not line.strip():
                continue
            where = Where(str(path), number, 1)
            try:
                row = Row.model_validate_json(line)
            except ValidationError as error:
                problems.append(_unreadable(error, where))
                continue
            if rows.setdefault(row.run, row) != row:
                problems.append(_doubled(row.run, where))
    if problems:
        raise CodemixError(*problems)
    return list(rows.values())


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A file of evidence, whole or not at all."""
    text = ""
    for row in rows:
        text += f"{row_text(row)}\n"
    write_whole(path, text)


def row_text(row: Row) -> str:
    """A row as one line."""
    value = row.model_dump(exclude_defaults=True)
    return json.dumps({"format": FORMAT, **value}, ensure_ascii=False)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot read the evidence in {path}: {error}"
        hints = ("a file of evidence comes from `codemix mix import` or `codemix mix rows`",)
        raise CodemixError(Problem(what, hints=hints, rule="evidence")) from None


def _unreadable(error: ValidationError, where: Where) -> Problem:
    first = error.errors()[0]
    path = map(str, first["loc"])
    place = ".".join(path) or "the line"
    reason = first["msg"].lower()
    what = f"this is not a row of evidence: {place}: {reason}"
    hint = "see docs/formats.md for what a row holds"
    return Problem(what, where, (hint,), "evidence")


def _doubled(run: str, where: Where) -> Problem:
    what = f"the run `{run}` is there twice, with different content"
    hints = ("delete one of the two rows, or give it a name of its own",)
    return Problem(what, where, hints, "evidence-twice")
