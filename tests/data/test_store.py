"""The store: whole or absent, one builder at a time, errors in the user's words."""

import errno
import os
import subprocess
import sys

import pytest

from codemix.data.store import digests
from codemix.data.store import store as store_module
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.stages import is_done
from codemix.data.store.store import Store, read_json, write_json, write_text
from codemix.errors import CodemixError
from codemix.eval.task_shapes.example_files import records
from codemix.train.run.metrics import read_metrics


def not_called(work):
    raise AssertionError(work)


def with_two_files(work):
    write_json(work / "results.json", {"a": 1})
    write_text(work / "examples" / "x.jsonl", "1\n")


def test_what_is_built_appears_whole(tmp_path):
    store = Store(tmp_path)
    final = store.path("data", "web", "f" * 64)
    assert final == tmp_path / "data" / ("web-" + "f" * 12)

    def fill(work):
        (work / "a").write_text("1")
        assert not final.exists() and work == store.work(final)

    store.make(final, fill)
    assert (final / "a").read_text() == "1" and not store.work(final).exists()
    store.make(final, not_called)


def test_partial_work_stays_for_the_next_try(tmp_path):
    store = Store(tmp_path)
    final = store.path("data", "web")

    def fail(work):
        (work / "a").write_text("1")
        raise RuntimeError

    def resume(work):
        assert (work / "a").read_text() == "1"

    with pytest.raises(RuntimeError):
        store.make(final, fail)
    assert not final.exists()
    store.make(final, resume)
    other = store.path("data", "other")
    with pytest.raises(RuntimeError):
        store.make(other, fail, keep=False)
    assert not store.work(other).exists()


def test_files_that_a_killed_process_left_aside_are_not_published(tmp_path):
    store = Store(tmp_path)

    def fill(work):
        write_json(work / "deep" / "manifest.json", {})
        (work / "deep" / ".manifest.json.123.tmp").write_text("half")

    store.make(store.path("data", "web"), fill)
    assert digests.files(store.path("data", "web")) == ["deep/manifest.json"]


def test_one_builder_at_a_time(tmp_path):
    store = Store(tmp_path)
    final = store.path("data", "web")
    with (
        store.begin(final),
        pytest.raises(CodemixError, match=f"process {os.getpid()} is building web") as error,
    ):
        Store(tmp_path).make(final, not_called)
    assert error.value.problems[0].rule == "store-busy"


def test_json_is_read_back_and_damage_told(tmp_path):
    write_json(tmp_path / "deep/er/x.json", {"b": 1, "a": "é"})
    assert read_json(tmp_path / "deep/er/x.json") == {"a": "é", "b": 1} and [
        p.name for p in (tmp_path / "deep/er").iterdir()
    ] == ["x.json"]
    for bad in (b"{", b"\xff\xfe"):
        (tmp_path / "bad.json").write_bytes(bad)
        with pytest.raises(CodemixError, match=r"bad\.json is damaged"):
            read_json(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, "cannot write"),
        (errno.EIO, "cannot write"),
    ],
)
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, number, message):
    write_text(tmp_path / "x", "old")

    def fail(fd):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store_module.os, "fsync", fail)
    with pytest.raises(CodemixError, match=message):
        write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    with pytest.raises(CodemixError, match="cannot write"):
        store.make(store.path("data", "x"), not_called)


FASTER = """
import sys
from pathlib import Path
from codemix.data.store.store import Store
store = Store(sys.argv[1])
store.make(store.root / sys.argv[2], lambda work: (work / "manifest.json").write_text("the faster process"))
"""


@pytest.mark.parametrize("begin", ["make", "begin", "begin_here"])
def test_what_another_process_finishes_before_we_have_the_lock_is_not_made_again(
    tmp_path, monkeypatch, begin
):
    store = Store(tmp_path)
    final = store.path("dedup", "x")
    flock = store_module.fcntl.flock

    def after_the_other(handle, how):  # it has looked, in vain, and opened the lock
        command = [sys.executable, "-c", FASTER, str(tmp_path), "dedup/x"]
        subprocess.run(command, check=True)
        flock(handle, how)

    monkeypatch.setattr(store_module.fcntl, "flock", after_the_other)
    if begin == "make":
        store.make(final, not_called)
    else:
        with getattr(store, begin)(final) as work:
            assert work is None
    assert (final / "manifest.json").read_text() == "the faster process"


def test_what_appears_in_its_place_meanwhile_is_kept_if_it_is_whole(tmp_path):
    store = Store(tmp_path)
    final = store.path("dedup", "x")

    def fill(work):
        (work / "manifest.json").write_text("second")
        final.mkdir(parents=True, exist_ok=True)
        (final / name).write_text("first")

    name = "manifest.json"
    store.make(final, fill)
    assert (final / name).read_text() == "first" and not store.work(final).exists()
    (final / name).unlink()
    final.rmdir()
    name = "other"
    with pytest.raises(CodemixError, match=r"in the way: it is not whole, it has no manifest\.json"):
        store.make(final, fill)


