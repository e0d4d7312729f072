"""SuperGLUE COPA: cause or effect."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.choice import Choice, Question, choice_number

LINKS = {"cause": "because", "effect": "therefore"}


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
        asked = row["question"]
        if asked not in tuple(LINKS):
            raise self.bad(row.get("idx", "?"), f"`question` is {asked!r}, not `cause` or `effect`")
        premise = row["premise"].strip()[:-1]
        context = f"{premise} {LINKS[asked]}"
        choices = [_lower_first(row["choice1"]), _lower_first(row["choice2"])]
        gold = choice_number(row["label"])
        return Question.ask(context, choices, gold)


def _lower_first(sentence: str) -> str:
    """A choice as it follows its link: with the delimiter, two spaces, as in lm-eval."""
    first = sentence[0].lower()
    return f" {first}{sentence[1:]}"
