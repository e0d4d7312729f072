"""The source `compose`: a template, optional parts, rows that lack a field; the same from JSON and Parquet."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.source_files import read, source, write_parquet

from codemix.data.document import Document, Drop, Unreadable
from codemix.data.sources.compose import parsed
from codemix.recipe.language.component import component_class

ROWS = [
    {"instruction": "Name a fruit.", "context": "", "response": "Pear.", "more": {"n": "1"}},
    {"instruction": "Who is it?", "context": "Ada wrote it.", "response": "Ada {L}.", "more": {"n": "2"}},
    {"instruction": "What?", "context": None, "response": "  ", "more": {"n": "3"}},
    {"instruction": "Why?", "context": " \n", "response": None, "more": {"n": "4"}},
]
PARTS = ["{instruction}\n\n", "{context}\n\n", "{response}\n"]


@pytest.fixture(params=["jsonl", "parquet"])
def rows(request, tmp_path):
    path = tmp_path / f"rows.{request.param}"
    if request.param == "parquet":
        write_parquet(path, ROWS)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def compose(**fields):
    return source("compose", paths="rows.*", **fields)


def test_fields_make_a_text_and_rows_that_lack_one_are_counted(rows):
    made = read(rows.parent, compose(template=PARTS, optional="context"))
    assert made[:3] == [
        Document(f"{rows.name}#0", "Name a fruit.\n\nPear.\n"),
        Document(f"{rows.name}#1", "Who is it?\n\nAda wrote it.\n\nAda {L}.\n"),
        Drop("lacks_response", f"{rows.name}#2"),
    ]
    assert made[2].id == f"{rows.name}#2"
    assert isinstance(made[3], Unreadable) and made[3].reason == "missing_text"
    assert "`response` is null" in made[3].detail and "instruction" in made[3].detail
    dropping = read(rows.parent, compose(template=PARTS, optional=["context"], missing="drop"))
    assert dropping[3] == Drop("lacks_response")
    strict = read(rows.parent, compose(template="".join(PARTS)))
    assert [type(item).__name__ for item in strict] == ["Drop", "Document", "Unreadable", "Drop"]


def test_braces_nested_fields_and_metadata(rows):
    template = "{{{instruction}}} {more.n}{instruction}"
    made = read(rows.parent, compose(template=template, metadata={"n": "more.n"}, where={"more.n": "2"}))
    assert made[1] == Document(f"{rows.name}#1", "{Who is it?} 2Who is it?", {"n": "2"})
    assert [item for item in made if isinstance(item, Drop)] == [Drop("where")] * 3


def test_a_field_that_no_row_has_is_told_with_those_there_are(rows):
    made = read(rows.parent, compose(template="{instruction}{respons}"))
    assert {item.reason for item in made} <= {"missing_text", "missing_column"}
    assert "respons" in str(made[0]) and "response" in str(made[0])


def test_a_value_that_is_no_text(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 5}\n{"a": ["x"]}\n{"a": false}\n{"a": 0}\n')
    made = read(tmp_path, compose(template="{a}", optional="a"))
    assert [item.reason for item in made] == ["bad_text"] * 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"template": "no field"}, "the template names no field"),
        ({"template": "{{a}}"}, "the template names no field"),
        ({"template": []}, "at least 1"),
        ({"template": "{a} {"}, "`{` names no field"),
        ({"template": "{a} }"}, "`}` names no field"),
        ({"template": "{a}{}"}, "`{}` names no field"),
        ({"template": "{a}{ b }"}, "`{ b }` names no field"),
        ({"template": "{a}{{b}"}, "`}` names no field"),
        ({"template": "{a}", "optional": "b"}, "the template does not name `b`"),
    ],
)
def test_templates_that_say_nothing_are_refused(fields, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{").replace("}", r"\}")):
        component_class("source", "compose").model_validate({"kind": "compose", "paths": "a.jsonl", **fields})


@given(st.text(), st.text(), st.text())
def test_a_template_is_what_it_says(before, value, after):
    doubled = [text.replace("{", "{{").replace("}", "}}") for text in (before, after)]
    part = parsed("{a.b}".join(doubled))
    assert part.fields == ("a.b",) and part.fill({"a.b": value}) == before + value + after
