"""The ledger: tokens of each source that a stage was planned to read and did read.
They are equal, or training failed.

The planned side comes from the plan. The consumed side is counted on the devices, from the batches that were
trained on; it travels through checkpoints as whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codemix.errors import CodemixError, Problem

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan


class Ledger:
    """What one stage has read so far, in rows by source."""

    def __init__(self, stage: StagePlan, rows: Mapping[str, int] | None = None, steps: int = 0):
        self.stage = stage
        self.steps = steps
        self.rows = {source.source: 0 for source in stage.sources}
        for name, n in (rows or {}).items():
            if name in self.rows:
                self.rows[name] = int(n)

    def add(self, rows_by_source: Sequence[int]) -> None:
        """Count one step: rows of each source, in the plan's order of sources."""
        for name, n in zip(self.rows, rows_by_source, strict=True):
            self.rows[name] += int(n)
        self.steps += 1

    @property
    def tokens(self) -> int:
        return sum(self.rows.values()) * self.stage.seq_len

    def check(self) -> None:
        """The drift alarm: raises CodemixError when a source is further from its share than the order can put
        it.

        Whole segments are exact. Inside one, each level of the order's tree rounds by less than a row.
        """
        done = self.stage.rows
        if self.steps < self.stage.steps:
            done = self.stage.first_row(self.steps)
        slack = max(1, len(self.stage.sources) - 1).bit_length() + 1
        when = f"after {self.steps} steps of `{self.stage.name}`,"
        drifts = []
        for index, (name, rows) in enumerate(self.rows.items()):
            due = self._due(index, done)
            if abs(rows - due) > slack:
                drifts.append(f"{when} {rows:,} rows of `{name}` were read, the plan says {due:,.1f}")
        total = sum(self.rows.values())
        if total != done and not drifts:
            drifts.append(f"{when} {total:,} rows were read, but the plan says {done:,}")
        if drifts:
            raise _problems("ledger-drift", drifts)

    def _due(self, source: int, done: int) -> float:
        """Rows of a source among the first `done` rows of the stage, had each segment an even mixture."""
        due = 0.0
        for segment in self.stage.segments:
            inside = min(max(done - segment.first_row, 0), segment.rows)
            if inside:
                due += segment.counts[source] * (inside / segment.rows)
        return due

    def close(self) -> dict[str, Any]:
        """The content of ledger.json. Raises CodemixError (`ledger-mismatch`) unless it equals the plan to
        the token.
        """
        planned = self.stage.planned_tokens()
        consumed = {name: rows * self.stage.seq_len for name, rows in self.rows.items()}
        stage = self.stage.name
        differences = []
        for name, tokens in planned.items():
            if consumed[name] != tokens:
                differences.append(
                    f"stage `{stage}` read {consumed[name]:,} tokens of `{name}`, but the plan says {tokens:,}"
                )
        if not differences and self.steps != self.stage.steps:
            differences.append(
                f"stage `{stage}` took {self.steps} steps, but the plan says {self.stage.steps}"
            )
        if differences:
            raise _problems("ledger-mismatch", differences)
        return {
            "stage": stage,
            "planned": planned,
            "consumed": consumed,
            "steps": self.steps,
            "tokens": sum(consumed.values()),
        }


def _problems(rule: str, differences: Sequence[str]) -> CodemixError:
    hints = (
        "the stage was not finished; delete its folder under .building and train it again, "
        "and report this if it comes back",
    )
    return CodemixError(*(Problem(what, hints=hints, rule=rule) for what in differences))
