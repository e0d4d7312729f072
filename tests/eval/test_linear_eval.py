"""Four times as much text takes about four times as long, wherever evaluation reads what others wrote;
and no pipe is waited for.
"""

import os
import re
import time
from pathlib import Path

import pytest

from codemix.errors import CodemixError
from codemix.eval.judge import judge
from codemix.eval.judge.winrate import read_winrate
from codemix.eval.pages import rendering
from codemix.eval.task_shapes.example_files import read_rows
from codemix.eval.task_shapes.written import normal
from codemix.eval.tasks import hellaswag

READERS = {
    "verdict": judge.verdict,
    "prompt": lambda text: judge.Ask(text, text, text).prompt(judge.PROMPT),
    "normal": normal,
    "hellaswag": hellaswag._without_brackets,
    "html": rendering._inline,
    "markdown": rendering._markdown_text,
    "listing": rendering._listing,
    "controls": rendering.without_controls,
}
PIECES = [
    "\n",
    " ",
    "*",
    "`",
    "[",
    "]",
    "[\n",
    "<",
    "&",
    "a ",
    "the",
    ".",
    "preferred",
    "preferred ",
    "preferred answer",
    "Preferred: Answer (A) ",
    "\npreferred\n",
    "preferred:\nanswer\n",
    "{a}",
    "{",
    "**a",
    "``",
    "\\",
    "1. ",
    "\n\n ",
    "|",
    "\u00b2",
    "\u200f",
    "_",
    "=" * 8,
]


@pytest.mark.parametrize("name", READERS)
def test_time_grows_as_the_text_does(name):
    read = READERS[name]
    read("x")  # imports and compiles

    def seconds(text):
        started = time.process_time()
        read(text)
        return time.process_time() - started

    for piece in PIECES:
        few, many = piece * 4_000, piece * 16_000
        assert min(seconds(many) for _ in range(2)) < 10 * min(seconds(few) for _ in range(3)) + 0.05, repr(
            piece
        )


@pytest.mark.parametrize(
    "text", ["a [x] b", "[x", "a] [b] [c", "[a[b]c]", "[a\nb]", "[]", "[[[", "[a]\n[b\n[c]"]
)
def test_brackets_are_those_of_the_plain_pattern(text):
    assert hellaswag._without_brackets(text) == re.sub(r"\[.*?\]", "", text)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("read", [read_rows, judge.read_judge, read_winrate])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "x.jsonl")
    for path in (tmp_path / "x.jsonl", Path("/dev/zero")):
        with pytest.raises(CodemixError, match="is a pipe, a socket or a device"):
            read(path)
