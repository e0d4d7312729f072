"""The two sources that every machine has: the standard library as code, documentation as prose."""

import ast
import sys
from pathlib import Path

import pytest
from support.source_files import source

from codemix.data.document import Document
from codemix.data.inputs.frozen_inputs import Part, freeze
from codemix.data.inputs.opener import Opener
from codemix.data.store.store import Store
from codemix.errors import CodemixError


@pytest.fixture(scope="module")
def stdlib():
    made = source("python_stdlib")
    names = made.inputs(Path("/"))
    return made, names


def test_stdlib_inputs(stdlib):
    made, names = stdlib
    assert names == sorted(names) == made.inputs(Path("/nowhere")) and len(names) == len(set(names)) > 300
    assert "stdlib:json/decoder.py" in names and not any(
        "/test/" in n or n.startswith(("stdlib:test/", "stdlib:pydoc_data/")) for n in names
    )
    fewer = source("python_stdlib", without=["encodings", "abc"]).inputs(Path("/"))
    assert (
        set(names) - set(fewer) >= {"stdlib:abc.py", "stdlib:encodings/utf_8.py"}
        and "stdlib:json/decoder.py" in fewer
    )
    assert made.fingerprint_extra() == {"python": ".".join(map(str, sys.version_info[:3]))}


def test_stdlib_documents_parse_and_share_no_docstring(stdlib, tmp_path):
    made, names = stdlib
    few = [
        n
        for n in names
        if n.startswith("stdlib:json/")
        or n in ("stdlib:textwrap.py", "stdlib:heapq.py", "stdlib:enum.py", "stdlib:typing.py")
    ]
    for frozen in freeze(few, Store(tmp_path), tmp_path):
        (doc,) = made.read(Part(frozen), Opener(tmp_path))
        tree = ast.parse(doc.text)
        holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        assert not any(ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, holders))
        for prose in source("python_docs").read(Part(frozen), Opener(tmp_path)):
            assert not any(paragraph in doc.text for paragraph in prose.text.split("\n\n"))


@pytest.mark.optional("parses the whole standard library, 20 s")
def test_whole_stdlib_is_the_same_program_without_docstrings(stdlib, tmp_path):
    made, names = stdlib
    total = 0
    for frozen in freeze(names, Store(tmp_path), tmp_path):
        (doc,) = made.read(Part(frozen), Opener(tmp_path))
        assert isinstance(doc, Document), doc
        original = compiled_away(frozen)
        assert ast.dump(ast.parse(doc.text)) == ast.dump(original), frozen.path
        total += len(doc.text)
    assert 6e6 < total < 15e6


def compiled_away(given):
    """The tree of a module with its docstrings taken out of the tree, another way than out of the text."""
    from codemix.data.inputs.locations import locate
    from codemix.data.text.python_source import decode, parse

    tree = parse(decode(locate(given.path, Path("/")).read_bytes()))

    def strip(body, module=False):
        while (
            body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            del body[0]
        if not body and not module:
            body.append(ast.Pass())

    strip(tree.body, module=True)
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            strip(node.body)
    return tree


DOCSTRINGS = [
    ('"""m"""\n\nx = 1\n', "x = 1\n"),
    ('# c\n"""m"""\nx = 1\n', "# c\nx = 1\n"),
    ('def f():\n    """d"""\n', "def f():\n    pass\n"),
    ('def f():\n    """d\n    e"""\n\n    return 1\n', "def f():\n    return 1\n"),
    ('def f():\n    "d"; return 1\n', "def f():\n    return 1\n"),
    ('def f(): "d"; return 1\n', "def f(): return 1\n"),
    ('def f(): "d"\n', "def f(): pass\n"),
    (
        'class A:\n    "a" \'b\'\n    def f(self):\n        "d"  # why\n        return "é"\n',
        'class A:\n    def f(self):\n        # why\n        return "é"\n',
    ),
    ('def f():\n    "d"\n    "e"\n    return 1\n', "def f():\n    return 1\n"),
    ('"é"\n', ""),
    ("x = '''not a docstring'''\n", "x = '''not a docstring'''\n"),
    ("", ""),
]


@pytest.mark.parametrize(("before", "after"), DOCSTRINGS)
def test_without_docstrings(before, after):
    from codemix.data.text.python_source import without_docstrings

    assert without_docstrings(before) == after


def test_docs_topics_readmes_licences(tmp_path):
    made = source("python_docs", docstrings=False)
    names = made.inputs(tmp_path)
    assert (
        "stdlib:pydoc_data/topics.py" in names
        and any(n.endswith("/METADATA") for n in names)
        and not any("codemix-" in n for n in names)
    )
    frozen = freeze(names[:3] + ["stdlib:pydoc_data/topics.py"], Store(tmp_path), tmp_path)
    found = [doc for given in frozen for doc in made.read(Part(given), Opener(tmp_path))]
    assert (
        all(isinstance(doc, Document) and doc.text.strip() for doc in found)
        and len({doc.id for doc in found}) == len(found) > 50
    )
    topics = [doc.meta["path"] for doc in found if doc.meta["set"] == "topics"]
    assert topics == sorted(topics) and "assert" in topics
    with pytest.raises(CodemixError, match="nothing to read"):
        source("python_docs", topics=False, packages=False, docstrings=False).inputs(tmp_path)


def test_prose_paragraphs():
    from codemix.data.text.python_source import prose_paragraphs

    prose = "This paragraph says in a dozen or more ordinary words what the function does."
    assert prose_paragraphs(
        f"{prose}\n\n>>> f(1)\n2\n\nshort\n\n:param x: {prose}\n\n    {prose}\n\n{prose}"
    ) == [prose, prose]
