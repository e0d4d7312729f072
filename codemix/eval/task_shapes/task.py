"""The task family: what a benchmark asks a model, where its examples are, and what is wrong with them.

A task is one file in codemix/eval/tasks: a few fields and how one row becomes a question. Three shapes cover
them all: `Choice` (choice.py: which continuation is likeliest), `Answer` and `Program` (written.py: what is
written, compared with known answers or run against tests). Standard library and pydantic only at import.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import Field

from codemix.errors import CodemixError
from codemix.eval.task_shapes.example_files import Row, digest, read_rows
from codemix.files import file_digest
from codemix.recipe.language.component import Component

if TYPE_CHECKING:
    from codemix.eval.engine.score import Engine
    from codemix.eval.options import EvalOptions

T = TypeVar("T")
Groups = Literal["reasoning", "knowledge", "code", "other"]


@dataclass(frozen=True)
class ExampleFile:
    """A task's file of examples and the hash of its content."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class TaskResult:
    """What a task measured: the headline (in [0, 1]) with its standard error over examples, the rest, and
    every example.
    """

    metric: str
    score: float
    stderr: float | None
    records: list[Row]
    chance: float | None = None
    majority: float | None = None  # of the best constant answer
    more: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)  # decoding, isolation, ...

    @property
    def centred(self) -> float | None:
        """(score - chance) / (1 - chance): 0 is guessing, 1 is perfect."""
        if self.chance is None:
            return None
        return (self.score - self.chance) / (1 - self.chance)


class Task(Component):
    """A benchmark. `template` names the version of its prompts,
    `columns` what every row of its file must have.
    """

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
        description="examples: .jsonl(.gz), .csv, .arrow, .parquet, relative to the data root; "
        "default the fetched ones",
    )
    limit: int | None = Field(
        None, ge=1, description="use at most N examples, chosen by a hash of their content; default all"
    )

    def find(self, options: EvalOptions) -> ExampleFile:
        """The file of examples. Raises CodemixError (`task-data`) when it does not exist."""
        path = self._path(options)
        if path is None or not path.is_file():
            reason = f": there is no file {path}" if path else ""
            raise CodemixError(
                f"the task `{self.kind}` has no examples{reason}", hints=self.where(), rule="task-data"
            )
        return ExampleFile(path, file_digest(path))

    def _path(self, options: EvalOptions) -> Path | None:
        if self.path:
            return Path(options.data_root) / self.path
        if options.data is not None:
            return Path(options.data) / f"{self.kind}.jsonl"
        return None

    def where(self) -> list[str]:
        """Hints on where the examples can be had."""
        return [
            "`codemix eval fetch-data DIR` fetches most of the suite; then give `--eval-data DIR`",
            "or name a file with `path:`",
        ]

    def convert(self, rows: list[Row]) -> list[Row]:
        """Rows as the task reads them, from a file as its authors publish it."""
        return rows

    def rows(self, file: ExampleFile) -> list[Row]:
        """The examples, checked for the columns that the task reads."""
        rows = self.convert(read_rows(file.path))
        if not rows:
            raise CodemixError(
                f"{file.path} holds no examples", hints=["fetch or write it again"], rule="task-data"
            )
        for number, row in enumerate(rows, 1):
            for column in self.columns:
                if row.get(column) is None:
                    raise CodemixError(
                        f"{file.path}, row {number}: the task `{self.kind}` needs a column `{column}`",
                        hints=[f"this row has: {', '.join(row)}"],
                        rule="task-data",
                    )
        if self.limit is None or self.limit >= len(rows):
            return rows
        hashes = [digest(json.dumps(row, sort_keys=True, default=str)) for row in rows]
        by_hash = sorted(range(len(rows)), key=hashes.__getitem__)
        return [rows[i] for i in sorted(by_hash[: self.limit])]

    def texts(self, rows: Sequence[Row]) -> list[str]:
        """What of each example would be leaked if it were in the training text."""
        raise NotImplementedError

    def run(self, engine: Engine, rows: Sequence[Row], options: EvalOptions) -> TaskResult:
        """The rows asked of the model behind `engine`, and what its answers are worth."""
        raise NotImplementedError

    def each(self, rows: Sequence[Row], read: Callable[[Row], T]) -> list[T]:
        """`read` of every row. Raises CodemixError for a row whose values make no sense to it."""
        values: list[T] = []
        for number, row in enumerate(rows):
            try:
                values.append(read(row))
            except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
                raise self.bad(number, f"it cannot be read ({type(error).__name__}: {error})") from None
        return values

    def bad(self, number: int | str, what: str) -> CodemixError:
        """The error for a row that makes no sense: its place among the rows, counted here from 0,
        or a name.
        """
        place = number + 1 if isinstance(number, int) else number
        return CodemixError(
            f"`{self.kind}`, example {place}: {what}",
            hints=["correct or remove that row of the task's file"],
            rule="task-data",
        )


class Mean(NamedTuple):
    """A mean and its standard error (None for one value)."""

    value: float
    stderr: float | None


def mean(values: Sequence[float]) -> Mean:
    """The mean of at least one value, with its standard error."""
    n = len(values)
    value = sum(values) / n
    if n == 1:
        return Mean(value, None)
    squares = sum((v - value) ** 2 for v in values)
    return Mean(value, math.sqrt(squares / (n - 1) / n))
