"""Multiple choice by log-likelihood: the shape of most of the suite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from codemix.eval.task_shapes.example_files import digest, identities
from codemix.eval.task_shapes.task import Outcome, Task, mean


@dataclass(frozen=True)
class Question:
    """One multiple-choice example: (context, continuation) for each choice, the text that length is counted on, the right one."""

    pairs: tuple[tuple[str, str], ...]
    choices: tuple[str, ...]
    gold: int

    @classmethod
    def ask(cls, context: str, choices: Iterable[str], gold: int, delimiter: str = " ") -> Question:
        """A context with choices that follow it after `delimiter`."""
        choices = tuple(choices)
        return cls(tuple((context, delimiter + c) for c in choices), choices, gold)


def choice_number(value: Any) -> int:
    """Which choice is right, as files say it: 1, 1.0, "1" and True are one. Raises ValueError for what is not a whole number."""
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError(f"{value!r} is not a whole number")
    return number


Normalise = Literal["none", "characters", "bytes"]
LENGTHS: dict[str, Callable[[str], int]] = {
    "none": lambda choice: 1,
    "characters": len,
    "bytes": lambda choice: len(choice.encode()),
}


class Choice(Task):
    """Multiple choice by log-likelihood of each choice's text (cloze). Ties go to the first choice and are counted."""

    same_choices: ClassVar[bool] = (
        False  # whether every example has the same choices, so that a constant answer means something
    )
    normalise: Normalise = Field("none", description="divide each log-likelihood by the choice's length")

    def question(self, row: dict[str, Any]) -> Question:
        raise NotImplementedError

    def texts(self, rows):
        return [max((a + b for a, b in q.pairs), key=len) for q in self.questions(rows)]

    def questions(self, rows: Sequence[dict[str, Any]]) -> list[Question]:
        """What the rows ask. Raises CodemixError for one without a right answer, or with nothing to score."""
        questions = self.each(rows, self.question)
        for number, q in enumerate(questions):
            if not (isinstance(q.gold, int) and 0 <= q.gold < len(q.choices)) or len(q.choices) < 2:
                raise self.bad(number, f"the right answer is number {q.gold!r} of {len(q.choices)} choices")
            if not all(continuation for _, continuation in q.pairs):
                raise self.bad(number, "one of its choices has no text to score")
        return questions

    def run(self, engine, rows, options):
        questions = self.questions(rows)
        scores = engine.score_choices([q.pairs for q in questions], label=self.kind)
        records, ties = [], 0
        right: dict[str, list[float]] = {name: [] for name in LENGTHS}
        for name, q, found in zip(identities(rows), questions, scores, strict=True):
            log_p = [s.log_p for s in found]
            picked = {}
            for by, length in LENGTHS.items():
                values = [p / max(1, length(c)) for p, c in zip(log_p, q.choices, strict=True)]
                picked[by] = values.index(max(values))
                ties += by == self.normalise and values.count(max(values)) > 1
                right[by].append(float(picked[by] == q.gold))
            records.append(
                {
                    "id": name,
                    "prompt_sha256": digest("\0".join(a for a, _ in q.pairs)),
                    "gold": q.gold,
                    "predicted": picked[self.normalise],
                    "correct": right[self.normalise][-1],
                    "log_p": log_p,
                    "tokens": [s.tokens for s in found],
                    "cut": any(s.truncated for s in found),
                    "bytes": [s.n_bytes for s in found],
                    "gold_bits": found[q.gold].bits,
                    "gold_bytes": found[q.gold].n_bytes,
                }
            )
        n = len(records)
        score, stderr = mean(right[self.normalise])
        golds = [q.gold for q in questions]
        return Outcome(
            "accuracy",
            score,
            stderr,
            records,
            chance=sum(1 / len(q.choices) for q in questions) / n,
            majority=max(golds.count(g) for g in set(golds)) / n if self.same_choices else None,
            more={f"accuracy_{name}": mean(values)[0] for name, values in right.items()} | {"ties": ties},
            about={"normalise": self.normalise, "prompts_cut": sum(r["cut"] for r in records)},
        )
