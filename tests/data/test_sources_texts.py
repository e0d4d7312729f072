"""Sources that make text of something else: notebooks, commits, issues, threads, verified problems."""

import ast
import collections
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.source_files import jsonl, read, source, write_parquet

from codemix.data.document import Document, Drop, Unreadable

NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Words."]},
        {
            "cell_type": "code",
            "source": "print(1)\n",
            "outputs": [{"output_type": "stream", "text": ["1\n"]}],
        },
        {"cell_type": "code", "source": "", "outputs": []},
        {
            "cell_type": "code",
            "source": "f",
            "outputs": [
                {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": ["<Figure>"]}},
                {"output_type": "error", "traceback": ["secret"]},
            ],
        },
    ],
    "metadata": {"kernelspec": {"language": "python"}},
    "nbformat": 4,
}


def test_notebooks(tmp_path):
    (tmp_path / "a.ipynb").write_text(json.dumps(NOTEBOOK))
    jsonl(tmp_path / "a.jsonl", [{"content": json.dumps(NOTEBOOK)}])
    (plain,) = read(tmp_path, source("notebooks", paths="a.ipynb"))
    assert plain.text == "# # Title\n#\n# Words.\n\nprint(1)\n\nf\n" and ast.parse(plain.text)
    (row,) = read(tmp_path, source("notebooks", paths="a.jsonl"))
    assert row.text == plain.text and row.id == "a.jsonl#0"
    (markdown,) = read(tmp_path, source("notebooks", paths="a.ipynb", style="markdown", outputs="text"))
    assert (
        markdown.text
        == "# Title\n\nWords.\n\n```python\nprint(1)\n```\n\n```\n1\n```\n\n```python\nf\n```\n\n```\n<Figure>\n```\n"
    )
    assert "secret" not in markdown.text and "AAAA" not in markdown.text
    old = {
        "worksheets": [{"cells": [{"cell_type": "code", "input": ["x = 1"], "outputs": []}]}],
        "nbformat": 3,
    }
    jsonl(
        tmp_path / "b.jsonl",
        [{"content": raw} for raw in (json.dumps(old), "{", "{}", '{"cells": [5]}', '{"cells": []}')],
    )
    found = read(tmp_path, source("notebooks", paths="b.jsonl"))
    assert (
        found[0].text == "x = 1\n"
        and [u.reason for u in found[1:4]] == ["bad_notebook"] * 3
        and found[4].text == ""
    )


CODE = {"cell_type": "code", "source": "x", "outputs": []}
HALF = {"output_type": "stream", "text": ["done \ud83d\n"]}
PLOT = {
    "output_type": "display_data",
    "data": {"application/vnd.plotly.v1+json": {"y": [1.0, float("nan")]}, "text/plain": ["Figure"]},
}
OLD_CODE = {
    "cell_type": "code",
    "input": ["x\n", "y"],
    "language": "Julia",
    "outputs": [{"output_type": "pyout", "text": ["1"], "png": "AAAA"}],
}
OLD = [
    {"cell_type": "heading", "level": 2, "source": ["Load\n", "it"]},
    {"cell_type": "html", "source": "<b>h</b>"},
    OLD_CODE,
]
OLD_TEXT = "## Load it\n\n<b>h</b>\n\n```julia\nx\ny\n```\n\n```\n1\n```\n"
FENCED = 'print("""\n```\n""")'
NOTEBOOKS = [
    (
        "nbformat 1",
        {"nbformat": 1, "cells": [{"cell_type": "text", "text": "t"}, OLD_CODE]},
        "t\n\n```julia\nx\ny\n```\n\n```\n1\n```\n",
    ),
    (
        "nbformat 1, as IPython wrote it",
        {"nbformat": 1, "cells": [{"cell_type": "code", "code": "x = 1", "prompt_number": 1}]},
        "```python\nx = 1\n```\n",
    ),
    ("nbformat 2", {"nbformat": 2, "worksheets": [{"cells": OLD[:1]}, {"cells": OLD[1:]}]}, OLD_TEXT),
    ("nbformat 3", {"nbformat": 3, "metadata": {"name": "n"}, "worksheets": [{"cells": OLD}]}, OLD_TEXT),
    (
        "odd level",
        {"worksheets": [{"cells": [OLD[0] | {"level": level} for level in (0, 9, "x")]}]},
        "# Load it\n\n###### Load it\n\n# Load it\n",
    ),
    (
        "NaN",
        {"cells": [CODE | {"outputs": [PLOT]}], "metadata": {"p": float("nan")}},
        "```python\nx\n```\n\n```\nFigure\n```\n",
    ),
    (
        "half an emoji put out",
        {"cells": [CODE | {"outputs": [HALF]}]},
        "```python\nx\n```\n\n```\ndone \ufffd\n```\n",
    ),
    ("half an emoji unread", {"cells": [CODE], "metadata": {"title": "\ud83d"}}, "```python\nx\n```\n"),
    ("half an emoji in code", {"cells": [CODE | {"source": "\ud83d"}]}, "lone_surrogate"),
    ("a fence in code", {"cells": [CODE | {"source": FENCED}]}, f"````python\n{FENCED}\n````\n"),
    (
        "a language that is no word",
        {"cells": [CODE], "metadata": {"language_info": {"name": "a`b\n"}}},
        "```python\nx\n```\n",
    ),
    ("odd metadata", {"cells": [CODE], "metadata": [1]}, "```python\nx\n```\n"),
    (
        "odd outputs",
        {"cells": [CODE | {"outputs": [7, {"output_type": "stream", "text": 7}]}]},
        "```python\nx\n```\n",
    ),
    ("a number for outputs", {"cells": [CODE | {"outputs": 7}]}, "```python\nx\n```\n"),
    ("a number for cells", {"cells": 7}, "bad_notebook"),
    ("null for cells", {"cells": None}, "bad_notebook"),
    ("a number for worksheets", {"worksheets": 7}, "bad_notebook"),
    ("a number for a worksheet", {"worksheets": [7]}, "bad_notebook"),
    ("a number for a worksheet's cells", {"worksheets": [{"cells": 7}]}, "bad_notebook"),
    ("a number for a source", {"cells": [{"cell_type": "markdown", "source": 7}]}, "bad_notebook"),
    ("a list", [], "bad_notebook"),
    ("a number", float("nan"), "bad_notebook"),
]


