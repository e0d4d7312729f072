"""BoolQ: yes-or-no questions about a passage."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.choice import Choice, Question, choice_number


class BoolQ(Choice):
    """Yes or no, about a passage; small models mostly answer the same always,
    so read it beside `majority`.
    """

    kind: Literal["boolq"] = "boolq"
    group: ClassVar = "reasoning"
    citation: ClassVar = "Clark et al. 2019, arXiv 1905.10044"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("question", "passage")
    split: ClassVar = "validation"
    same_choices: ClassVar = True
    EXAMPLES: ClassVar = ({"kind": "boolq"}, {"kind": "boolq", "limit": 1000})

    def question(self, row):
        gold = row.get("answer", row.get("label"))
        if gold is None:
            raise self.bad(row.get("question", "?"), "it has neither `answer` nor `label`")
        context = f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:"
        return Question.ask(context, ("no", "yes"), choice_number(gold))
