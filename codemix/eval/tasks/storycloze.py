"""StoryCloze: which ending a story of four sentences has."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.choice import Choice, Question, choice_number


class StoryCloze(Choice):
    """The right ending of a four-sentence story. Its data are handed out on request only."""

    kind: Literal["storycloze"] = "storycloze"
    group: ClassVar = "reasoning"
    citation: ClassVar = "Mostafazadeh et al. 2016, arXiv 1604.01696"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ()
    split: ClassVar = "validation"
    EXAMPLES: ClassVar = ({"kind": "storycloze"}, {"kind": "storycloze", "limit": 1000})

    def where(self):
        return [
            "StoryCloze is handed out by its authors after a form: "
            "name the CSV (or a JSON Lines file) with `path:`"
        ]

    def question(self, row):
        """Reads the authors' CSV and the JSON Lines columns that the data sets library uses."""
        try:
            if "InputSentence1" in row:
                story = [row[f"InputSentence{i}"] for i in range(1, 5)]
                endings = [row["RandomFifthSentenceQuiz1"], row["RandomFifthSentenceQuiz2"]]
                gold = row["AnswerRightEnding"]
            else:
                story = [row[f"input_sentence_{i}"] for i in range(1, 5)]
                endings = [row["sentence_quiz1"], row["sentence_quiz2"]]
                gold = row["answer_right_ending"]
        except KeyError as missing:
            raise self.bad(row.get("InputStoryid", "?"), f"it has no {missing}") from None
        return Question.ask(" ".join(story), endings, choice_number(gold) - 1)
