"""NaturalQuestions-Open: what people asked a search engine."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.written import ClosedBook
from codemix.recipe.language.lists import one_or_several


class NaturalQuestionsOpen(ClosedBook):
    """Search questions from memory: exact match after SQuAD's normalisation with any answer."""

    kind: Literal["nq_open"] = "nq_open"
    citation: ClassVar = "Lee et al. 2019, arXiv 1906.00300"
    EXAMPLES: ClassVar = ({"kind": "nq_open"}, {"kind": "nq_open", "limit": 1000})

    def prompt(self, row):
        return f"Answer these questions:\n\nQ: {row['question']}?\nA:"

    def answers(self, row):
        return list(one_or_several(row["answer"]))
