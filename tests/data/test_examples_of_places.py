"""The examples of sources that read something other than files under the data root: a repository, this Python,
the hub, programs that are run, another source.
"""

import json

import pytest
import zstandard
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from support.git_repository import GitRepository
from support.small_recipes import recipe, words, write_jsonl
from support.source_files import jsonl, read

from codemix.data.build.build import build
from codemix.data.build.documents import Documents
from codemix.data.build.identity import identify
from codemix.data.document import Document
from codemix.data.inputs.frozen_inputs import freeze
from codemix.data.inputs.opener import Opener
from codemix.data.store.store import Store
from codemix.recipe.language.component import component_class


def examples(kind):
    cls = component_class("source", kind)
    return [cls.model_validate(example) for example in cls.EXAMPLES]


def texts(root, made):
    found = read(root, made)
    assert all(isinstance(item, Document) for item in found), found
    return [item.text for item in found]


def test_examples_of_git(tmp_path):
    tagged, bare = examples("git")
    repository = GitRepository(tmp_path / "repos" / "project")
    repository.git("checkout", "-q", "-B", "main")
    repository.commit({"a.go": "package a\n", "b.py": "b = 1\n", "vendor/c.go": "package c\n"})
    repository.git("tag", "v1.2.0")
    repository.git("clone", "-q", "--bare", ".", str(tmp_path / "repos" / "project.git"))
    repository.commit({"d.py": "d = 1\n"})
    assert texts(tmp_path, tagged) == ["package a\n", "b = 1\n", "package c\n"]
    assert texts(tmp_path, bare) == ["package a\n"]


def read_few(root, made, names):
    """What a source makes of some of its inputs, which must be among them."""
    opener = Opener(root)
    assert set(names) <= set(made.inputs(root))
    frozen = freeze(names, Store(root / ".store"), root)
    return [
        item
        for given in frozen
        for part in made.parts(given, opener, 1 << 40)
        for item in made.read(part, opener)
    ]


def test_examples_of_python_stdlib(tmp_path):
    whole, some = examples("python_stdlib")
    for made in (whole, some):
        (found,) = read_few(tmp_path, made, ["stdlib:json/decoder.py"])
        assert "class JSONDecoder" in found.text and '"""' not in found.text
    left_out = set(whole.inputs(tmp_path)) - set(some.inputs(tmp_path))
    assert {name.split(":")[1].split("/")[0] for name in left_out} == {"encodings", "idlelib"}


def test_examples_of_python_docs(tmp_path):
    whole, some = examples("python_docs")
    for made in (whole, some):
        found = read_few(tmp_path, made, ["stdlib:json/decoder.py"])
        assert any("JSON" in item.text for item in found)
    package = next(name for name in whole.inputs(tmp_path) if name.endswith("/METADATA"))
    assert package not in some.inputs(tmp_path) and read_few(tmp_path, whole, [package])


def test_examples_of_synthetic_python(tmp_path):
    from codemix.sandbox.sandbox import bubblewrap_problem

    if problem := bubblewrap_problem():
        pytest.skip(f"no sandbox: {problem}")
    generated, given = examples("synthetic_python")
    opener = Opener(tmp_path)
    (frozen,) = freeze(generated.inputs(tmp_path), Store(tmp_path / ".store"), tmp_path)
    parts = generated.parts(frozen, opener, 1 << 40)
    assert (parts[0].start, parts[-1].stop) == (0, 1000)
    few = parts[0].__class__(frozen, 0, 3, 0, 1)
    assert [type(item) for item in generated.read(few, opener)] == [Document] * 3
    right = {
        "text": "Add.",
        "code": "def add(a, b):\n    return a + b",
        "test_list": ["assert add(1, 2) == 3"],
    }
    jsonl(tmp_path / "mbpp.jsonl", [right, right | {"test_list": ["assert add(1, 2) == 4"]}])
    passed, failed = read(tmp_path, given)
    assert "return a + b" in passed.text and "assert add(1, 2) == 3" in passed.text
    assert not isinstance(failed, Document)


class LocalHub(MemoryFileSystem):
    """The hub as far as a source sees it: files under `hf://datasets/OWNER/NAME@REVISION/`."""

    protocol = "hf"
    store = {}
    pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("hf://"))

    def info(self, path, **how):
        return super().info(path, **how) | {"blob_id": "of this content"}


def test_examples_of_huggingface(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setitem(_registry, "hf", LocalHub)
    at_branch, at_commit = examples("huggingface")
    hub = LocalHub()
    with hub.open("hf://datasets/owner/name@main/data/python/0.parquet", "wb") as file:
        pq.write_table(pa.table({"content": ["x = 1\n"]}), file)
    with hub.open("hf://datasets/owner/name@0123456789abcdef/a.jsonl.zst", "wb") as file:
        file.write(zstandard.compress(json.dumps({"text": "words"}).encode()))
    assert texts(tmp_path, at_branch) == ["x = 1\n"]
    assert texts(tmp_path, at_commit) == ["words"]


def test_examples_of_source(tmp_path):
    (example,) = component_class("source", "source").EXAMPLES
    write_jsonl(tmp_path / "a.jsonl", [words(number, 30) for number in range(20)])
    sources = {
        example["name"]: {"read": {"kind": "jsonl", "paths": "a.jsonl"}, "held_out": "0%"},
        "derived": {"read": example, "held_out": "0%"},
    }
    rate = {"kind": "constant", "value": 0.1}
    stage = {"name": "a", "steps": 1, "mixture": {"derived": "100%"}, "learning_rate": rate}
    store = Store(tmp_path / "store")
    asked = recipe(sources, stages=[stage])
    build(asked, store, data_root=tmp_path)
    made_of = identify(asked, store, tmp_path).documents["derived"].require()
    documents = Documents.load(store.path("documents", "derived", made_of))
    assert (documents.funnel.read, documents.funnel.kept) == (20, 20)
