"""PIQA: which way of doing an everyday thing works."""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.eval.task_shapes.choice import Choice, Normalise, Question, choice_number


class PIQA(Choice):
    """Which of two ways to reach a goal is right."""

    kind: Literal["piqa"] = "piqa"
    group: ClassVar = "reasoning"
    citation: ClassVar = "Bisk et al. 2020, arXiv 1911.11641"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("goal", "sol1", "sol2", "label")
    split: ClassVar = "validation"
    EXAMPLES: ClassVar = ({"kind": "piqa"}, {"kind": "piqa", "limit": 1000})

    normalise: Normalise = Field(
        "characters",
        description="divide each log-likelihood by the choice's length (OLMES, arXiv 2406.08446: characters)",
    )

    def question(self, row):
        context = f"Question: {row['goal']}\nAnswer:"
        solutions = (row["sol1"], row["sol2"])
        return Question.ask(context, solutions, choice_number(row["label"]))
