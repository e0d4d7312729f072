"""QuAC: the first question of a dialogue about a passage."""

from collections import Counter
from typing import ClassVar, Literal

from codemix.eval.task_shapes.example_files import Row
from codemix.eval.task_shapes.written import Answer, comparable
from codemix.recipe.language.lists import one_or_several


class QuAC(Answer):
    """Token F1 of the answer to each dialogue's first question. The paper says "accuracy" and not how; this
    choice is ours.
    """

    kind: Literal["quac"] = "quac"
    version: ClassVar[int] = 2  # an answer that is a text alone is one answer
    group: ClassVar = "reasoning"
    citation: ClassVar = "Choi et al. 2018, arXiv 1808.07036"
    template: ClassVar = "codemix 1: first turn only"
    columns: ClassVar = ("context", "question", "answers")
    split: ClassVar = "validation"
    EXAMPLES: ClassVar = ({"kind": "quac"}, {"kind": "quac", "limit": 1000})

    metric: ClassVar = "f1"
    stop: ClassVar = ("\n",)

    def where(self):
        return [
            "QuAC's val_v0.2.json is at its authors' site: name it with `path:`, "
            "or JSON Lines with context, question, answers"
        ]

    def convert(self, rows):
        """The authors' file holds dialogues: the first turn of each stands alone."""
        if len(rows) != 1 or "data" not in rows[0]:
            return rows
        [dialogues] = self.each(rows, _dialogues)
        return self.each(dialogues, _first_turn)

    def prompt(self, row):
        return f"{row['context']}\nQuestion: {row['question']}\nAnswer:"

    def answers(self, row):
        answers = one_or_several(row["answers"])
        return [answer["text"] if isinstance(answer, dict) else answer for answer in answers]

    def credit(self, text, answers):
        words = comparable(text).split()
        return max(_f1(words, comparable(answer).split()) for answer in answers)


def _dialogues(row: Row) -> list[Row]:
    """The dialogues of the authors' file, each with the passage that it is about."""
    dialogues: list[Row] = []
    for article in row["data"]:
        dialogues += article["paragraphs"]
    return dialogues


def _first_turn(dialogue: Row) -> Row:
    turn = dialogue["qas"][0]
    return {
        "id": turn["id"],
        "context": dialogue["context"],
        "question": turn["question"],
        "answers": turn["answers"],
    }


def _f1(words: list[str], wanted: list[str]) -> float:
    """Harmonic mean of precision and recall of words, each counted as often as it occurs."""
    shared = (Counter(words) & Counter(wanted)).total()
    if not shared:
        return 0.0
    return 2 * shared / (len(words) + len(wanted))
