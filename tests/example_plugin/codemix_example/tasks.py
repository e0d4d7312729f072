"""A task: which of two lines continues a function."""

from typing import Any, ClassVar, Literal

from codemix.eval.task_shapes.choice import Choice, Question


class NextLine(Choice):
    """The likelier of two next lines; chance is one half."""

    kind: Literal["next_line"] = "next_line"
    group: ClassVar = "code"
    citation: ClassVar = "made up for this example"
    columns: ClassVar = ("code", "right", "wrong")

    EXAMPLES: ClassVar = ({"kind": "next_line", "path": "next_line.jsonl"},)

    def question(self, row: dict[str, Any]) -> Question:
        return Question.ask(row["code"], (row["right"], row["wrong"]), gold=0, delimiter="\n")