def test_a_folder_in_the_place_of_a_file_and_deep_nesting_are_damage(tmp_path):
    (tmp_path / "manifest.json").mkdir()
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "rows.jsonl.zst").mkdir()
    for read in (
        lambda: read_json(tmp_path / "manifest.json"),
        lambda: read_json(tmp_path / "deep.json"),
        lambda: list(read_lines(tmp_path / "rows.jsonl.zst")),
    ):
        with pytest.raises(CodemixError, match="is damaged") as caught:
            read()
        assert caught.value.problems[0].rule == "store-damaged"


def test_a_source_that_cannot_be_read_is_the_only_one_that_is_blamed(tmp_path):
    from support.small_recipes import recipe

    from codemix.data.build.inventory import take_inventory

    (tmp_path / "a.jsonl").write_text('{"text": "some words of text"}\n')
    made = recipe(
        {
            "fine": {"read": {"kind": "jsonl", "paths": "a.jsonl"}},
            "gone": {"read": {"kind": "jsonl", "paths": "b.jsonl"}},
            "reader": {"read": {"kind": "source", "name": "gone"}},
        }
    )
    reasons = {name: f.reason for name, f in take_inventory(made, Store(tmp_path / "s"), tmp_path).items()}
    assert "there is no file b.jsonl" in reasons["gone"]
    assert reasons["reader"] == "waits for `gone`, which cannot be read"
    assert "b.jsonl" not in reasons["fine"] and reasons["fine"] in ("not built yet", reasons["reader"])


def test_every_missing_input_is_told_at_once(tmp_path):
    from support.small_recipes import recipe

    from codemix.data.build.build import build

    made = recipe({"a": "a.jsonl", "b": "b.jsonl"})
    with pytest.raises(CodemixError) as caught:
        build(made, Store(tmp_path / "s"), data_root=tmp_path)
    assert [p.what.split(" under ")[0] for p in caught.value.problems] == [
        "there is no file a.jsonl",
        "there is no file b.jsonl",
    ]


def test_what_is_finished_has_a_digest_of_each_file(tmp_path):
    store = Store(tmp_path)
    final = store.path("evals", "main", "e" * 64)
    store.make(final, with_two_files)
    assert sorted(digests.read(final)) == ["examples/x.jsonl", "results.json"]
    ran = subprocess.run(
        ["sha256sum", "-c", "--strict", digests.NAME], cwd=final, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("lost", ["results.json", "examples/x.jsonl"])
def test_a_finished_folder_that_lost_a_file_is_told_before_work_starts(tmp_path, lost):
    store = Store(tmp_path)
    final = store.path("evals", "main", "e" * 64)
    store.make(final, with_two_files)
    (final / lost).unlink()
    with pytest.raises(CodemixError, match=f"in the way: it is not whole, it has no {lost}") as error:
        store.make(final, not_called)
    assert f"delete {final}" in error.value.problems[0].hints[0]


@pytest.mark.parametrize(
    "name, read",
    [
        ("results.json", read_json),
        ("documents.jsonl", records),
        ("metrics.jsonl", read_metrics),
        ("parts/deep/results.json", read_json),
    ],
)
def test_what_changed_since_it_was_finished_is_not_read_however_readable(tmp_path, name, read):
    folder = tmp_path / "evals" / "init-1"
    file = folder / name
    file.parent.mkdir(parents=True)
    file.write_text('{"step": 3, "bits": 1.25}\n')
    (folder / digests.NAME).write_text(digests.listing(folder, {}))
    assert read(file)
    file.write_text('{"step": 3, "bits": 1.35}\n')
    with pytest.raises(CodemixError, match="is damaged: its digest is not that") as caught:
        read(file)
    assert caught.value.problems[0].rule == "store-damaged"
    (folder / digests.NAME).write_text("")  # nobody wrote its digest down
    assert read(file)


@pytest.mark.parametrize("lost", ["done.json", "ledger.json", "metrics.jsonl", "checkpoints/1/model"])
@pytest.mark.parametrize("instead", ["nothing", "a folder"])
def test_a_stage_that_lost_a_file_is_neither_done_nor_still_to_train(tmp_path, lost, instead):
    folder = tmp_path / "stages" / "init-1"
    for name in ("done.json", "ledger.json", "metrics.jsonl", "checkpoints/1/model"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (folder / digests.NAME).write_text(digests.listing(folder, {}))
    assert is_done(folder)
    (folder / lost).unlink()
    if instead == "a folder":
        (folder / lost).mkdir()
    with pytest.raises(CodemixError, match=f"is in the way: it is not whole, it has no {lost}"):
        is_done(folder)


@pytest.mark.parametrize("root, current", [("store\udcff", "."), ("store", "here\udcff")])
def test_a_store_whose_path_is_no_text_is_refused_before_any_work(tmp_path, monkeypatch, root, current):
    (tmp_path / current).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / current)
    with pytest.raises(CodemixError, match=r"not UTF-8: .*\\udcff") as caught:
        Store(root)
    assert caught.value.problems[0].rule == "store-path"
    Store(tmp_path / "süß \n")
