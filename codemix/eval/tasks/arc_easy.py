"""ARC-Easy: grade-school science questions."""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.eval.task_shapes.choice import Choice, Normalise, Question


class ARCEasy(Choice):
    """Grade-school science; the earliest good signal for small models."""

    kind: Literal["arc_easy"] = "arc_easy"
    group: ClassVar = "reasoning"
    citation: ClassVar = "Clark et al. 2018, arXiv 1803.05457"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("question", "choices", "answerKey")
    split: ClassVar = "test"
    EXAMPLES: ClassVar = ({"kind": "arc_easy"}, {"kind": "arc_easy", "limit": 1000})

    normalise: Normalise = Field(
        "characters",
        description="divide each log-likelihood by the choice's length (OLMES, arXiv 2406.08446: characters)",
    )

    def question(self, row):
        labels = list(row["choices"]["label"])
        answer = row["answerKey"]
        gold = labels.index(answer) if answer in labels else -1
        context = f"Question: {row['question']}\nAnswer:"
        return Question.ask(context, row["choices"]["text"], gold)