@pytest.mark.parametrize(("name", "notebook", "expected"), NOTEBOOKS, ids=[name for name, _, _ in NOTEBOOKS])
def test_notebooks_of_all_formats_and_odd_ones(tmp_path, name, notebook, expected):
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook))
    (found,) = read(tmp_path, source("notebooks", paths="a.ipynb", style="markdown", outputs="text"))
    assert (found.text if isinstance(found, Document) else found.reason) == expected


BARELY_JSON = [
    b"\xef\xbb\xbf" + json.dumps({"cells": [CODE]}).encode(),
    b'{"cells": ' + b"[" * 100_000,
    b"\xff",
    b'{"cells": [' + b"1" * 5000,
]


@pytest.mark.parametrize("raw", BARELY_JSON, ids=["a byte order mark", "deep", "not UTF-8", "a long number"])
def test_notebooks_that_are_barely_json(tmp_path, raw):
    (tmp_path / "a.ipynb").write_bytes(raw)
    (found,) = read(tmp_path, source("notebooks", paths="a.ipynb"))
    assert found.text == "x\n" if raw.endswith(b"}") else found.reason == "bad_notebook"


def test_a_script_holds_no_output_outside_of_comments(tmp_path):
    bar = {"output_type": "stream", "text": "\r 10%| |\r\n 20%|\n"}
    (tmp_path / "a.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "markdown", "source": "a\rb"}, CODE | {"outputs": [bar]}]})
    )
    (found,) = read(tmp_path, source("notebooks", paths="a.ipynb", outputs="text"))
    assert found.text == "# a\n# b\n\nx\n\n#\n#  10%| |\n#  20%|\n"


def test_long_outputs_are_cut(tmp_path):
    cell = {
        "cell_type": "code",
        "source": "f",
        "outputs": [{"output_type": "stream", "text": "line\n" * 100}],
    }
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell]}))
    (doc,) = read(tmp_path, source("notebooks", paths="a.ipynb", outputs="text", max_output_chars=12))
    assert doc.text == "f\n\n# line\n# line\n# ...\n"


def test_commits(tmp_path):
    jsonl(
        tmp_path / "c.jsonl",
        [
            {"old_contents": "a\nb\n", "new_contents": "a\nc\n", "message": "Fix b", "lang": "C"},
            {"old_contents": None, "new_contents": "new\n", "message": "Add"},
            {"old_contents": "x" * 400, "new_contents": "", "message": "Remove"},
            {"old_contents": "a", "new_contents": "b"},
        ],
    )
    found = read(tmp_path, source("commits", paths="c.jsonl", max_bytes=300, metadata={"language": "lang"}))
    assert found[0].text == "<commit_before>\na\nb\n<commit_msg>\nFix b\n<commit_after>\na\nc\n" and found[
        0
    ].meta == {"language": "C"}
    assert found[1].text == "<commit_before>\n<commit_msg>\nAdd\n<commit_after>\nnew\n"
    assert (
        found[2] == Drop("too_large") and found[3].reason == "missing_text" and "message" in found[3].detail
    )
    diffs = read(
        tmp_path, source("commits", paths="c.jsonl", pieces=["message", "diff"], marks={}, context_lines=0)
    )
    assert diffs[0].text == "Fix b\n@@ -2 +2 @@\n-b\n+c\n"


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
@settings(max_examples=50)
def test_a_computed_diff_holds_every_change(before, after):
    diff = (
        source("commits", paths="x", context_lines=0)
        ._diff("".join(f"{b}\n" for b in before), "".join(f"{a}\n" for a in after))
        .split("\n")
    )
    gone, come = (collections.Counter(line[1:] for line in diff if line[:1] == sign) for sign in "-+")
    was, now = collections.Counter(before), collections.Counter(after)
    was.subtract(gone)
    was.update(come)
    assert was == now


