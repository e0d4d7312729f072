"""Tokens made while documents are read: the bytes of those made of the finished documents, whatever happens between."""

import math

import pytest
from support.small_recipes import recipe, tree, words, write_jsonl

from codemix.data.build import documents as documents_module
from codemix.data.build import documents_job, tokens, tokens_job
from codemix.data.build.build import build
from codemix.data.build.builder import Builder
from codemix.data.build.shards import _about
from codemix.data.store.jsonl_zst import LineWriter, read_lines
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.data.tokenizers.bpe import Bpe

SOURCES = {
    "web": {
        "read": {
            "kind": "jsonl",
            "paths": "web*.jsonl",
            "id": "id",
            "metadata": {"language": "lang", "size": "n"},
        },
        "held_out": "20%",
        "ops": [{"kind": "size", "min_bytes": 100}],
    },
    "code": {"read": {"kind": "jsonl", "paths": "code.jsonl"}},
}
LATER = {  # known only when all documents are: dedup and the end of a sample
    "twins": {"read": {"kind": "jsonl", "paths": "code.jsonl"}, "subsample": "1/2"},
    "others": {"read": {"kind": "jsonl", "paths": "web*.jsonl"}},
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Many small tasks, files of documents and shards, and a ready tokenizer."""
    monkeypatch.setattr(documents_job, "MIN_TASK_BYTES", 3000)
    monkeypatch.setattr(documents_job, "MIN_FILE_BYTES", 1000)
    monkeypatch.setattr(tokens_job, "MIN_TASK_BYTES", 4000)
    monkeypatch.setattr("codemix.data.execution.runner.IN_PROCESS_BYTES", 0)
    for part in range(3):
        rows = [
            {
                "text": words(100 * part + i, 5 + i),
                "id": f"{part}-{i}",
                "lang": [None, "en"][i % 2],
                "n": i / 4,
            }
            for i in range(40)
        ]
        write_jsonl(tmp_path / f"web{part}.jsonl", rows)
    write_jsonl(tmp_path / "code.jsonl", [words(1000 + i, 30) for i in range(60)] + ["", "x"])
    Bpe(vocab_size=400).make((), lambda: iter([words(1, 2000)])).save(str(tmp_path / "ready.json"))
    return tmp_path


def made(sources=SOURCES, **more):
    return recipe(sources, tokenizer={"kind": "tokenizer_json", "path": "ready.json"}, **more)


def built(root, name, workers=1):
    store = Store(root / name)
    build(made(), store, data_root=root, workers=workers)
    return tree(store)


def apart(root, monkeypatch):
    """A build that reads the finished documents again."""
    with monkeypatch.context() as patch:
        patch.setattr(Builder, "_is_encoded_at_once", lambda *_: False)
        return built(root, "apart")


def test_pieces_end_in_the_bytes_of_a_build_that_reads_the_documents_again(root, monkeypatch):
    expected = apart(root, monkeypatch)
    assert len([path for path in expected if path.endswith(".ds")]) > 6
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "read_lines", lambda path: pytest.fail(f"{path} was read again"))
        assert built(root, "at_once") == expected
    for workers in (2, 4, 60):  # of 60 most would wait for whoever reads: they encode afterwards
        assert built(root, f"workers{workers}", workers) == expected
    assert not list(root.glob("*/.building/*/*/.*"))


def test_what_dedup_and_samples_leave_out_is_counted_as_ever(root):
    sources = SOURCES | LATER
    dedup = [{"kind": "exact", "sources": ["web", "others"]}]
    manifests = build(made(sources, dedup=dedup), Store(root / "later"), data_root=root, workers=2)
    assert manifests["others"].funnel["dropped"]["dedup1-exact/duplicate"] > 60
    assert manifests["twins"].funnel["dropped"]["subsample/not_sampled"] > 20
    for manifest in manifests.values():
        funnel = manifest.funnel
        assert funnel["read"] == funnel["kept"] + sum(funnel["dropped"].values()) + funnel["unreadable"]
        written = manifest.documents("train") + manifest.documents("held_out")
        assert written == funnel["kept"]


def test_a_shard_of_one_piece_and_of_several_holds_what_its_manifest_says(root):
    store = Store(root / "store")
    build(made(), store, data_root=root)
    for folder in store.root.glob("data/*"):
        manifest = Manifest.load(folder)
        for shard in manifest.shards("train"):
            rows = list(read_lines(folder / shard.docs))
            assert len(rows) == shard.documents and sum(row["bytes"] for row in rows) == shard.bytes


@pytest.mark.parametrize("fails_at", [0, 1, 5, 9, 14, 17])
def test_a_build_that_broke_off_goes_on_to_the_same_bytes(root, monkeypatch, fails_at):
    expected = apart(root, monkeypatch)
    made_so_far = []

    def breaks(path, mark, write=documents_module.write_mark):
        made_so_far.append(path)
        if len(made_so_far) > fails_at:
            raise KeyboardInterrupt
        write(path, mark)

    with monkeypatch.context() as patch:
        for module in ("documents", "pieces", "tokens"):
            patch.setattr(f"codemix.data.build.{module}.write_mark", breaks)
        with pytest.raises(KeyboardInterrupt):
            built(root, "broken")
    assert built(root, "broken") == expected


def test_a_piece_that_was_being_used_up_is_made_again(root, monkeypatch):
    expected = apart(root, monkeypatch)

    def breaks(parts, joined):
        parts[0].tokens.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("codemix.data.build.pieces.join_shards", breaks)
        with pytest.raises(KeyboardInterrupt):
            built(root, "broken")
    assert built(root, "broken") == expected


def test_a_piece_of_other_documents_is_not_used(root, monkeypatch):
    """What is left of a build whose input was another for a while: its fingerprint is that of the input."""
    expected = apart(root, monkeypatch)
    true = (root / "web0.jsonl").read_bytes()

    def breaks(path, mark, write=documents_module.write_mark):
        if "web-" in str(path) and path.name.startswith("00000-") and path.parent.name == ".parts":
            raise KeyboardInterrupt
        write(path, mark)

    with monkeypatch.context() as patch:
        patch.setattr(documents_module.DocumentsTask, "run", changed_first(root / "web0.jsonl"))
        patch.setattr(documents_module, "write_mark", breaks)
        with pytest.raises(KeyboardInterrupt):
            built(root, "other")
    (root / "web0.jsonl").write_bytes(true)
    assert list(root.glob("other/.building/data/web-*/.pieces/00000-000-*"))
    assert built(root, "other", workers=60) == expected


def changed_first(path, run=documents_module.DocumentsTask.run):
    def changed_and_run(task):
        path.write_bytes(path.read_bytes().replace(b"shard", b"drahs"))
        run(task)

    return changed_and_run


@pytest.mark.parametrize("value", [None, math.nan, math.inf, 0, "", [], [None], {"a": 1}, 1.5, True])
def test_what_is_known_of_a_document_is_what_its_file_says_again(tmp_path, value):
    row = {"id": "a", "text": "t", "meta": {"size": value, "set": "s"}, "bytes": 1}
    writer = LineWriter(tmp_path / "a.jsonl.zst")
    writer.write(row)
    writer.close()
    (again,) = read_lines(tmp_path / "a.jsonl.zst")
    assert _about(row) == _about(again)
