"""The ledger: tokens of each source that a stage was planned to read and did read. They are equal, or training failed.

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
        self.rows = {source.source: int((rows or {}).get(source.source, 0)) for source in stage.sources}

    def add(self, rows_by_source: Sequence[int]) -> None:
        """Count one step: rows of each source, in the plan's order of sources."""
        for name, n in zip(self.rows, rows_by_source, strict=True):
            self.rows[name] += int(n)
        self.steps += 1

    @property
    def tokens(self) -> int:
        return sum(self.rows.values()) * self.stage.seq_len

    def check(self) -> None:
        """The drift alarm: raises CodemixError when a source is further from its share than the order can put it.

        Whole segments are exact. Inside one, each level of the order's tree rounds by less than a row.
        """
        done = self.stage.first_row(self.steps) if self.steps < self.stage.steps else self.stage.rows
        slack = max(1, len(self.stage.sources) - 1).bit_length() + 1
        when, problems = f"after {self.steps} steps of `{self.stage.name}`,", []
        for i, name in enumerate(self.rows):
            due = 0.0
            for segment in self.stage.segments:
                inside = min(max(done - segment.first_row, 0), segment.rows)
                due += segment.counts[i] * (inside / segment.rows) if segment.rows else 0
            if abs(self.rows[name] - due) > slack:
                problems.append(
                    self._problem(
                        "ledger-drift",
                        f"{when} {self.rows[name]:,} rows of `{name}` were read, the plan says {due:,.1f}",
                    )
                )
        if sum(self.rows.values()) != done and not problems:
            problems.append(
                self._problem(
                    "ledger-drift",
                    f"{when} {sum(self.rows.values()):,} rows were read, but the plan says {done:,}",
                )
            )
        if problems:
            raise CodemixError(*problems)

    def close(self) -> dict[str, Any]:
        """The content of ledger.json. Raises CodemixError (`ledger-mismatch`) unless it equals the plan to the token."""
        plan = self.stage.planned_tokens()
        consumed = {name: n * self.stage.seq_len for name, n in self.rows.items()}
        name = self.stage.name
        wrong = [
            f"stage `{name}` read {consumed[n]:,} tokens of `{n}`, but the plan says {plan[n]:,}"
            for n in plan
            if plan[n] != consumed[n]
        ]
        if not wrong and self.steps != self.stage.steps:
            wrong = [f"stage `{name}` took {self.steps} steps, but the plan says {self.stage.steps}"]
        if wrong:
            raise CodemixError(*(self._problem("ledger-mismatch", what) for what in wrong))
        return {
            "stage": name,
            "planned": plan,
            "consumed": consumed,
            "steps": self.steps,
            "tokens": sum(consumed.values()),
        }

    @staticmethod
    def _problem(rule: str, what: str) -> Problem:
        hint = "the stage was not finished; delete its folder under .building and train it again, and report this if it comes back"
        return Problem(what, hints=(hint,), rule=rule)