def test_a_computed_diff_says_what_git_says():
    diff = source("commits", paths="x")._diff
    assert diff("a\n", "b\n") == "@@ -1 +1 @@\n-a\n+b\n"
    assert diff("", "new\n") == "@@ -0,0 +1 @@\n+new\n" and diff("old\n", "") == "@@ -1 +0,0 @@\n-old\n"
    assert diff("a\r\n", "a") == "@@ -1 +1 @@\n-a\r\n+a\n\\ No newline at end of file\n"


def test_issues(tmp_path):
    issue = {
        "title": "It breaks",
        "body": "Here.",
        "author": "ann",
        "comments": [
            {"author": "bob", "body": "Where?"},
            {"author": "ci[bot]", "body": "noise"},
            {"author": "ann", "body": "There."},
            {"author": "eve", "body": " "},
        ],
    }
    jsonl(
        tmp_path / "i.jsonl",
        [
            issue,
            issue | {"author": "renovate[bot]"},
            {"title": "Alone"},
            issue | {"comments": "x"},
            {"body": "no title"},
        ],
    )
    found = read(tmp_path, source("issues", paths="i.jsonl"))
    assert found[0].text == "Title: It breaks\n\nuser_0:\nHere.\n\nuser_1:\nWhere?\n\nuser_0:\nThere.\n"
    assert found[1] == Drop("opened_by_bot") and found[2].text == "Title: Alone\n\nuser_0:\n"
    assert [u.reason for u in found[3:]] == ["bad_thread", "missing_text"]
    jsonl(tmp_path / "empty.jsonl", [{"title": " ", "comments": [{"body": ""}]}])
    assert (
        read(tmp_path, source("issues", paths="empty.jsonl"))[0].text == ""
    )  # so that it is counted as empty
    assert read(tmp_path, source("issues", paths="i.jsonl", min_comments=3))[0] == Drop("few_comments")
    assert "noise" in read(tmp_path, source("issues", paths="i.jsonl", keep_bots=True))[0].text
    write_parquet(tmp_path / "i.parquet", [{"title": "Alone"}])
    assert read(tmp_path, source("issues", paths="i.parquet"))[0].text == "Title: Alone\n\nuser_0:\n"


def test_stackexchange(tmp_path):
    thread = {
        "question": "<p>How to <b>sum</b> &lt;x&gt;?</p><pre><code>a &amp; b\n  c</code></pre>",
        "answers": [
            {"text": "<p>worse</p>", "score": 1},
            {"text": "<p>use <code>sum</code></p>", "score": 5},
            {"text": "accepted", "score": 0, "selected": True},
        ],
    }
    jsonl(
        tmp_path / "s.jsonl",
        [thread, {"question": "q", "answers": []}, {"question": "q", "answers": [{"score": 1}]}],
    )
    found = read(tmp_path, source("stackexchange", paths="s.jsonl"))
    assert (
        found[0].text
        == "Q: How to sum <x>?\n\n```\na & b\n  c\n```\n\nA: accepted\n\nA: use `sum`\n\nA: worse\n"
    )
    assert found[1] == Drop("no_answer") and found[2].reason == "missing_text"
    best = read(tmp_path, source("stackexchange", paths="s.jsonl", min_score=2, max_answers=2))[0].text
    assert best.count("A: ") == 2 and "worse" not in best
    jsonl(
        tmp_path / "t.jsonl",
        [
            {
                "question": "q",
                "answers": [
                    {"text": "low", "score": "9"},
                    {"text": "high", "score": "10"},
                    {"text": "none", "score": ""},
                ],
            }
        ],
    )
    assert (
        read(tmp_path, source("stackexchange", paths="t.jsonl", min_score=1))[0].text
        == "Q: q\n\nA: high\n\nA: low\n"
    )


@pytest.fixture
def sandbox():
    from codemix.sandbox.sandbox import bubblewrap_problem

    return "bubblewrap" if bubblewrap_problem() is None else "subprocess"


