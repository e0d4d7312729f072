"""HellaSwag: how a scene continues."""

import re
from typing import ClassVar, Literal

from pydantic import Field

from codemix.eval.task_shapes.choice import Choice, Normalise, Question, choice_number, listed


class HellaSwag(Choice):
    """Which of four endings a description has."""

    kind: Literal["hellaswag"] = "hellaswag"
    group: ClassVar = "reasoning"
    citation: ClassVar = "Zellers et al. 2019, arXiv 1905.07830"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("activity_label", "ctx_a", "ctx_b", "endings", "label")
    split: ClassVar = "validation"
    EXAMPLES: ClassVar = ({"kind": "hellaswag"}, {"kind": "hellaswag", "limit": 1000})

    normalise: Normalise = Field(
        "characters",
        description="divide each log-likelihood by the choice's length (OLMES, arXiv 2406.08446: characters)",
    )

    def question(self, row):
        start = row["ctx_b"].capitalize()
        context = _clean(f"{row['activity_label']}: {row['ctx_a']} {start}")
        endings = listed(row["endings"])
        gold = choice_number(row["label"])
        return Question.ask(context, map(_clean, endings), gold)


def _clean(text: str) -> str:
    """Without the marks that WikiHow's layout left in the data set."""
    titled = text.strip().replace(" [title]", ". ")
    return _without_brackets(titled).replace("  ", " ")


_BRACKET = re.compile(r"\[[^\]\n]*(\]?)")


def _without_brackets(text: str) -> str:
    """As `\\[.*?\\]` would find them, in one pass: a bracket that is not closed on its line is kept."""
    return _BRACKET.sub(_unclosed, text)


def _unclosed(bracket: re.Match[str]) -> str:
    if bracket[1]:
        return ""
    return bracket[0]
