"""From a recipe to shards: what is built, what is built again, and that nothing else changes a byte."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from support.small_recipes import recipe, tree, words, write_jsonl
from tokenizers import Tokenizer

from codemix.data.build import documents as documents_module
from codemix.data.build import documents_job
from codemix.data.build.build import build
from codemix.data.build.inventory import take_inventory
from codemix.data.encoding.tokenizer import content_hash
from codemix.data.review.inspect import inspect
from codemix.data.review.verify import verify
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.errors import CodemixError


@pytest.fixture
def root(tmp_path):
    write_jsonl(
        tmp_path / "web.jsonl", [{"text": words(i, 20 + i), "id": f"w{i}", "lang": "en"} for i in range(40)]
    )
    write_jsonl(
        tmp_path / "code.jsonl", [words(1000 + i, 30) for i in range(30)] + ["", words(1000, 30), "x"]
    )
    return tmp_path


def two(**more):
    sources = {
        "web": {
            "read": {"kind": "jsonl", "paths": "web.jsonl", "id": "id", "metadata": {"language": "lang"}},
            "held_out": "20%",
        },
        "code": {"read": {"kind": "jsonl", "paths": "code.jsonl"}, "ops": [{"kind": "size", "min_bytes": 2}]},
    }
    return recipe(sources, dedup=[{"kind": "exact", "sources": ["web", "code"]}], **more)


def texts_of(manifest: Manifest, store: Store, split: str) -> dict[str, str]:
    """Document id -> text, read back from the shards."""
    (path,) = [
        p
        for p in store.root.glob("tokenizers/*/tokenizer.json")
        if content_hash(p) == manifest.tokenizer["sha256"]
    ]
    tokenizer, out = Tokenizer.from_file(str(path)), {}
    for shard in manifest.shards(split):
        ids = np.fromfile(manifest.folder / shard.path, "<u2" if manifest.dtype == "uint16" else "<u4")
        ends = np.fromfile(manifest.folder / f"{shard.path}.index", "<u8").astype(int)
        for row, a, b in zip(read_lines(manifest.folder / shard.docs), [0, *ends[:-1]], ends, strict=True):
            assert ids[b - 1] == manifest.tokenizer["eos_id"]
            out[row["id"]] = tokenizer.decode(ids[a : b - 1].tolist(), skip_special_tokens=False)
            assert row["bytes"] == len(out[row["id"]].encode())
    return out


def test_every_document_is_in_the_shards_or_accounted_for(root):
    store, r = Store(root / "store"), two()
    assert all(f.manifest is None and f.fingerprint for f in take_inventory(r, store, root).values())
    built = build(r, store, data_root=root)
    web, code = built["web"], built["code"]
    assert (
        web.funnel["read"] == 40
        and web.funnel["kept"] == 40
        and web.funnel["languages"] == {"en": {"kept": 40, "read": 40}}
    )
    assert code.funnel["dropped"] == {"00-read/empty": 1, "01-size/too_small": 1, "dedup1-exact/duplicate": 1}
    assert code.funnel["read"] == 33 == code.funnel["kept"] + sum(code.funnel["dropped"].values())
    train, held = texts_of(web, store, "train"), texts_of(web, store, "held_out")
    assert (
        train | held == {f"w{i}": words(i, 20 + i) for i in range(40)}
        and held
        and not train.keys() & held.keys()
    )
    assert texts_of(code, store, "train") == {f"code.jsonl#{i}": words(1000 + i, 30) for i in range(30)}
    for name, found in take_inventory(r, store, root).items():
        assert found.manifest == built[name] and found.fingerprint == built[name].fingerprint
        assert not verify([built[name].folder]).problems
    assert not [p for p in (store.root / ".building").rglob("*") if p.is_file() and p.suffix != ".lock"]


@pytest.mark.parametrize(
    ("read", "remote"),
    [
        ({"kind": "synthetic_python", "generate": 3}, False),
        ({"kind": "python_stdlib"}, False),
        ({"kind": "jsonl", "paths": "web.jsonl"}, False),
        ({"kind": "huggingface", "dataset": "owner/name"}, True),
        ({"kind": "parquet", "paths": ["web.parquet", "s3://bucket/*.parquet"]}, True),
    ],
)
def test_what_is_not_built_is_looked_up_without_a_network(root, monkeypatch, read, remote):
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda uri: pytest.fail("it asked the network"))
    found = take_inventory(recipe({"a": {"read": read}}), Store(root / "store"), root)["a"]
    assert found.reason == "not built yet" and (found.fingerprint is None) == remote


def test_a_second_build_does_nothing(root, monkeypatch):
    store, r = Store(root / "store"), two()
    first = build(r, store, data_root=root)
    before = tree(store)
    monkeypatch.setattr("codemix.data.execution.jobs.run_tasks", lambda *a, **k: pytest.fail("work was done"))
    assert build(r, store, data_root=root, workers=3) == first and tree(store) == before


def test_an_input_that_changes_under_a_build_is_told_also_when_it_keeps_its_size(root, monkeypatch):
    read, text, store = (
        documents_module.DocumentsTask.run,
        (root / "web.jsonl").read_text(),
        Store(root / "store"),
    )

    def changing(task):
        (root / "web.jsonl").write_text(text.replace("shard", "drahs"))
        read(task)

    monkeypatch.setattr(documents_module.DocumentsTask, "run", changing)
    with pytest.raises(CodemixError, match=r"web\.jsonl changed while it was in use"):
        build(recipe({"web": "web.jsonl"}), store, data_root=root)
    monkeypatch.undo()
    (root / "web.jsonl").write_text(text)  # nothing of the other content is left
    build(recipe({"web": "web.jsonl"}), store, data_root=root)
    build(recipe({"web": "web.jsonl"}), Store(root / "straight"), data_root=root)
    assert tree(store) == tree(Store(root / "straight"))


@pytest.mark.parametrize(
    ("file", "redone"),
    [
        ("documents/code-*/docs/*", ("data",)),
        ("documents/code-*/docs/*", ("data", "dedup")),
        ("tokenizers/*/meta.json", ("data",)),
        ("documents/web-*/manifest.json", ("data",)),
    ],
)
def test_a_file_that_is_gone_from_the_store_is_told(root, file, redone):
    store, r = Store(root / "store"), two()
    build(r, store, data_root=root)
    for kind in redone:
        shutil.rmtree(store.root / kind)
    next(store.root.glob(file)).unlink()
    with pytest.raises(CodemixError, match="is missing|is not whole, it has no meta.json") as caught:
        build(r, store, data_root=root)
    for problem in caught.value.problems:
        assert problem.rule == "store-damaged" and problem.hints[0].startswith("delete ")


def test_a_changed_op_rebuilds_its_source_only(root):
    store, r = (
        Store(root / "store"),
        recipe(
            {"web": "web.jsonl", "code": "code.jsonl"},
            tokenizer={"kind": "bpe", "vocab_size": 400, "train": {"mixture": {"web": "100%"}}},
        ),
    )
    first = build(r, store, data_root=root)
    sources = dict(r.sources) | {
        "code": r.sources["code"].model_copy(update={"ops": two().sources["code"].ops})
    }
    second = build(r.model_copy(update={"sources": sources}), store, data_root=root)
    assert second["web"] == first["web"] and second["code"].fingerprint != first["code"].fingerprint
    assert second["code"].funnel["kept"] == first["code"].funnel["kept"] - 1
    assert (
        len(list(store.root.glob("documents/web-*"))) == 1
        and len(list(store.root.glob("documents/code-*"))) == 2
    )
    assert len(list(store.root.glob("tokenizers/*"))) == 1


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ({"notes": "hello"}, set()),
        ({"tags": {"kind": "x"}}, set()),
        ({"max_epochs": 3}, set()),
        ({"tokens": 10**6}, set()),
        ({"on_cap": "redistribute"}, set()),
        ({"held_out": "3%"}, {"tokens"}),
        ({"on_bad": "skip"}, {"documents", "tokens"}),
        ({"ops": [{"kind": "normalize_text"}]}, {"documents", "tokens"}),
        ({"read": {"kind": "jsonl", "paths": "web.jsonl", "id": "id"}}, {"documents", "tokens"}),
    ],
)
def test_what_moves_a_fingerprint(root, change, moves):
    from codemix.data.build.identity import identify

    store = Store(root / "store")
    plain = {"read": {"kind": "jsonl", "paths": "web.jsonl"}}
    tokenizer = {"kind": "tokenizer_json", "path": "web.jsonl"}  # only its hash matters here
    a, b = (
        identify(recipe({"web": source}, tokenizer=tokenizer), store, root)
        for source in (plain, plain | change)
    )
    moved = {
        kind
        for kind in ("documents", "tokens")
        if getattr(a, kind)["web"].fingerprint != getattr(b, kind)["web"].fingerprint
    }
    assert moved == moves and a.tokenizer == b.tokenizer


def test_an_input_edited_in_place_with_the_same_size_is_built_again(root):
    store, r = Store(root / "store"), recipe({"web": "web.jsonl"})
    first = build(r, store, data_root=root)["web"]
    path = root / "web.jsonl"
    os.utime(path, ns=(10**18, 10**18))
    assert take_inventory(r, store, root)["web"].fingerprint == first.fingerprint
    path.write_text(path.read_text().replace("river", "RIVER"))
    found = take_inventory(r, store, root)["web"]
    assert found.fingerprint != first.fingerprint and found.manifest is None
    assert any(
        "RIVER" in text for text in texts_of(build(r, store, data_root=root)["web"], store, "train").values()
    )


def test_any_number_of_workers_writes_the_same_bytes(root, monkeypatch):
    monkeypatch.setattr("codemix.data.execution.runner.IN_PROCESS_BYTES", 0)
    write_jsonl(root / "web2.jsonl", [words(5000 + i, 60) for i in range(60)])
    trees = []
    for workers in (1, 2, 4):
        store = Store(root / f"store{workers}")
        r = two().model_copy(
            update={"sources": dict(two().sources) | {"more": recipe({"m": "web2.jsonl"}).sources["m"]}}
        )
        build(r, store, data_root=root, workers=workers)
        trees.append(tree(store))
    assert trees[0] == trees[1] == trees[2] and len(trees[0]) > 20


def test_many_tasks_hold_the_documents_of_one(root, monkeypatch):
    """The division into tasks is part of the layout, never of the content."""
    one = build(two(), Store(root / "one"), data_root=root)
    monkeypatch.setattr(documents_job, "MIN_TASK_BYTES", 500)
    monkeypatch.setattr(documents_job, "MIN_FILE_BYTES", 300)
    monkeypatch.setattr("codemix.data.build.tokens_job.MIN_TASK_BYTES", 900)
    many_store = Store(root / "many")
    many = build(two(), many_store, data_root=root)
    assert len(many["web"].shards("train")) > 3 and len(one["web"].shards("train")) == 1
    for name in one:
        assert many[name].funnel == one[name].funnel and many[name].fingerprint == one[name].fingerprint
        for split in ("train", "held_out"):
            assert texts_of(many[name], many_store, split) == texts_of(one[name], Store(root / "one"), split)
            assert many[name].tokens(split) == one[name].tokens(split)
        assert not verify([many[name].folder]).problems


def test_only_builds_what_it_needs(root):
    store = Store(root / "store")
    r = recipe(
        {"web": "web.jsonl", "code": "code.jsonl"},
        tokenizer={"kind": "bpe", "vocab_size": 400, "train": {"bytes": 20_000, "mixture": {"web": "100%"}}},
    )
    assert list(build(r, store, data_root=root, only=["web"])) == ["web"]
    assert not list(store.root.glob("*/code-*"))
    with pytest.raises(CodemixError, match="no source `wbe`") as error:
        build(r, store, data_root=root, only=["wbe"])
    assert "did you mean `web`" in str(error.value)


def test_missing_inputs_are_a_reason_to_find_and_a_problem_to_build(root):
    store, r = (
        Store(root / "store"),
        recipe(
            {"web": "web.jsonl", "gone": "no/such*.jsonl"},
            tokenizer={"kind": "tokenizer_json", "path": "nowhere.json"},
        ),
    )
    found = take_inventory(r, store, root)["gone"]
    assert found.fingerprint is None and "no/such" in found.reason
    with pytest.raises(CodemixError, match="no/such"):
        build(r, store, data_root=root, only=["gone"])
    with pytest.raises(CodemixError, match=r"nowhere\.json"):
        build(r, store, data_root=root, only=["web"])


def test_bad_documents_stop_the_build_or_are_counted(root):
    with open(root / "web.jsonl", "ab") as file:
        file.write(b'{"text": "half\n{"text": "\xff"}\n{"other": 1}\n')
    strict = recipe({"web": "web.jsonl"})
    with pytest.raises(
        CodemixError, match=r"documents of web, part 0: a document cannot be read: web\.jsonl, row 41"
    ):
        build(strict, Store(root / "store"), data_root=root)
    skipping = {"read": {"kind": "jsonl", "paths": "web.jsonl"}, "on_bad": "skip"}
    with pytest.raises(CodemixError, match=r"3 of 43 documents are unreadable .* bad_json") as error:
        build(recipe({"web": skipping}), Store(root / "store"), data_root=root)
    assert "max_bad" in str(
        error.value
    ) and "for example web.jsonl, row 41: unexpected control character" in str(error.value)
    manifest = build(recipe({"web": skipping | {"max_bad": "10%"}}), Store(root / "store"), data_root=root)[
        "web"
    ]
    assert (
        manifest.funnel["unreadable"] == 3 and manifest.funnel["kept"] == 40 and manifest.funnel["read"] == 43
    )
    assert manifest.funnel["unreadable_by_reason"] == {"bad_json": 1, "bad_utf8": 1, "missing_text": 1}
    r, store = recipe({"web": skipping | {"max_bad": "10%"}}), Store(root / "store")
    listed = inspect(r, store, take_inventory(r, store, root))["web"]["dropped"]
    assert {key: [row["id"] for row in rows] for key, rows in listed.items()} == {
        "unreadable/bad_json": ["web.jsonl, row 41"],
        "unreadable/bad_utf8": ["web.jsonl, row 42"],
        "unreadable/missing_text": ["web.jsonl, row 43"],
    }
    assert "fields here: other" in listed["unreadable/missing_text"][0]["text"]
    (root / "web.jsonl").write_text("no JSON at all\n")
    with pytest.raises(CodemixError, match=r"raise it to 100\.000%"):
        build(recipe({"web": skipping}), Store(root / "store"), data_root=root)


def test_a_source_of_which_nothing_is_left_has_no_shards(root):
    empty = {"read": {"kind": "jsonl", "paths": "code.jsonl"}, "ops": [{"kind": "size", "min_bytes": 10**6}]}
    r = recipe(
        {"web": "web.jsonl", "none": empty},
        tokenizer={"kind": "bpe", "vocab_size": 400, "train": {"mixture": {"web": "100%"}}},
    )
    store = Store(root / "store")
    for _ in range(2):  # said again by whoever asks again
        with pytest.raises(
            CodemixError,
            match=r"source `none`: none of its 33 documents is left \(01-size/too_small 32, 00-read/empty 1\)",
        ) as error:
            build(r, store, data_root=root)
        assert error.value.problems[0].rule == "nothing-left"
    manifest = take_inventory(r, store, root)["none"].manifest  # what was dropped can be looked at
    assert (
        manifest.tokens("train") == 0
        and manifest.shards("train") == ()
        and manifest.splits["train"]["shards"] == []
    )
    assert not list((manifest.folder / "shards").iterdir()) and not verify([manifest.folder]).problems


def test_a_prose_op_is_refused_on_code(root):
    source = {
        "read": {"kind": "jsonl", "paths": "code.jsonl"},
        "ops": [{"kind": "gopher_quality"}],
        "tags": {"kind": "code"},
    }
    pytest.importorskip("codemix.data.ops.gopher_quality")
    with pytest.raises(CodemixError, match="made for prose"):
        build(recipe({"code": source}), Store(root / "store"), data_root=root)


def test_find_imports_nothing_heavy(root):
    write_jsonl(root / "r.json", [])
    (root / "r.json").write_text(two().model_dump_json(by_alias=True))
    code = (
        "import sys, json; from pathlib import Path; from codemix.recipe.language.schema import Recipe; from codemix.data.build.inventory import take_inventory as find; from codemix.data.store.store import Store;"
        "r = Recipe.model_validate(json.loads(Path('r.json').read_text())); print(sorted(find(r, Store('store'), Path('.'))));"
        "print([m for m in ('numpy', 'datatrove', 'tokenizers', 'fastokens', 'zstandard', 'orjson', 'jax', 'rich') if m in sys.modules])"
    )
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=os.environ | {"PYTHONPATH": here},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["['code', 'web']", "[]"], done.stderr


def test_a_build_without_ops_imports_no_peer_and_no_client_of_a_hub(root):
    """They would be half the start of a small build."""
    (root / "r.json").write_text(two().model_dump_json(by_alias=True))
    code = (
        "import sys, json; from pathlib import Path; from codemix.data.build.build import build;"
        "from codemix.data.store.store import Store; from codemix.recipe.language.schema import Recipe;"
        "r = Recipe.model_validate(json.loads(Path('r.json').read_text()));"
        "build(r, Store('store'), data_root=Path('.'), only=['code']);"
        "peers = ('datatrove', 'huggingface_hub', 'fsspec', 'pyarrow', 'asyncio');"
        "print([name for name in peers if name in sys.modules])"
    )
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = os.environ | {"PYTHONPATH": here}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr


def test_two_processes_on_one_store(root):
    store, r = Store(root / "store"), two()
    from codemix.data.build.identity import identify

    fingerprint = identify(r, store, root).documents["web"].fingerprint
    code = "import sys, time; from pathlib import Path; from codemix.data.store.store import Store\ns = Store(sys.argv[1])\nwith s.begin(Path(sys.argv[2])):\n    print('held', flush=True); time.sleep(60)"
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    held = store.path("documents", "web", fingerprint)
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(store.root), str(held)],
        env=os.environ | {"PYTHONPATH": here},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CodemixError, match=f"process {other.pid} is building") as error:
            build(r, store, data_root=root)
        assert error.value.problems[0].rule == "store-busy"
    finally:
        other.kill()
        other.wait()
    assert build(r, store, data_root=root)["web"].tokens("train")


def test_a_full_disk_is_told_and_the_build_goes_on_afterwards(root, monkeypatch):
    import errno

    store, r, real = Store(root / "store"), two(), os.fsync
    calls = iter(range(1000))

    def full(fd):
        if next(calls) >= 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CodemixError, match="the disk is full") as error:
        build(r, store, data_root=root)
    assert error.value.problems[0].rule == "disk-full" and not list(store.root.glob("d*/*"))
    monkeypatch.setattr(os, "fsync", real)
    again = build(r, store, data_root=root)
    straight = Store(root / "straight")
    build(r, straight, data_root=root)
    assert tree(store) == tree(straight) and not verify([again["web"].folder]).problems


def test_manifests_say_where_everything_came_from(root):
    manifest = build(two(), Store(root / "store"), data_root=root)["web"]
    on_disk = json.loads((manifest.folder / "manifest.json").read_text())
    assert on_disk["inputs"][0]["path"] == "web.jsonl" and len(on_disk["inputs"][0]["sha256"]) == 64
    assert on_disk["tokenizer"]["probe"] and on_disk["environment"]["datatrove"] and on_disk["format"] == 1
    assert on_disk["splits"]["train"]["tokens"] == sum(
        s["tokens"] for s in on_disk["splits"]["train"]["shards"]
    )
    assert Manifest.load(manifest.folder) == manifest
