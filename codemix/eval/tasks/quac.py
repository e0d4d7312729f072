"""QuAC: the first question of a dialogue about a passage."""

from collections import Counter
from typing import ClassVar, Literal

from codemix.eval.task_shapes.written import Answer, comparable


class QuAC(Answer):
    """Token F1 of the answer to each dialogue's first question. The paper says "accuracy" and not how; this choice is ours."""

    kind: Literal["quac"] = "quac"
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
            "QuAC's val_v0.2.json is at its authors' site: name it with `path:`, or JSON Lines with context, question, answers"
        ]

    def convert(self, rows):
        """The authors' file holds dialogues: the first turn of each stands alone."""
        if len(rows) != 1 or "data" not in rows[0]:
            return rows
        [turns] = self.each(
            rows,
            lambda row: [
                (p["context"], p["qas"][0]) for article in row["data"] for p in article["paragraphs"]
            ],
        )
        return self.each(
            turns,
            lambda turn: {
                "id": turn[1]["id"],
                "context": turn[0],
                **{k: turn[1][k] for k in ("question", "answers")},
            },
        )

    def prompt(self, row):
        return f"{row['context']}\nQuestion: {row['question']}\nAnswer:"

    def answers(self, row):
        return [a["text"] if isinstance(a, dict) else a for a in row["answers"]]

    def credit(self, text, answers):
        return max(_f1(comparable(text).split(), comparable(a).split()) for a in answers)


def _f1(found: list[str], wanted: list[str]) -> float:
    """Harmonic mean of precision and recall of words, each counted as often as it occurs."""
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0
