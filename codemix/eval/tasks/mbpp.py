"""MBPP: write a small Python function."""

from typing import ClassVar, Literal

from codemix.eval.task_shapes.written import Program


class MBPP(Program):
    """Write a function from one sentence and one test; pass@k in the sandbox. Fetched: the 500 of the test
    split; `path:` takes all 974.
    """

    kind: Literal["mbpp"] = "mbpp"
    group: ClassVar = "code"
    citation: ClassVar = "Austin et al. 2021, arXiv 2108.07732"
    template: ClassVar = "bigcode: docstring with the first test, 0-shot"
    columns: ClassVar = ("text", "code", "test_list")
    split: ClassVar = "test"
    EXAMPLES: ClassVar = ({"kind": "mbpp"}, {"kind": "mbpp", "samples": 10, "k": [1, 5], "temperature": 0.8})

    stop: ClassVar = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif", "\n#", "\n```")

    def prompt(self, row):
        return f'"""\n{row["text"]}\n{row["test_list"][0]}\n"""\n'

    def gold(self, row):
        return row["code"].replace("\r\n", "\n")

    def program(self, row, text):
        # What the tests set up may use the candidate's classes, so it comes after the candidate.
        setup = (row.get("test_setup_code") or "").replace("\r\n", "\n")
        return "\n".join([text, setup, *row["test_list"], ""])
