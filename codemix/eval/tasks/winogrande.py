"""WinoGrande: whom a pronoun means."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.choice import Choice, Question, choice_number


class WinoGrande(Choice):
    """Which of two names fits a blank, by the likelihood of what follows it."""

    kind: Literal["winogrande"] = "winogrande"
    group: ClassVar = "reasoning"
    citation: ClassVar = "Sakaguchi et al. 2019, arXiv 1907.10641"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("sentence", "option1", "option2", "answer")
    split: ClassVar = "validation"
    EXAMPLES: ClassVar = ({"kind": "winogrande"}, {"kind": "winogrande", "limit": 1000})

    def question(self, row):
        before, blank, after = row["sentence"].partition("_")
        if not blank:
            raise self.bad(row["sentence"][:40], "its sentence has no blank `_`")
        options = (row["option1"], row["option2"])
        ending = f" {after.strip()}"
        pairs = tuple((before + option, ending) for option in options)
        gold = choice_number(row["answer"]) - 1
        return Question(pairs, options, gold)
