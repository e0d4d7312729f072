"""Multiple choice by log-likelihood: the shape of most of the suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from codemix.eval.task_shapes.example_files import Row, digest, identities
from codemix.eval.task_shapes.task import Task, TaskResult, mean

if TYPE_CHECKING:
    from codemix.eval.engine.score import Engine
    from codemix.eval.engine.windows import Score
    from codemix.eval.options import EvalOptions


Length = Callable[[str], int]  # of a choice, by which its log-likelihood is divided


@dataclass(frozen=True)
class Question:
    """One multiple-choice example: (context, continuation) of each choice, the text that its length is
    counted on, and the number of the right choice.
    """

    pairs: tuple[tuple[str, str], ...]
    choices: tuple[str, ...]
    gold: int

    @classmethod
    def ask(cls, context: str, choices: Iterable[str], gold: int, delimiter: str = " ") -> Question:
        """A context with choices that follow it after `delimiter`."""
        texts = listed(choices)
        pairs = []
        for text in texts:
            continuation = delimiter + text
            pairs.append((context, continuation))
        return cls(tuple(pairs), texts, gold)

    @property
    def longest_text(self) -> str:
        """The longest of its choices after their contexts."""
        texts = [context + continuation for context, continuation in self.pairs]
        return max(texts, key=len)

    @property
    def is_answerable(self) -> bool:
        """Whether it has at least two choices, of which `gold` is one."""
        n_choices = len(self.choices)
        is_a_choice = isinstance(self.gold, int) and 0 <= self.gold < n_choices
        return is_a_choice and n_choices >= 2

    def normalised(self, log_p: Sequence[float], length: Length) -> list[float]:
        """The log-likelihoods of the choices, each divided by its choice's length."""
        normalised = []
        for p, choice in zip(log_p, self.choices, strict=True):
            divisor = max(1, length(choice))
            normalised.append(p / divisor)
        return normalised


def listed(choices: Iterable[str]) -> tuple[str, ...]:
    """The choices of a row. Raises ValueError where they are one text, whose letters would be taken for
    choices."""
    if isinstance(choices, str):
        raise ValueError("its choices are one text, not a list")
    return tuple(choices)


def choice_number(value: Any) -> int:
    """Which choice is right, as files give it: 1, 1.0, "1" and True are one. Raises ValueError for anything
    but a whole number.
    """
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError(f"{value!r} is not a whole number")
    return number


Normalise = Literal["none", "characters", "bytes"]
LENGTHS: dict[str, Length] = {
    "none": lambda choice: 1,
    "characters": len,
    "bytes": lambda choice: len(choice.encode()),
}


class Choice(Task):
    """Multiple choice by log-likelihood of each choice's text (cloze).
    Ties go to the first choice and are counted.
    """

    # Whether every example has the same choices, so that a constant answer means something.
    same_choices: ClassVar[bool] = False
    normalise: Normalise = Field("none", description="divide each log-likelihood by the choice's length")

    def question(self, row: Row) -> Question:
        raise NotImplementedError

    def texts(self, rows: Sequence[Row]) -> list[str]:
        questions = self.questions(rows)
        return [question.longest_text for question in questions]

    def questions(self, rows: Sequence[Row]) -> list[Question]:
        """What the rows ask. Raises CodemixError for one without a right answer, or with nothing to score."""
        questions = self.each(rows, self.question)
        for number, question in enumerate(questions):
            if not question.is_answerable:
                count = len(question.choices)
                raise self.bad(number, f"the right answer is number {question.gold!r} of {count} choices")
            if not all(continuation for _, continuation in question.pairs):
                raise self.bad(number, "one of its choices has no text to score")
        return questions

    def run(self, engine: Engine, rows: Sequence[Row], options: EvalOptions) -> TaskResult:
        questions = self.questions(rows)
        scores = engine.score_choices([question.pairs for question in questions], label=self.kind)
        records: list[Row] = []
        correct: dict[str, list[float]] = {name: [] for name in LENGTHS}
        ties = 0
        for name, question, of_choices in zip(identities(rows), questions, scores, strict=True):
            log_p = [score.log_p for score in of_choices]
            predicted: dict[str, int] = {}
            for by, length in LENGTHS.items():
                values = question.normalised(log_p, length)
                best = max(values)
                predicted[by] = values.index(best)
                correct[by].append(float(predicted[by] == question.gold))
                if by == self.normalise and values.count(best) > 1:
                    ties += 1
            records.append(_record(name, question, of_choices, predicted[self.normalise]))
        headline = mean(correct[self.normalise])
        accuracies = {f"accuracy_{name}": mean(values).value for name, values in correct.items()}
        chances = [1 / len(question.choices) for question in questions]
        return TaskResult(
            "accuracy",
            headline.value,
            headline.stderr,
            records,
            chance=sum(chances) / len(questions),
            majority=_majority(questions) if self.same_choices else None,
            more={**accuracies, "ties": ties},
            about={"normalise": self.normalise, "prompts_cut": sum(r["cut"] for r in records)},
        )


def _record(name: str, question: Question, scores: Sequence[Score], predicted: int) -> Row:
    """What examples/<task>.jsonl holds of one question."""
    contexts = "\0".join(context for context, _ in question.pairs)
    gold = scores[question.gold]
    return {
        "id": name,
        "prompt_sha256": digest(contexts),
        "gold": question.gold,
        "predicted": predicted,
        "correct": float(predicted == question.gold),
        "log_p": [score.log_p for score in scores],
        "tokens": [score.tokens for score in scores],
        "cut": any(score.truncated for score in scores),
        "bytes": [score.n_bytes for score in scores],
        "gold_bits": gold.bits,
        "gold_bytes": gold.n_bytes,
    }


def _majority(questions: Sequence[Question]) -> float:
    """The score of the best constant answer."""
    golds = Counter(question.gold for question in questions)
    most_frequent = max(golds.values())
    return most_frequent / len(questions)
