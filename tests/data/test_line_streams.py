"""Parts of compressed files: together they say what the whole says, wherever they are cut and in whatever order."""

import gzip
import itertools
import json

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_recipes import recipe, tree, words
from support.source_files import read, source

from codemix.data.build import documents_job
from codemix.data.build.build import build
from codemix.data.document import Document, Unreadable
from codemix.data.inputs import opener as opener_module
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.data.store.store import Store

LIMITS = st.lists(st.integers(0, 400), max_size=5).map(sorted)
LINES = st.lists(st.integers(0, 60).map(lambda length: b"x" * length), max_size=12)
KINDS = st.sampled_from([".gz", "members.gz", ".zst"])


def compressed(data: bytes, kind: str) -> bytes:
    if kind == "members.gz":
        return b"".join(gzip.compress(data[at : at + 50]) for at in range(0, len(data) or 1, 50))
    if kind == ".gz":
        return gzip.compress(data)
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def said(items) -> list[str]:
    return [repr(item) for item in items]


@given(LINES, st.booleans(), LIMITS, KINDS, st.integers(0, 40), st.randoms())
@settings(max_examples=300, deadline=None)
def test_parts_together_are_the_whole(tmp_path_factory, lines, ends, limits, kind, lost, chance):
    """Also where the end of the file is lost, and whatever this process has read before."""
    root = tmp_path_factory.mktemp("parts", numbered=True)
    packed = compressed(b"\n".join(lines) + b"\n" * ends, kind)
    packed = packed[: max(len(packed) - lost, 20)]
    name = f"a.jsonl{kind}"
    (root / name).write_bytes(packed)
    frozen = Input(name, len(packed), "")
    opener = Opener(root, max_line_bytes=50)
    whole = said(opener.lines(Part(frozen)))
    bounds = [0, *limits, None]
    parts = [Part(frozen, start, stop) for start, stop in itertools.pairwise(bounds)]
    found: dict[int, list] = {}
    for number in chance.sample(range(len(parts)), len(parts)):
        found[number] = said(opener.lines(parts[number]))
    assert [line for number in range(len(parts)) for line in found[number]] == whole


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(opener_module, "_STREAM_HEAD", 1 << 17)
    monkeypatch.setattr(opener_module, "_LARGE_STREAM", 2)
    monkeypatch.setattr(documents_job, "MIN_TASK_BYTES", 2000)


def rows(count: int) -> bytes:
    texts = [words(number, 20 + number % 50) for number in range(count)]
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("kind", ["jsonl", "text"])
def test_a_large_compressed_file_is_read_in_parts_that_say_the_same(tmp_path, small_parts, kind, suffix):
    data = rows(8000)
    path = tmp_path / f"a{suffix.removeprefix('.jsonl') if kind == 'text' else suffix}"
    packed = compressed(data, path.suffix)
    path.write_bytes(packed)
    how = {"split": "line"} if kind == "text" else {}
    made = source(kind, paths=path.name, **how)
    parts = made.parts(Input(path.name, len(packed), ""), Opener(tmp_path), len(packed) // 5)
    assert len(parts) == 8 and 0 <= len(packed) - sum(part.size for part in parts) < 8
    whole = read(tmp_path, made)
    divided = read(tmp_path, made, len(packed) // 5)
    assert divided == whole and len(whole) == 8000
    opener = Opener(tmp_path)
    sizes = [sum(len(doc.text) for doc in made.read(part, opener)) for part in parts]
    assert max(sizes) < 1.5 * min(sizes)


def test_where_a_line_is_broken_and_the_rest_lost_is_told_once_and_in_its_place(tmp_path, small_parts):
    lines = rows(2000).splitlines(keepends=True)
    lines[700] = b"{broken\n"
    packed = gzip.compress(b"".join(lines))[:-2000]
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    made = source("jsonl", paths="a.jsonl.gz")
    found = read(tmp_path, made, len(packed) // 6)
    assert said(found) == said(read(tmp_path, made))
    broken, lost = (item for item in found if isinstance(item, Unreadable))
    assert "a.jsonl.gz, row 701:" in str(broken) and broken.reason == "bad_json"
    assert lost is found[-1] and lost.rest_lost
    assert sum(isinstance(item, Document) for item in found) == len(found) - 2


def test_one_compressed_file_is_shared_by_workers_and_every_number_of_them_writes_the_same(
    tmp_path, small_parts, monkeypatch
):
    monkeypatch.setattr("codemix.data.execution.runner.IN_PROCESS_BYTES", 0)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows(400)))
    made = recipe({"a": "a.jsonl.gz"})
    trees = []
    for workers in (1, 3):
        store = Store(tmp_path / f"store{workers}")
        build(made, store, data_root=tmp_path, workers=workers)
        trees.append(tree(store))
    assert trees[0] == trees[1]
    numbers = {name.split("/docs/")[1][:5] for name in trees[0] if "/docs/" in name}
    assert len(numbers) > 3


def test_marks_of_another_division_are_not_taken(tmp_path, small_parts, monkeypatch):
    """An interrupted build whose parts are other ones today begins again."""
    packed = gzip.compress(rows(400))
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    made = recipe({"a": "a.jsonl.gz"})
    run = documents_job.DocumentsTask.run

    def interrupted(task):
        if task.number == 2:
            raise KeyboardInterrupt
        run(task)

    store = Store(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(opener_module, "_STREAM_PARTS", 3)
        patch.setattr(documents_job.DocumentsTask, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(made, store, data_root=tmp_path)
    build(made, store, data_root=tmp_path)
    straight = Store(tmp_path / "straight")
    build(made, straight, data_root=tmp_path)
    assert tree(store) == tree(straight)


def test_a_process_that_reads_parts_in_turn_decompresses_the_file_once(tmp_path, small_parts, monkeypatch):
    packed = gzip.compress(rows(400))
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    opener = Opener(tmp_path)
    parts = opener.line_parts(Input("a.jsonl.gz", len(packed), ""), len(packed) // 4)
    opened: list[str] = []

    def counted(self, given):
        opened.append(given.path)
        return open_(self, given)

    open_ = Opener.open
    monkeypatch.setattr(Opener, "open", counted)
    for part in parts:
        list(opener.lines(part))
    assert len(parts) == 8 and len(opened) == 1
    list(opener.lines(parts[5]))
    list(opener.lines(parts[2]))
    assert len(opened) == 3  # nothing is ahead of what is wanted, or it is too far
