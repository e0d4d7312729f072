"""SocialIQA: what people do, feel and want."""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.eval.task_shapes.choice import Choice, Normalise, Question, choice_number


class SocialIQA(Choice):
    """Questions about people in everyday situations."""

    kind: Literal["social_iqa"] = "social_iqa"
    group: ClassVar = "reasoning"
    citation: ClassVar = "Sap et al. 2019, arXiv 1904.09728"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("context", "question", "answerA", "answerB", "answerC", "label")
    split: ClassVar = "validation"
    EXAMPLES: ClassVar = ({"kind": "social_iqa"}, {"kind": "social_iqa", "limit": 1000})

    normalise: Normalise = Field(
        "characters",
        description="divide each log-likelihood by the choice's length (OLMES, arXiv 2406.08446: characters)",
    )

    def question(self, row):
        answers = (row["answerA"], row["answerB"], row["answerC"])
        context = f"Q: {row['context']} {row['question']}\nA:"
        gold = choice_number(row["label"]) - 1
        return Question.ask(context, answers, gold)
