"""New values in a text: what is not changed stays as it is written, comments and all."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.errors import CodemixError
from codemix.recipe.language import yaml_format
from codemix.recipe.language.layered_file import copied
from codemix.recipe.language.yaml_edit import edited
from codemix.recipe.language.yaml_text import dump, load, parse

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))
TEXT = """\
# about
a: 1 # one
b: {x: 1, y: 2} # flow
c: # block
  d: word # why
  e: |
    long
    text

  # before f
  f: [1, 2]
g:
- n: p # p
  v: 100%
- n: q
"""
CASES = [  # path, the value there (None takes it out), what the text then holds, and what not any more
    (("a",), 2, "a: 2 # one\nb:", "a: 1"),
    (("b", "x"), "1/16", "b: {x: 1/16, y: 2} # flow", "x: 1,"),
    (("b", "z"), "10 steps", "b: {z: 10 steps, x: 1, y: 2} # flow", "\nz:"),
    (("b", "y"), None, "b: {x: 1} # flow", "y:"),
    (("b", "x"), None, "b: {y: 2} # flow", "x:"),
    (("c", "new"), "yes", '  d: word # why\n  new: "yes"\n  e: |', "new: yes"),
    (("c", "d"), None, "c: # block\n  e: |", "word"),
    (("c", "f"), [1, 2, 3], "  # before f\n  f: [1, 2, 3]\ng:", "[1, 2]"),
    (("g", 0, "v"), {"ramp": {"from": "1%", "to": "2%"}}, "  v: {ramp: {from: 1%, to: 2%}}", "100%"),
    (("g", 1, "t"), "12.5B", "- n: q\n  t: 12.5B\n", "n: q\n- "),
    (("c",), {}, "c: # block\n    {}\ng:", "before f"),
    (("c",), None, "# flow\ng:", "block"),
]


def changed(document, path, value):
    whole = copied(document.value)
    inside = whole
    for part in path[:-1]:
        inside = inside[part]
    if value is None:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return whole


@pytest.mark.parametrize(("path", "value", "there", "gone"), CASES)
def test_one_value(path, value, there, gone):
    document = parse(TEXT, "t.yaml")
    whole = changed(document, path, value)
    text = edited(document, whole)
    assert there in text and gone not in text
    assert parse(text, "t.yaml").value == whole


def test_nothing_changes_where_nothing_is_new():
    for path in RECIPES:
        document = load(path)
        assert edited(document, copied(document.value)) == document.text


def test_one_anchor_cannot_say_two_things():
    document = parse("a: &x {n: 1}\nb: *x\n", "t.yaml")
    assert edited(document, {"a": {"n": 2}, "b": {"n": 2}}) == "a: &x {n: 2}\nb: *x\n"
    with pytest.raises(CodemixError, match="one by one"):
        edited(document, {"a": {"n": 2}, "b": {"n": 3}})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab #:-{}[],'\"%/1.", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1), VALUES, st.booleans())
def test_any_value_can_follow_any_other(old, new, is_formatted):
    document = parse(dump(old), "t.yaml")
    if is_formatted:
        document = parse(yaml_format.formatted(document), "t.yaml")
    whole = {**old, "a": new}
    assert parse(edited(document, whole), "t.yaml").value == whole


def test_named_items_are_taken_out_with_their_lines():
    text = "stages:\n  - name: a # first\n    x: 1\n  - name: b\n    x: 2\n\n  # last\n  - {name: c, x: 3} # flow\n"
    document = parse(text, "f")
    fewer = edited(document, {"stages": [{"name": "a", "x": 4}, {"name": "c", "x": 3}]})
    assert fewer == "stages:\n  - name: a # first\n    x: 4\n\n  # last\n  - {name: c, x: 3} # flow\n"
    assert edited(document, {"stages": [{"name": "b", "x": 2}]}) == (
        "stages:\n  - name: b\n    x: 2\n\n  # last\n"
    )
    for names in ("ca", "ad"):  # another order, a new one
        value = {"stages": [{"name": name, "x": 3} for name in names]}
        assert parse(edited(document, value), "f").value == value
