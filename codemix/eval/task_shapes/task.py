"""The task family: what a benchmark asks a model, where its examples are, and what is wrong with them.

A task is one file in codemix/eval/tasks: a few fields and how one row becomes a question. Three shapes cover them all:
`Choice` (choice.py: which continuation is likeliest), `Answer` and `Program` (written.py: what is written, compared with
known answers or run against tests). Standard library and pydantic only at import.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from codemix.errors import CodemixError
from codemix.eval.task_shapes.example_files import digest, read_rows
from codemix.files import file_digest
from codemix.recipe.language.component import Component

if TYPE_CHECKING:
    from codemix.eval.engine.score import Engine

Groups = Literal["reasoning", "knowledge", "code", "other"]


@dataclass(frozen=True)
class Data:
    """A task's file of examples and the hash of its content."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Outcome:
    """What a task measured: the headline (in [0, 1]) with its standard error over examples, the rest, and every example."""

    metric: str
    score: float
    stderr: float | None
    records: list[dict[str, Any]]
    chance: float | None = None
    majority: float | None = None  # of the best constant answer
    more: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)  # decoding, isolation, ...

    @property
    def centred(self) -> float | None:
        """(score - chance) / (1 - chance): 0 is guessing, 1 is perfect."""
        return None if self.chance is None else (self.score - self.chance) / (1 - self.chance)


class Task(Component):
    """A benchmark. `template` names the version of its prompts, `columns` what every row of its file must have."""

    family: ClassVar[str] = "task"
    group: ClassVar[Groups] = "other"
    citation: ClassVar[str] = ""
    template: ClassVar[str] = ""
    columns: ClassVar[tuple[str, ...]] = ()
    split: ClassVar[str] = ""  # which split the fetched file holds

    name: str | None = Field(
        None, pattern=r"^[a-z0-9][a-z0-9_.+-]{0,63}$", description="what results call it; default its kind"
    )
    path: str | None = Field(
        None,
        description="examples: .jsonl(.gz), .csv, .arrow, .parquet, relative to the data root; default the fetched ones",
    )
    limit: int | None = Field(
        None, ge=1, description="use so many examples, chosen by a hash of their content; default all"
    )

    def find(self, options: Any) -> Data:
        """The file of examples. Raises CodemixError (`task-data`) when it is not there."""
        path = Path(options.data_root) / self.path if self.path else None
        if path is None and options.data is not None:
            path = Path(options.data) / f"{self.kind}.jsonl"
        if path is None or not path.is_file():
            raise CodemixError(
                f"the task `{self.kind}` has no examples" + (f": there is no file {path}" if path else ""),
                hints=self.where(),
                rule="task-data",
            )
        return Data(path, file_digest(path))

    def where(self) -> list[str]:
        """Hints on where the examples can be had."""
        return [
            "`codemix eval fetch-data DIR` fetches most of the suite; then give `--eval-data DIR`",
            "or name a file with `path:`",
        ]

    def convert(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows as the task reads them, from a file as its authors publish it."""
        return rows

    def rows(self, data: Data) -> list[dict[str, Any]]:
        """The examples, checked for the columns that the task reads."""
        rows = self.convert(read_rows(data.path))
        if not rows:
            raise CodemixError(
                f"{data.path} holds no examples", hints=["fetch or write it again"], rule="task-data"
            )
        for number, row in enumerate(rows, 1):
            for column in self.columns:
                if row.get(column) is None:
                    raise CodemixError(
                        f"{data.path}, row {number}: the task `{self.kind}` needs a column `{column}`",
                        hints=[f"this row has: {', '.join(row)}"],
                        rule="task-data",
                    )
        if self.limit is not None and self.limit < len(rows):
            chosen = sorted(
                sorted(
                    range(len(rows)), key=lambda i: digest(json.dumps(rows[i], sort_keys=True, default=str))
                )[: self.limit]
            )
            rows = [rows[i] for i in chosen]
        return rows

    def texts(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """What of each example would be leaked if it were in the training text."""
        raise NotImplementedError

    def run(self, engine: Engine, rows: Sequence[dict[str, Any]], options: Any) -> Outcome:
        raise NotImplementedError

    def each(self, rows: Sequence[dict[str, Any]], read: Callable[[dict[str, Any]], Any]) -> list[Any]:
        """`read` of every row. Raises CodemixError for a row whose values make no sense to it."""
        found = []
        for number, row in enumerate(rows):
            try:
                found.append(read(row))
            except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
                raise self.bad(number, f"it cannot be read ({type(error).__name__}: {error})") from None
        return found

    def bad(self, number: int | str, what: str) -> CodemixError:
        """The error for a row that makes no sense: its place among the rows, counted here from 0, or a name."""
        number = number + 1 if isinstance(number, int) else number
        return CodemixError(
            f"`{self.kind}`, example {number}: {what}",
            hints=["correct or remove that row of the task's file"],
            rule="task-data",
        )


def mean(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and its standard error (None for one value)."""
    n, m = len(values), sum(values) / len(values)
    return m, math.sqrt(sum((v - m) ** 2 for v in values) / (n - 1) / n) if n > 1 else None
