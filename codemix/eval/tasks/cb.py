"""SuperGLUE CB: does a text commit its author to a claim."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.choice import Choice, Question, choice_number


class CommitmentBank(Choice):
    """Entailment, contradiction or neither; 56 examples, so one is 1.8 points."""

    kind: Literal["cb"] = "cb"
    group: ClassVar = "reasoning"
    citation: ClassVar = "de Marneffe et al. 2019; Wang et al. 2019, arXiv 1905.00537"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("premise", "hypothesis", "label")
    split: ClassVar = "validation"
    same_choices: ClassVar = True
    EXAMPLES: ClassVar = ({"kind": "cb"}, {"kind": "cb", "limit": 1000})

    def question(self, row):
        context = f"{row['premise']}\nQuestion: {row['hypothesis']}. True, False, or Neither?\nAnswer:"
        gold = choice_number(row["label"])
        return Question.ask(context, ("True", "False", "Neither"), gold)
