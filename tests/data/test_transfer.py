"""Finished outputs between stores: pushed, pulled and removed by recipe; over a folder, S3 and GCS."""

import errno
import itertools
import json
import shutil
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
from support import buckets
from support.built_run import built_run

import codemix
from codemix import environment
from codemix.cli.app import run as command
from codemix.data.remote import bucket as requests
from codemix.data.remote import pieces, places
from codemix.data.store import copying
from codemix.data.store.store import Store

NUMBERS = itertools.count()


@pytest.fixture(scope="module", params=["folder", "s3", "gs"])
def server(request):
    started = nullcontext(None) if request.param == "folder" else buckets.bucket_server(request.param)
    with started as found:
        yield found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recipe whose data is built and whose first stage is trained; its folder is not to be changed."""
    run = built_run(tmp_path_factory.mktemp("built"), batch_size="2")
    run.train()
    return run


@pytest.fixture
def place(server, tmp_path, monkeypatch):
    """An empty place, as `--to` takes it."""
    monkeypatch.setenv("CODEMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(pieces, "PIECE", 20_000)
    return f"{server[0]}/transferred/{next(NUMBERS)}" if server else str(tmp_path / "place")


def files(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
    }


def ask(capsys, *words):
    """The exit code of a command, and what it said."""
    code = command([*map(str, words), "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out)


def recipe_of(run):
    return run.recipe_file.document.file


def push(capsys, run, place):
    return ask(
        capsys, "push", recipe_of(run), "--to", place, "--store", run.store.root, "--data-root", run.data_root
    )


def pull(capsys, run, place, store, *more):
    """Where nothing but the recipe is."""
    words = ["--from", place, "--store", store, "--data-root", store.parent / "nothing", *more]
    return ask(capsys, "pull", recipe_of(run), *words)


def test_there_and_back(trained, place, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    code, pushed = push(capsys, trained, place)
    kinds = {output.split("/")[0] for output in pushed["outputs"]}
    assert code == 0 and kinds == {"documents", "tokenizers", "data", "stages"}
    code, again = push(capsys, trained, place)
    assert code == 0 and not again["outputs"] and len(again["there"]) == len(pushed["outputs"])
    code, pulled = pull(capsys, trained, place, tmp_path / "store")
    assert code == 0 and pulled["outputs"] == pushed["outputs"]
    assert files(tmp_path / "store") == files(trained.store.root)
    assert pull(capsys, trained, place, tmp_path / "store")[1]["outputs"] == {}
    assert (
        command(
            ["verify", recipe_of(trained), "--store", str(tmp_path / "store"), "--data-root", str(tmp_path)]
        )
        == 0
    )


def test_only_what_a_stage_reads(trained, place, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    push(capsys, trained, place)
    _, pulled = pull(capsys, trained, place, tmp_path / "store", "--stage", "init")
    named = sorted(output.split("-")[0] for output in pulled["outputs"])
    assert named[:2] == ["data/code", "data/docs"] and len(named) == 3 and named[2].startswith("tokenizers/")
    _, pulled = pull(capsys, trained, place, tmp_path / "other", "--stage", "cooldown")
    named = sorted(output.split("-")[0] for output in pulled["outputs"])
    assert named[0] == "data/code" and named[1] == "stages/init" and len(named) == 3
    there = codemix.open(recipe_of(trained), store=tmp_path / "store", data_root=tmp_path)
    assert there.plan.stages[-1].fingerprint == trained.plan.stages[-1].fingerprint
    code, problems = pull(capsys, trained, place, tmp_path / "store", "--stage", "intro")
    assert code == 1 and problems["problems"][0]["rule"] == "unknown-stage"


def test_what_is_not_there(trained, place, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    code, said = pull(capsys, trained, place, tmp_path / "store")
    assert code == 1 and "has nothing of" in said["problems"][0]["what"]
    assert not (tmp_path / "store").exists()


def test_a_damaged_output_is_not_pushed(trained, place, tmp_path, capsys):
    store = tmp_path / "damaged"
    shutil.copytree(trained.store.root, store)
    [shard] = (store / "data").glob("code-*/shards/*train*.ds") or (store / "data").glob("code-*/**/*.ds")
    shard.write_bytes(bytes(shard.stat().st_size))
    words = ["--to", place, "--store", store, "--data-root", trained.data_root]
    code, said = ask(capsys, "push", recipe_of(trained), *words)
    assert code == 1 and f"{shard} has changed" in said["problems"][0]["what"]
    shard.unlink()
    code, said = ask(capsys, "push", recipe_of(trained), *words)
    assert code == 1 and "is not whole" in said["problems"][0]["what"]


def test_another_result_of_the_same_name_is_kept_and_told(trained, place, tmp_path, capsys):
    push(capsys, trained, place)
    store = tmp_path / "other"
    shutil.copytree(trained.store.root, store)
    [folder] = (store / "stages").glob("init-*")
    (folder / "metrics.jsonl").write_text("{}\n")
    (folder / "SHA256SUMS").unlink()
    code, said = ask(
        capsys, "push", recipe_of(trained), "--to", place, "--store", store, "--data-root", tmp_path
    )
    assert code == 0 and said["differing"] == [f"stages/{folder.name}"] and not said["outputs"]


def test_gc_removes_what_no_recipe_needs(trained, place, tmp_path, capsys):
    push(capsys, trained, place)
    text = Path(recipe_of(trained)).read_text()
    other = tmp_path / "other.yaml"
    other.write_text(text.replace("name: small", "name: other").replace("value: 1e-3", "value: 2e-3"))
    gc = ["gc", other, "--store", place, "--data-root", tmp_path]
    code, shown = ask(capsys, *gc)
    assert code == 0 and not shown["deleted"]
    assert sorted(name.split("-")[0] for name in shown["unneeded"]) == ["stages/cooldown", "stages/init"]
    assert (
        ask(capsys, "gc", recipe_of(trained), other, "--store", place, "--data-root", tmp_path)[1]["unneeded"]
        == {}
    )
    assert ask(capsys, *gc, "--delete")[1]["deleted"]
    assert ask(capsys, *gc)[1]["unneeded"] == {}
    (tmp_path / "nothing").mkdir()
    _, pulled = pull(capsys, trained, place, tmp_path / "store")
    assert {name.split("/")[0] for name in pulled["outputs"]} == {"documents", "tokenizers", "data"}


def test_gc_keeps_what_unfinished_data_rest_on(trained, place, tmp_path, capsys):
    _, pushed = push(capsys, trained, place)
    for output in pushed["outputs"]:
        if output.startswith("data/"):
            places.place_named(place).remove(output)
    gc = ["gc", recipe_of(trained), "--store", place, "--data-root", trained.data_root]
    unneeded = ask(capsys, *gc)[1]["unneeded"]
    assert {output.split("/")[0] for output in unneeded} == {
        "stages"
    }  # those of data whose size nobody knows now


def test_gc_deletes_nothing_while_a_build_works(trained, tmp_path, capsys):
    store = Store(tmp_path / "store")
    shutil.copytree(trained.store.root, store.root)
    gc = ["gc", recipe_of(trained), "--store", store.root, "--data-root", trained.data_root, "--delete"]
    with store.begin(store.path("data", "other", "0" * 64)):
        code, said = ask(capsys, *gc)
        assert code == 1 and "is building other-000000000000" in said["problems"][0]["what"]
    assert ask(capsys, *gc)[0] == 0


def test_gc_does_not_guess(trained, place, tmp_path, capsys):
    push(capsys, trained, place)
    other = tmp_path / "other.yaml"
    text = Path(recipe_of(trained)).read_text()
    other.write_text(text.replace("paths: docs.jsonl", "paths: gone.jsonl"))
    code, said = ask(capsys, "gc", other, "--store", place, "--data-root", tmp_path, "--delete")
    assert code == 1 and "cannot tell what" in said["problems"][0]["what"]
    assert command(["pull", str(other), "--from", place, "--store", str(tmp_path / "s")]) == 0
    assert f"note: cannot tell what {other} needs of `docs`: " in capsys.readouterr().err


def test_an_almost_address_is_no_folder(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = push(capsys, trained, "s3:/bucket/x")
    assert code == 1 and said["problems"][0]["rule"] == "bucket-address" and not list(tmp_path.iterdir())


@pytest.fixture
def bucket_place(place):
    if "://" not in place:
        pytest.skip("of buckets alone")
    return place


def at(run, place, tmp_path, name, *more):
    """A command over a store in a bucket, where no raw input is."""
    (tmp_path / "nothing").mkdir(exist_ok=True)
    words = [name, recipe_of(run), "--store", place, "--data-root", tmp_path / "nothing", *more]
    return command([*map(str, words)])


def test_plan_over_a_bucket_reads_no_piece(trained, bucket_place, server, tmp_path, capsys):
    push(capsys, trained, bucket_place)
    server[1].requests.clear()
    assert at(trained, bucket_place, tmp_path, "plan") == 0
    said = capsys.readouterr()
    assert "its inputs are not here" in said.out
    assert "`codemix train` copies 5 outputs" in said.err and "requests" in said.err
    objects = [request for request in server[1].requests if "?" not in request]
    assert objects and all(unquote(request).endswith("done.json") for request in objects)
    assert not (tmp_path / "store").exists() and not list(Path().glob("s3:*"))


def test_trained_over_a_bucket_as_over_a_folder(trained, bucket_place, tmp_path, capsys):
    built = tmp_path / "built"
    shutil.copytree(trained.store.root, built, ignore=shutil.ignore_patterns("stages"))
    words = ["--to", bucket_place, "--store", built, "--data-root", tmp_path]
    assert ask(capsys, "push", recipe_of(trained), *words)[0] == 0
    assert at(trained, bucket_place, tmp_path, "train") == 0
    said = capsys.readouterr().err
    assert "copying 3 outputs" in said and "pushed stages/init" in said and ", stages/cooldown" in said
    _, pulled = pull(capsys, trained, bucket_place, tmp_path / "store")
    for folder in (trained.store.root / "stages").iterdir():
        ledger = tmp_path / "store" / "stages" / folder.name / "ledger.json"
        assert ledger.read_bytes() == (folder / "ledger.json").read_bytes()
    assert at(trained, bucket_place, tmp_path, "report") == 0
    assert "pushed evals/" in capsys.readouterr().err
    for name in ("verify", "inspect", "eval"):
        assert at(trained, bucket_place, tmp_path, name) == 0, capsys.readouterr().err
    assert at(trained, bucket_place, tmp_path, "show", "--step", 3) == 0


def test_built_over_a_bucket(trained, bucket_place, tmp_path, capsys):
    words = ["build-data", recipe_of(trained), "--store", bucket_place, "--data-root", str(trained.data_root)]
    assert command(words) == 0
    assert "pushed documents/code-" in capsys.readouterr().err
    _, pulled = pull(capsys, trained, bucket_place, tmp_path / "store", "--data-root", trained.data_root)
    ours = {name: content for name, content in files(tmp_path / "store").items() if name.endswith(".ds")}
    assert ours == {
        name: content for name, content in files(trained.store.root).items() if name.endswith(".ds")
    }


@pytest.mark.parametrize("words", [["push", "r.yaml", "--to", "x"], ["pull", "r.yaml", "--from", "x"]])
@pytest.mark.parametrize("address", ["s3://bucket/x", "gs://bucket/x", "s3:/bucket/x"])
def test_elsewhere_an_address_is_not_taken_for_a_folder(
    trained, tmp_path, capsys, monkeypatch, words, address
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(recipe_of(trained), "r.yaml")
    assert command([*words, "--store", address]) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.yaml"]


def test_a_copy_that_does_not_fit_is_refused_first(trained, place, tmp_path, capsys, monkeypatch):
    (tmp_path / "nothing").mkdir()
    push(capsys, trained, place)
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    code, said = pull(capsys, trained, place, tmp_path / "store")
    assert code == 1 and said["problems"][0]["rule"] == "disk-full" and not (tmp_path / "store").exists()


def test_a_full_disk_in_the_middle_loses_nothing(trained, place, tmp_path, capsys, monkeypatch):
    (tmp_path / "nothing").mkdir()
    push(capsys, trained, place)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = pieces if "://" in place else copying
    with monkeypatch.context() as patched:
        patched.setattr(owner, "_write" if "://" in place else "_copy_file", full)
        code, said = pull(capsys, trained, place, tmp_path / "store")
    assert code == 1 and said["problems"][0]["rule"] == "disk-full"
    assert not files(tmp_path / "store")
    assert pull(capsys, trained, place, tmp_path / "store")[0] == 0
    assert files(tmp_path / "store") == files(trained.store.root)


def test_what_an_interrupted_copy_left_is_used_or_replaced(trained, place, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    push(capsys, trained, place)
    [folder] = (trained.store.root / "data").glob("code-*")
    work = tmp_path / "store/.building/data" / folder.name
    shutil.copytree(folder, work)
    (work / "SHA256SUMS").unlink()
    (work / "of-another-version").write_text("x")
    [*_, spoilt] = sorted(work.rglob("*.ds"))
    spoilt.write_bytes(bytes(spoilt.stat().st_size))
    assert pull(capsys, trained, place, tmp_path / "store")[0] == 0
    assert files(tmp_path / "store") == files(trained.store.root)


def rewrite_done(place, start, content):
    """Make the done.json of the first output whose name starts so one that this codemix cannot read; its name."""
    bucket = requests.Bucket(place)
    done = [entry for entry in bucket.entries(start.split("/")[0]) if entry.key.endswith("done.json")]
    entry = next(entry for entry in done if entry.key.startswith(start))
    bucket.put(entry.key, json.dumps(json.loads(bucket.get(entry.key)) | content).encode())
    return entry.key.removesuffix("/done.json")


NEWER = {"format": 2}
NEEDED = {"tokenizers": "every source", "data": "the recipe", "documents": "data", "stages": "the recipe"}


@pytest.mark.parametrize("kind", NEEDED)
def test_what_a_newer_version_wrote_is_never_silently_missing(trained, bucket_place, tmp_path, capsys, kind):
    (tmp_path / "nothing").mkdir()
    push(capsys, trained, bucket_place)
    output = rewrite_done(bucket_place, kind, NEWER)
    code, said = pull(capsys, trained, bucket_place, tmp_path / "store")
    assert code == 1, f"{kind} is needed by {NEEDED[kind]}"
    [problem] = said["problems"]
    assert f"{output}/done.json has format 2, this codemix reads format 1" in problem["what"]
    assert not (tmp_path / "store").exists()
    code, said = ask(
        capsys, "gc", recipe_of(trained), "--store", bucket_place, "--data-root", tmp_path, "--delete"
    )
    assert code == 1 and said["problems"]


@pytest.mark.parametrize("content", [NEWER, {"pieces": ["x", "y", "z"]}])
def test_what_cannot_be_read_blocks_nobody_who_does_not_need_it(
    trained, bucket_place, tmp_path, capsys, content
):
    (tmp_path / "nothing").mkdir()
    push(capsys, trained, bucket_place)
    bucket = requests.Bucket(bucket_place)
    [kept] = [entry for entry in bucket.entries("tokenizers") if entry.key.endswith("done.json")]
    of_others = "tokenizers/0123456789ab"
    bucket.put(f"{of_others}/done.json", bucket.get(kept.key))
    rewrite_done(bucket_place, of_others, content)
    code = command(
        ["pull", str(recipe_of(trained)), "--from", bucket_place, "--store", str(tmp_path / "store")]
        + ["--data-root", str(tmp_path / "nothing")]
    )
    said = capsys.readouterr().err
    assert code == 0 and files(tmp_path / "store") == files(trained.store.root)
    assert said.count(f"{of_others} is left out: ") == 1
    code, shown = ask(capsys, "gc", recipe_of(trained), "--store", bucket_place, "--data-root", tmp_path)
    assert code == 0 and shown["unneeded"] == {}


def test_a_stage_is_pulled_whatever_wrote_the_next(trained, bucket_place, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    push(capsys, trained, bucket_place)
    rewrite_done(bucket_place, "stages/cooldown", NEWER)
    assert pull(capsys, trained, bucket_place, tmp_path / "store", "--stage", "init")[0] == 0
    rewrite_done(bucket_place, "tokenizers", NEWER)
    assert pull(capsys, trained, bucket_place, tmp_path / "other", "--stage", "init")[0] == 1


def test_the_cache_keeps_to_its_limit(trained, bucket_place, tmp_path, capsys, monkeypatch):
    push(capsys, trained, bucket_place)
    limit = sum(map(len, files(trained.store.root).values()))
    monkeypatch.setattr(environment, "GB", 1)
    monkeypatch.setenv("CODEMIX_CACHE_GB", str(limit))
    assert at(trained, bucket_place, tmp_path, "verify") == 0
    [copy] = (tmp_path / "cache").glob("*/store")
    assert files(copy) == files(trained.store.root)
    other = f"{bucket_place}-of-another"
    capsys.readouterr()
    push(capsys, trained, other)
    assert at(trained, other, tmp_path, "show", "--step", 3) == 0
    said = capsys.readouterr().err
    assert f"{copy}/" in said and ": removed, " in said and "CODEMIX_CACHE_GB" in said
    assert at(trained, bucket_place, tmp_path, "verify") == 0
    assert files(copy) == files(trained.store.root)
    monkeypatch.setenv("CODEMIX_CACHE_GB", "1000")
    shutil.rmtree(copy)
    assert at(trained, bucket_place, tmp_path, "verify") == 1
    assert "may hold 1 kB" in capsys.readouterr().err and not copy.exists()


def test_gc_removes_the_leases_of_the_dead(trained, bucket_place, tmp_path, capsys, monkeypatch):
    push(capsys, trained, bucket_place)
    bucket = requests.Bucket(bucket_place)
    lease = "leases/data/code-0123456789ab"
    bucket.put(lease, b"{}")
    gc = ["gc", recipe_of(trained), "--store", bucket_place, "--data-root", tmp_path, "--delete"]
    assert ask(capsys, *gc)[1]["unneeded"] == {} and bucket.get(lease) is not None  # may be renewed
    monkeypatch.setattr(places, "UPLOADS_TAKE", timedelta(days=-1))
    assert ask(capsys, *gc)[1]["unneeded"] == {lease: 0} and bucket.get(lease) is None
    assert push(capsys, trained, bucket_place)[1]["outputs"] == {}
