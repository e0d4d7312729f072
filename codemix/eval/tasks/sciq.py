"""SciQ: science exam questions with a supporting passage."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.choice import Choice, Question


class SciQ(Choice):
    """Science questions with the passage that answers them in the prompt."""

    kind: Literal["sciq"] = "sciq"
    group: ClassVar = "reasoning"
    citation: ClassVar = "Welbl et al. 2017, arXiv 1707.06209"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("question", "correct_answer", "distractor1", "distractor2", "distractor3")
    split: ClassVar = "validation"
    EXAMPLES: ClassVar = ({"kind": "sciq"}, {"kind": "sciq", "limit": 1000})

    def question(self, row):
        passage = (row.get("support") or "").lstrip()
        context = f"{passage}\nQuestion: {row['question']}\nAnswer:"
        choices = [row["distractor1"], row["distractor2"], row["distractor3"]]
        choices.append(row["correct_answer"])  # last, so that ties cannot help
        return Question.ask(context, choices, gold=3)
