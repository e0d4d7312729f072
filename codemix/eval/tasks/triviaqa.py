"""TriviaQA: trivia without a passage."""

from typing import ClassVar, Literal

from codemix.eval.written import Answer


class TriviaQA(Answer):
    """Trivia from memory: exact match after SQuAD's normalisation with any known alias."""

    kind: Literal["triviaqa"] = "triviaqa"
    group: ClassVar = "knowledge"
    citation: ClassVar = "Joshi et al. 2017, arXiv 1705.03551"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("question", "answer")
    split: ClassVar = "validation"
    EXAMPLES: ClassVar = ({"kind": "triviaqa"}, {"kind": "triviaqa", "limit": 1000})

    stop: ClassVar = ("\n", ".", ",")

    def prompt(self, row):
        return f"Question: {row['question']}?\nAnswer:"

    def answers(self, row):
        return list(row["answer"]["aliases"]) if isinstance(row["answer"], dict) else list(row["answer"])
