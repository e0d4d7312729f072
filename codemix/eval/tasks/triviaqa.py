"""TriviaQA: trivia without a passage."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.written import ClosedBook
from codemix.recipe.language.lists import one_or_several


class TriviaQA(ClosedBook):
    """Trivia from memory: exact match after SQuAD's normalisation with any known alias."""

    kind: Literal["triviaqa"] = "triviaqa"
    version: ClassVar[int] = 2  # an answer that is a text alone is one answer
    citation: ClassVar = "Joshi et al. 2017, arXiv 1705.03551"
    EXAMPLES: ClassVar = ({"kind": "triviaqa"}, {"kind": "triviaqa", "limit": 1000})

    def prompt(self, row):
        return f"Question: {row['question']}?\nAnswer:"

    def answers(self, row):
        answer = row["answer"]
        aliases = answer["aliases"] if isinstance(answer, dict) else answer
        return list(one_or_several(aliases))
