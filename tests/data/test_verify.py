"""verify: one thing broken at a time, and each is found."""

import json
import shutil

import numpy as np
import pytest
from support.small_recipes import recipe, words, write_jsonl

from codemix.data.build.build import build
from codemix.data.review import verify as verifying
from codemix.data.store import digests
from codemix.data.store.finished import KINDS, finished, related
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store, write_json, write_text
from codemix.files import file_digest
from codemix.recipe.language.yaml_text import dump


def verify(folder):
    return list(verifying.verify([folder]).problems)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("verify")
    write_jsonl(root / "web.jsonl", [words(i, 20 + i) for i in range(30)])
    source = {"read": {"kind": "jsonl", "paths": "web.jsonl"}, "held_out": "20%"}
    build(recipe({"web": source}), Store(root / "store"), data_root=root)
    return root / "store"


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "store")
    (found,) = (tmp_path / "store" / "data").iterdir()
    assert verify(found) == []
    return found


def edit(folder, change):
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    rewrite(folder / "manifest.json", json.dumps(content))


def rewrite(path, text):
    """Write a file of a finished folder as if that had been what was finished."""
    path.write_text(text)
    listing = path.with_name(digests.NAME)
    listing.write_text(digests.listing(path.parent, {}))


def rehash(folder):
    """Make the manifest agree with damaged files, so that what is inside them is looked at."""

    def change(content):
        for split in content["splits"].values():
            for shard in split["shards"]:
                shard["sha256"], shard["index_sha256"] = (
                    file_digest(folder / shard["path"]),
                    file_digest(folder / f"{shard['path']}.index"),
                )
                shard["docs_sha256"] = file_digest(folder / shard["docs"])

    edit(folder, change)


def tokens(folder):
    return np.memmap(folder / "shards/train-00000.ds", "<u2", "r+")


BREAKS = {
    "a flipped bit": (lambda f: tokens(f).__setitem__(5, tokens(f)[5] ^ 1), False, "SHA-256 differs"),
    "a missing shard": (lambda f: (f / "shards/train-00000.ds").unlink(), False, "is missing"),
    "a missing index": (lambda f: (f / "shards/held_out-00000.ds.index").unlink(), False, "is missing"),
    "a shortened shard": (
        lambda f: (f / "shards/train-00000.ds").write_bytes((f / "shards/train-00000.ds").read_bytes()[:-2]),
        False,
        "bytes, the manifest says",
    ),
    "a changed sidecar": (
        lambda f: (f / "shards/train-00000.docs.jsonl.zst").write_bytes(b""),
        False,
        "SHA-256 differs",
    ),
    "an end that is not one": (
        lambda f: tokens(f).__setitem__(-1, 99),
        True,
        "does not end in the end-of-document",
    ),
    "an end inside a document": (lambda f: tokens(f).__setitem__(3, 0), True, "appears inside a document"),
    "an id too large": (lambda f: tokens(f).__setitem__(3, 60_000), True, "the vocabulary has"),
    "ends out of order": (
        lambda f: (f / "shards/train-00000.ds.index").write_bytes(
            np.fromfile(f / "shards/train-00000.ds.index", "<u8")[::-1].tobytes()
        ),
        True,
        "does not divide",
    ),
    "an empty sidecar": (
        lambda f: (f / "shards/train-00000.docs.jsonl.zst").write_bytes(b"x"),
        True,
        "damaged",
    ),
    "a wrong total": (
        lambda f: edit(f, lambda c: c["splits"]["train"].__setitem__("tokens", 7)),
        False,
        "counts 7 tokens",
    ),
    "a wrong type": (
        lambda f: edit(f, lambda c: c.__setitem__("dtype", "uint32")),
        False,
        "does not fit the vocabulary",
    ),
    "a lost document": (
        lambda f: edit(f, lambda c: c["funnel"].__setitem__("read", 31)),
        False,
        "31 documents were read, 30",
    ),
    "another format": (lambda f: edit(f, lambda c: c.__setitem__("format", 9)), False, "has format 9"),
    "half a manifest": (lambda f: (f / "manifest.json").write_text('{"format": 1,'), False, "is damaged"),
    "an unknown key": (lambda f: edit(f, lambda c: c.__setitem__("more", 1)), False, "is damaged"),
    "another funnel": (
        lambda f: rewrite(f / "funnel.json", "{}"),
        False,
        "does not say what the manifest says",
    ),
    "no funnel": (lambda f: (f / "funnel.json").unlink(), False, "funnel.json is missing"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), False, "manifest.json is missing"),
    "a stray file": (
        lambda f: (f / "shards/extra.ds").write_bytes(b""),
        False,
        "was not there when its folder was finished",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_is_broken_is_found(folder, what):
    damage, hash_again, message = BREAKS[what]
    damage(folder)
    if hash_again:
        rehash(folder)
    found = verify(folder)
    assert any(message in problem.what for problem in found), found
    assert {p.severity for p in found} == ({"warning"} if what == "a stray file" else {"error"}) and all(
        p.hints for p in found
    )


def test_the_tokenizer_must_be_the_one_that_made_the_shards(folder):
    (path,) = folder.parent.parent.glob("tokenizers/*/tokenizer.json")
    text = path.read_text()
    path.write_text(text.replace("fim_prefix", "fim_prefix2"))
    assert "not the tokenizer that made" in verify(folder)[0].what
    shutil.rmtree(path.parent)
    assert "not in the store" in verify(folder)[0].what


def test_manifests_read_back_what_was_written(folder):
    manifest = Manifest.load(folder)
    manifest.save(folder)
    assert (
        Manifest.load(folder / "manifest.json") == manifest
        and manifest.shards("nothing") == ()
        and manifest.tokens("nothing") == 0
    )
    assert manifest.documents("train") + manifest.documents("held_out") == 30


def stand_in(store, kind, name, fingerprint, **content):
    """A finished folder of a kind that takes long to make."""

    def fill(work):
        write_json(work / ("lineage.json" if kind == "stages" else "results.json"), content)
        write_text(work / "checkpoints" / "7" / "weights", "0123456789")

    store.make(store.path(kind, name, fingerprint), fill)


@pytest.fixture
def whole(folder):
    """A store with something of each kind: web's data, a stage on it, its scores, a report;
    and one stage on other data.
    """
    store = Store(folder.parent.parent)
    stand_in(
        store, "stages", "main", "a" * 64, sources={"web": {"fingerprint": Manifest.load(folder).fingerprint}}
    )
    stand_in(store, "evals", "main", "b" * 64, stage_fingerprint="a" * 64)
    stand_in(store, "reports", "mine", "c" * 64, stages=[{"fingerprint": "a" * 64}])
    stand_in(store, "stages", "other", "d" * 64, sources={"code": {"fingerprint": "e" * 64}})
    for kind, name in (("dedup", "f" * 12), ("classifiers", "1" * 12), ("scores", f"web-1-{'2' * 12}")):
        stand_in(store, kind, name, "")
    return store


def test_every_byte_of_what_is_finished_is_checked(whole):
    folders = finished(whole.root)
    assert {f.parent.name for f in folders} == set(KINDS)
    assert verifying.verify(folders).problems == () and verifying.verify(folders).unlisted == ()
    for folder in folders:
        for name in digests.files(folder):
            path = folder / name
            before = path.read_bytes()
            path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]) if before else b"x")
            told = [p for p in verifying.verify(folders).problems if str(path) in p.what]
            assert told and all(p.severity == "error" and p.hints for p in told), path
            path.unlink()
            assert any(str(path) in p.what for p in verifying.verify(folders).problems), path
            path.write_bytes(before)
    assert verifying.verify(folders).problems == ()