def test_synthetic_from_files(tmp_path, sandbox):
    jsonl(
        tmp_path / "p.jsonl",
        [
            {
                "problem": "Add one.",
                "solution": "def f(x):\n    return x + 1\n",
                "tests": ["assert f(1) == 2", "assert f(-1) == 0"],
            },
            {"problem": "Add one.", "solution": "def f(x):\n    return x - 1\n", "tests": "assert f(1) == 2"},
            {"problem": "Add one.", "solution": "import sys; sys.exit(0)", "tests": "assert False"},
            {"problem": "Wait.", "solution": "while True: pass", "tests": "assert True"},
            {"problem": "No tests.", "solution": "x = 1", "tests": ""},
            {"problem": "Odd tests.", "solution": "x = 1", "tests": 5},
        ],
    )
    found = read(tmp_path, source("synthetic_python", paths="p.jsonl", timeout_s=1, isolation=sandbox))
    assert found[0].text == "# Add one.\n\ndef f(x):\n    return x + 1\n"
    assert [getattr(x, "reason", None) for x in found[1:]] == [
        "fails_its_tests",
        "fails_its_tests",
        "timeout",
        "no_tests",
        "bad_text",
    ]


def test_synthetic_generated(tmp_path, sandbox):
    made = source("synthetic_python", generate=3, seed=7, keep_tests=True, isolation=sandbox)
    found = read(tmp_path, made)
    assert len(found) == 3 and all(isinstance(d, Document) and "assert " in d.text for d in found)
    with pytest.raises(ValueError, match="exactly one"):
        source("synthetic_python")


def test_generated_solutions_pass_their_tests():
    """Hundreds in this process, where one sandbox each would take minutes; they are our own programs."""
    from codemix.data.sources._python_problems import problem

    seen = set()
    for number in range(400):
        made = problem(3, number)
        exec(compile(made.solution + made.tests, made.task, "exec"), {})
        assert made.tests.count("assert") == 5 and made == problem(3, number)
        seen.add(made.solution)
    assert len(seen) > 350 and problem(4, 0) != problem(3, 0)


ODD = "naïve żółć\ncafé\n"


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("latin-1", "naïve café\nÿ\n"),
        ("iso8859-2", ODD[6:]),
        ("CP1252", "“naïve”\n"),
        ("shift_jis", "表|示\n日本\n"),
    ],
)
def test_texts_in_other_encodings(tmp_path, encoding, said):
    (tmp_path / "a.txt").write_bytes(said.encode(encoding))
    (whole,) = read(tmp_path, source("text", paths="a.txt", encoding=encoding))
    assert whole.text == said
    by_line = read(tmp_path, source("text", paths="a.txt", encoding=encoding, split="line"))
    assert [d.text for d in by_line] == said.splitlines()
    pieces = read(tmp_path, source("text", paths="a.txt", encoding=encoding, separator="|"))
    assert [d.text for d in pieces] == said.split("|")


def test_utf16_is_read_when_it_is_announced(tmp_path):
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        (tmp_path / "a.txt").write_bytes(ODD.encode(encoding))
        assert read(tmp_path, source("text", paths="a.txt", encoding=encoding)) == [
            Document("a.txt#0", ODD, {"path": "a.txt"})
        ]
    with pytest.raises(ValueError, match="cannot be split into lines"):
        source("text", paths="a.txt", encoding="utf-16", split="line")


@pytest.mark.parametrize(
    "encoding", ["base64", "rot13", "unicode_escape", "idna", "undefined", "nope", "a\0b", ""]
)
def test_what_is_no_encoding_of_text(encoding):
    with pytest.raises(ValueError, match="no text encoding"):
        source("text", paths="a.txt", encoding=encoding)


def test_one_encoding_has_one_name():
    assert source("text", paths="a", encoding="latin1") == source("text", paths="a", encoding="ISO-8859-1")


@pytest.mark.parametrize("split", ["file", "line"])
def test_binary_is_no_latin1(tmp_path, split):
    """Latin-1 has a character for every byte, so only a look at the bytes can tell."""
    pictures = {"zeros": b"a picture\0 of nothing\n", "controls": bytes(range(1, 9)) * 9 + b"\x0e\x0f\x10"}
    for name, data in pictures.items():
        (tmp_path / "a.txt").write_bytes(data)
        (bad,) = read(tmp_path, source("text", paths="a.txt", encoding="latin-1", split=split))
        assert bad.reason == {"zeros": "binary", "controls": "control_characters"}[name]
    (tmp_path / "a.txt").write_bytes(b"ok\n\x81bad\nok\n")
    found = read(tmp_path, source("text", paths="a.txt", encoding="cp1252", split=split))
    bad = [item for item in found if isinstance(item, Unreadable)]
    assert [(b.reason, b.where) for b in bad] == [
        ("bad_encoding", "a.txt" if split == "file" else "a.txt, row 2")
    ]
