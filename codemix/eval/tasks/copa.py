"""SuperGLUE COPA: cause or effect."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.choice import Choice, Question, choice_number


class COPA(Choice):
    """The more plausible cause or effect; 100 examples, standard error 5 points at chance."""

    kind: Literal["copa"] = "copa"
    group: ClassVar = "reasoning"
    citation: ClassVar = "Roemmele et al. 2011; Wang et al. 2019, arXiv 1905.00537"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("premise", "choice1", "choice2", "question", "label")
    split: ClassVar = "validation"
    EXAMPLES: ClassVar = ({"kind": "copa"}, {"kind": "copa", "limit": 1000})

    def question(self, row):
        if row["question"] not in ("cause", "effect"):
            raise self.bad(row.get("idx", "?"), f"`question` is {row['question']!r}, not `cause` or `effect`")
        link = "because" if row["question"] == "cause" else "therefore"
        premise = row["premise"].strip()[:-1]
        # With the delimiter, two spaces: as in lm-eval.
        choices = [f" {choice[0].lower()}{choice[1:]}" for choice in (row["choice1"], row["choice2"])]
        return Question.ask(f"{premise} {link}", choices, choice_number(row["label"]))
