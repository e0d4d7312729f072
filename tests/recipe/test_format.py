"""`codemix fmt`: one form, which says the same, keeps comments and anchors, and is its own form."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix import cli
from codemix.errors import CodemixError
from codemix.recipe.language.yaml_format import formatted
from codemix.recipe.language.yaml_text import parse

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes").rglob("*.yaml"))


def form(text):
    return formatted(parse(text, "x.yaml"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a:   1", "a: 1\n"),
        ("a : 1\n", "a: 1\n"),
        ("a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n"),
        ("\n\na: 1\n\n\n\nb: 2\n\n\n", "a: 1\n\nb: 2\n"),
        ("a: 1    # words  \n", "a: 1 # words\n"),
        ("#words\na: 1 #more\n##x\n#!y\n#\n", "# words\na: 1 # more\n##x\n#!y\n#\n"),
        ("a: {b:   1,c: 2 , d: [ 1,2 ]}\n", "a: {b: 1, c: 2, d: [1, 2]}\n"),
        ("a: {b: 1, # one\n      c: 2} # two\n", "a: {b: 1, # one\n  c: 2} # two\n"),
        ("a: [\n      1, # one\n  # two\n 2\n   ]\n", "a: [\n  1, # one\n  # two\n  2\n]\n"),
        ("a:\n- b: 1\n  c: 2\n- d\n", "a:\n  - b: 1\n    c: 2\n  - d\n"),
        ("a:\n    -   b: 1\n        c:\n              d: 2\n", "a:\n  - b: 1\n    c:\n      d: 2\n"),
        ("a:\n    - - 1\n      - 2\n", "a:\n  - - 1\n    - 2\n"),
        ("a: 'b'\nc: 'it''s'\nd: '\"'\ne: 'f\\g'\n", "a: \"b\"\nc: 'it''s'\nd: '\"'\ne: 'f\\g'\n"),
        ("a: |\n       b\n         c  \n\n\nd: 1\n", "a: |\n  b\n    c  \n\nd: 1\n"),
        ("a:\n    b: >-   # words\n        c\n\n        d\n", "a:\n  b: >- # words\n    c\n\n    d\n"),
        ("a: b\n     c\n", "a: b\n  c\n"),
        ("a: &x   {b: 1}\nc:   *x\nd: [ *x , 1 ]\n", "a: &x {b: 1}\nc: *x\nd: [*x, 1]\n"),
        (
            "a:\n      b: 1\n      # in a\n# before c\nc: 1\n# end\n",
            "a:\n  b: 1\n  # in a\n# before c\nc: 1\n# end\n",
        ),
        ("a:\n# of b\n      b: 1\n", "a:\n  # of b\n  b: 1\n"),
        ("\ufeffa: 1\n", "a: 1\n"),
        ("---\na:\t1\n", "---\na: 1\n"),
        ('a: "b\n      c"\n', 'a: "b\n  c"\n'),
    ],
)
def test_the_form(text, wanted):
    text = text.removeprefix("\ufeff")
    assert form(text) == wanted
    assert form(wanted) == wanted


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_recipes_are_in_the_form(path):
    text = path.read_text()
    assert form(text) == text


WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
SCALARS = st.one_of(
    WORDS,
    st.sampled_from(
        ["1", "1e-4", "10%", "~", "true", "'it''s'", '"a: b"', "'a # b'", "hf://x/*.gz", '"\\n"', "''"]
    ),
)


def flows(inner):
    gap = st.sampled_from(["", " ", "  ", "\n          ", " # words\n            "])
    items = st.lists(st.tuples(gap, inner, gap), max_size=3)
    sequences = items.map(lambda found: "[" + ",".join(a + b + c for a, b, c in found) + "]")
    pairs = st.lists(st.tuples(gap, WORDS, inner, gap), max_size=3, unique_by=lambda pair: pair[1])
    mappings = pairs.map(lambda found: "{" + ",".join(f"{a}{k}:  {v}{c}" for a, k, v, c in found) + "}")
    return sequences | mappings


FLOWS = st.recursive(SCALARS, flows, max_leaves=6)


@st.composite
def blocks(draw, depth=0, column=0):
    """Block YAML in a poor form: odd indentation, gaps, comments, anchors."""
    step = draw(st.integers(1, 5))
    lines = []
    names = draw(st.lists(WORDS, min_size=1, max_size=4, unique=True))
    is_sequence = depth > 0 and draw(st.booleans())
    for name in names:
        if draw(st.integers(0, 3)) == 0:
            lines.append(" " * draw(st.integers(0, 9)) + draw(st.sampled_from(["", "# words", "#words"])))
        start = " " * column + ("-" if is_sequence else f"{name}:")
        shape = draw(st.sampled_from(["flow", "flow", "block", "text", "empty"]))
        if shape == "block" and depth < 3:
            lines += [start + draw(st.sampled_from(["", "  # more"]))]
            lines += draw(blocks(depth + 1, column + step))
        elif shape == "text":
            lines.append(start + draw(st.sampled_from([" |", " >-", "   |-  #why"])))
            lines += [" " * (column + step) + line for line in ("one", "   two  ", "", "# not a comment")]
        elif shape == "empty":
            lines.append(start + "   ~")
        else:
            lines.append(f"{start}   {draw(FLOWS)}" + draw(st.sampled_from(["", "   ", "   # last"])))
    return lines


@settings(max_examples=200)
@given(blocks())
def test_the_form_says_the_same_and_is_its_own_form(lines):
    text = "\n".join(lines) + "\n"
    try:
        document = parse(text, "x.yaml")
    except CodemixError:
        return  # a comment or a flow collection that YAML does not allow there
    once = formatted(document)
    again = parse(once, "x.yaml")
    assert again.value == document.value
    assert formatted(again) == once
    assert re.findall(r"words|more|why|last", text) == re.findall(r"words|more|why|last", once)


@settings(max_examples=100)
@given(st.data())
def test_any_edit_of_a_recipe_is_formatted_or_refused(data):
    text = data.draw(st.sampled_from(FILES)).read_text()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 30)))
        put = data.draw(
            st.sampled_from(
                ["", "\n", " ", "  ", "'", '"', "#", "- ", ": ", "{", "]", "&a ", "|\n", "\t", "é", "\x85"]
            )
        )
        text = text[:start] + put + text[end:]
    try:
        once = form(text)
    except CodemixError:
        return
    assert parse(once, "x").value == parse(text, "x").value
    assert form(once) == once


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main(["fmt", *map(str, words)])
        out = capsys.readouterr()
        return stop.value.code, out.out, out.err

    return call


POOR = "codemix:   1\nname: 'x'\n"
GOOD = 'codemix: 1\nname: "x"\n'


def test_check_writes_nothing_and_fmt_does(run, tmp_path):
    (tmp_path / "r").mkdir()
    poor = tmp_path / "r" / "poor.yaml"
    poor.write_text(POOR)
    poor.chmod(0o600)
    (tmp_path / "r" / "other.yaml").write_text("values:   1\n")
    (tmp_path / "link.yaml").symlink_to(poor)
    assert run("r", "--check") == (1, "r/poor.yaml: not in the form\n", "")
    assert poor.read_text() == POOR
    assert run("link.yaml") == (0, "link.yaml: rewritten\n", "")
    assert poor.read_text() == GOOD and poor.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "link.yaml").is_symlink()
    assert run("r", "--check") == (0, "", "")
    assert (tmp_path / "r" / "other.yaml").read_text() == "values:   1\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("codemix: [", "this is not YAML"),
        ("codemix: 1\ncodemix: 1\n", "given twice"),
        ("codemix: 1\nseed: 007\n", "begins with 0"),
        ("", "the file is empty"),
    ],
)
def test_a_file_with_problems_is_left_as_it_is(run, tmp_path, content, says):
    path = tmp_path / "a.codemix.yaml"
    path.write_text(content)
    (tmp_path / "b.codemix.yaml").write_text(POOR)
    code, out, err = run(".")
    assert code == 1 and says in err and out == "b.codemix.yaml: rewritten\n"
    assert path.read_text() == content


def test_a_form_that_would_say_something_else_is_refused(run, tmp_path, monkeypatch):
    from codemix.recipe.language import yaml_format

    monkeypatch.setattr(yaml_format, "_requoted", lambda raw: raw.replace("x", "y"))
    (tmp_path / "a.yaml").write_text(POOR)
    code, _, err = run("a.yaml")
    assert code == 1 and "would change what this file says" in err
    assert (tmp_path / "a.yaml").read_text() == POOR


def test_a_folder_without_recipes_and_a_missing_file(run, tmp_path):
    assert run(".")[0] == 1
    code, _, err = run("nowhere.yaml")
    assert code == 1 and "cannot read nowhere.yaml" in err


def test_it_is_a_filter():
    command = [sys.executable, "-m", "codemix", "fmt", "-"]
    done = subprocess.run(command, input=POOR, text=True, capture_output=True, env=dict(os.environ))
    assert (done.returncode, done.stdout) == (0, GOOD)


def test_the_largest_recipe_takes_less_than_150_ms():
    text = max((path.read_text() for path in FILES), key=len)
    form(text)
    start = time.process_time()
    form(text)
    assert time.process_time() - start < 0.15
