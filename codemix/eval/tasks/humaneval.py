"""HumanEval: complete a Python function."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.written import Program


class HumanEval(Program):
    """Complete a function from its signature and docstring; pass@k in the sandbox."""

    kind: Literal["humaneval"] = "humaneval"
    group: ClassVar = "code"
    citation: ClassVar = "Chen et al. 2021, arXiv 2107.03374"
    template: ClassVar = "lm-eval 0.4.13"
    columns: ClassVar = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
    split: ClassVar = "test"
    EXAMPLES: ClassVar = (
        {"kind": "humaneval"},
        {"kind": "humaneval", "samples": 20, "k": [1, 10], "temperature": 0.8, "top_p": 0.95},
    )

    stop: ClassVar = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")

    def prompt(self, row):
        return row["prompt"]  # with its last newline: without it, weak models write nothing

    def gold(self, row):
        return row["canonical_solution"]

    def program(self, row, text):
        candidate = row["prompt"] + text
        check = f"check({row['entry_point']})"
        return f"{candidate}\n{row['test']}\n{check}\n"
