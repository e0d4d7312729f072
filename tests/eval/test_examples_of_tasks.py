"""The examples of tasks are run: a model that finds the right continuation likeliest, and writes it, gets all."""

import pytest
from support.task_rows import ROWS, options

from codemix.eval.engine.generate import Generation
from codemix.eval.engine.windows import Score
from codemix.eval.task_shapes.example_files import json_lines
from codemix.recipe.language.component import component_class, kinds


class Knows:
    """An engine for which one pair of prompt and continuation is certain and the others are not."""

    longest = 4096

    def __init__(self, *right):
        self.right = right

    def score(self, prompt, continuation):
        nats = 0.0 if (prompt, continuation) == self.right else 50.0
        return Score(-nats, max(len(continuation), 1), False, n_bytes=len(continuation.encode()))

    def score_choices(self, questions, label=""):
        return [[self.score(*pair) for pair in pairs] for pairs in questions]

    def score_continuations(self, pairs, label=""):
        return [self.score(*pair) for pair in pairs]


def needs_a_sandbox(kind):
    return kind in ("humaneval", "mbpp")


@pytest.mark.parametrize("kind", kinds("task"))
def test_examples_of_tasks(kind, tmp_path, monkeypatch):
    from codemix.sandbox.sandbox import bubblewrap_problem

    if needs_a_sandbox(kind) and (problem := bubblewrap_problem()):
        pytest.skip(f"no sandbox: {problem}")
    row, *right = ROWS[kind]
    (tmp_path / f"{kind}.jsonl").write_text(json_lines([row]))

    def generate(engine, prompts, decoding, label=""):
        return [[Generation(right[1], 1, "eos")] * decoding.samples for _ in prompts]

    monkeypatch.setattr("codemix.eval.engine.generate.generate", generate)
    cls = component_class("task", kind)
    for example in cls.EXAMPLES:
        task = cls.model_validate(example)
        given = options(data=tmp_path)
        rows = task.rows(task.find(given))
        assert rows == [row]
        assert task.run(Knows(*right), rows, given).score == 1.0