def test_what_belongs_together_is_found_from_any_end(whole, folder):
    stage = {f for f in finished(whole.root) if f.name.startswith(("other", "f", "1" * 12, "web-1-2"))}
    for start in (Manifest.load(folder).fingerprint, "a" * 64):
        assert set(related(whole.root, [start])) == set(finished(whole.root)) - stage
    assert [f.name for f in related(whole.root, ["d" * 64])] == ["other-" + "d" * 12]


def test_what_was_finished_without_digests_is_named(whole):
    folder = whole.path("stages", "main", "a" * 64)
    (folder / digests.NAME).unlink()
    done = verifying.verify(finished(whole.root))
    assert done.problems == () and done.unlisted == ("stages/main-" + "a" * 12,)
    (folder / digests.NAME).write_text("nonsense\n")
    (problem,) = [p for p in verifying.verify([folder]).problems if p.severity == "error"]
    assert "is damaged in line 1" in problem.what


def test_with_a_lock_and_without_inputs_it_is_said_what_was_checked_and_what_was_absent(tmp_path, capsys):
    from codemix.cli import data as commands
    from codemix.cli import lock as locks
    from codemix.cli import verify as checks

    write_jsonl(tmp_path / "web.jsonl", [words(i, 20 + i) for i in range(30)])
    path, store = tmp_path / "made.yaml", tmp_path / "store"
    path.write_text(dump(recipe({"web": "web.jsonl"}).model_dump(mode="json", by_alias=True)))
    commands.build_data(path, store, tmp_path)
    locks.lock([path], store, tmp_path)
    (tmp_path / "web.jsonl").unlink()
    capsys.readouterr()
    assert checks.verify(path, store, tmp_path) == 0
    said = capsys.readouterr()
    assert "3 outputs checked (documents 1, tokenizers 1, data 1), 0 problems" in said.out
    assert "note: `web` was looked up by what the store says of its inputs: they are not here" in said.err
    (shard,) = store.glob("documents/*/docs/*")
    shard.write_bytes(b"x")
    assert checks.verify(path, store, tmp_path) == 1 and str(shard) in capsys.readouterr().err
    assert checks.verify(None, store, tmp_path) == 1 and str(shard) in capsys.readouterr().err
