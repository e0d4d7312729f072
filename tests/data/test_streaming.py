"""Tokens that stay in a bucket: the windows of coming steps are read from there, as they lie in its pieces."""

import itertools
import json
import shutil
import time

import numpy as np
import pytest
from support import tiny
from support.built_run import built_run

from codemix.cli.app import run as command
from codemix.data.loader import look_ahead
from codemix.data.loader.batches import batches
from codemix.data.loader.stage_data import stage_sentinels, training_shards
from codemix.data.remote import bucket as requests
from codemix.data.remote import pieces
from codemix.data.remote.bucket import Bucket
from codemix.data.remote.places import BucketPlace
from codemix.data.remote.staging import StagedStore
from codemix.data.store.elsewhere import PartOfFile
from codemix.data.workspace import open_workspace
from codemix.errors import CodemixError
from codemix.train.run.metrics import read_metrics

NUMBERS = itertools.count()
STAGES = ("init", "cooldown")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return built_run(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def trained(built, tmp_path_factory):
    """The stages, trained from a folder."""
    copy = tmp_path_factory.mktemp("trained") / "store"
    shutil.copytree(built.store.root, copy)
    assert train(built, copy, built.data_root) == 0
    return copy / "stages"


@pytest.fixture
def place(server, built, tmp_path, monkeypatch, capsys):
    """A bucket with the run's data in pieces of a few windows, and the faults on the way to it."""
    monkeypatch.setenv("CODEMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(pieces, "PIECE", 500)
    address, faults = server
    faults.share = 0.0
    address = f"{address}/streamed/{next(NUMBERS)}"  # moto has one world for all tests
    words = ["push", built.recipe_file.document.file, "--to", address, "--store", built.store.root]
    assert command([*map(str, words), "--data-root", str(built.data_root)]) == 0
    capsys.readouterr()
    yield address, faults
    faults.share = 0.0


def staged(built, address):
    def workspaces(store):
        return [open_workspace(built.recipe_file, store, built.data_root / "nothing")]

    return StagedStore(BucketPlace(Bucket(address)), workspaces)


def read(built, store, name, **words):
    """The batches of a stage, of a store of either kind."""
    workspace = open_workspace(built.recipe_file, store, built.data_root / "nothing")
    stage = workspace.plan.stage(name)
    shards = training_shards(stage, workspace.manifests)
    [tokenizer, *_] = [manifest.tokenizer for manifest in workspace.manifests.values()]
    return batches(stage, shards, sentinels=stage_sentinels(stage, tokenizer), reader=store.reader, **words)


def assert_equal(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for (step, batch), (their_step, their_batch) in zip(ours, theirs, strict=True):
        assert step == their_step and batch.keys() == their_batch.keys()
        for name, array in batch.items():
            assert array.dtype == their_batch[name].dtype
            np.testing.assert_array_equal(array, their_batch[name])


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("ahead", [1, 2000, look_ahead.AHEAD_BYTES])
def test_the_same_batches_as_from_a_folder(built, place, name, ahead, tmp_path, monkeypatch):
    monkeypatch.setattr(look_ahead, "AHEAD_BYTES", ahead)
    address, faults = place
    with staged(built, address).streaming().store() as store:
        faults.requests.clear()
        for words in (
            {},
            {"start_step": 1},
            {"prefetch": 0},
            *(
                {"row_ranges": lambda size, host=host: [(host * size // 2, (host + 1) * size // 2)]}
                for host in (0, 1)
            ),
        ):
            local = list(read(built, built.store, name, **words))
            assert_equal(list(read(built, store, name, **words)), local)
        traffic = store.reader.traffic
    assert traffic.requests == len(faults.requests)
    rows = {stage.name: stage.rows for stage in built.plan.stages}[name]
    assert traffic.bytes <= 4 * rows * 17 * 2 and traffic.requests >= 3 * rows
    assert not list((tmp_path / "cache").rglob("*.ds"))


def objects_of(address, tokens_of="code"):
    """The pieces that hold a source's training tokens, by key."""
    bucket = Bucket(address)
    [folder] = [name for name in bucket.folders("data") if name.startswith(tokens_of)]
    contents = pieces.read_contents(bucket, f"data/{folder}")
    keys = []
    for piece, spans in zip(contents.pieces, contents.spans, strict=True):
        if any(span.file.path.endswith(".ds") and "train" in span.file.path for span in spans):
            keys.append(f"data/{folder}/{piece}")
    return bucket, keys


def drain(built, store):
    return [batch for name in STAGES for _, batch in read(built, store, name)]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda content: None, "404"),
        (lambda content: content[:-400], r"it has \d+ bytes|416|its ETag is another"),
        (lambda content: bytes(len(content)), "was replaced while it was read"),
    ],
    ids=["deleted", "cut", "replaced"],
)
@pytest.mark.parametrize("when", ["before", "while it is read"])
def test_an_object_that_is_not_what_was_pushed(built, place, change, said, when):
    address, _ = place

    def spoil():
        bucket, keys = objects_of(address)
        for key in keys:
            content = change(bucket.get(key))
            bucket.delete([key])
            if content is not None:
                bucket.put(key, content)

    if when == "before":
        spoil()
        with pytest.raises(CodemixError, match=r"is not there as it was sent|its SHA-256 is not its name"):
            with staged(built, address).streaming().store():
                pass
        return
    with staged(built, address).streaming().store() as store:
        spoil()
        with pytest.raises(CodemixError, match=f"{address}/data/code-.*{said}|{said}.*"):
            drain(built, store)


def test_a_bucket_that_was_copied_is_checked_once(built, place):
    address, faults = place
    bucket, keys = objects_of(address)
    [folder] = {key.rsplit("/", 1)[0] for key in keys}
    done = json.loads(bucket.get(f"{folder}/done.json"))
    del done["notes"][pieces.ETAGS]  # as an earlier codemix, or a service that gives other ETags
    bucket.put(f"{folder}/done.json", json.dumps(done).encode())
    with staged(built, address).streaming().store() as store:
        once = drain(built, store)
    before = len(faults.requests)
    with staged(built, address).streaming().store():
        pass
    again = faults.requests[before:]
    assert not [request for request in again if any(key.rsplit("/", 1)[1] in request for key in keys)]
    assert len(once) == sum(stage.steps for stage in built.plan.stages)
    bucket.put(keys[0], bytes(len(bucket.get(keys[0]))))
    with pytest.raises(CodemixError, match="its SHA-256 is not its name"):
        with staged(built, address).streaming().store():
            pass


def test_the_same_batches_over_faults(built, place):
    address, faults = place
    local = drain(built, built.store)
    with staged(built, address).streaming().store() as store:
        faults.share = 0.4
        ours = drain(built, store)
    assert sum(faults.done.values()) > 10
    assert_equal(list(enumerate(ours)), list(enumerate(local)))


def test_data_that_was_replaced_since_the_catalog_was_read(built, place):
    address, _ = place
    staged(built, address).streaming()
    bucket, keys = objects_of(address)
    [folder] = {key.rsplit("/", 1)[0] for key in keys}
    done = json.loads(bucket.get(f"{folder}/done.json"))
    for file in done["files"]:
        file["sha256"] = "0" * 64
    bucket.put(f"{folder}/done.json", json.dumps(done).encode())
    with pytest.raises(CodemixError, match="has another .*ds than its copy of the manifest says"):
        staged(built, address).streaming()


def test_a_stage_that_stops_leaves_no_request_waiting(built, place, monkeypatch):
    address, faults = place
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 60)
    with staged(built, address).streaming().store() as store:
        monkeypatch.setattr(faults, "next", lambda: "503")
        asked = store.reader.ask(PartOfFile(next(iter(store.reader._files)), 0, 10))
        while not asked.running():
            time.sleep(0.001)
    with pytest.raises(CodemixError, match="cannot read"):
        asked.result(timeout=20)


def train(built, address, tmp_path, *more):
    words = ["train", built.recipe_file.document.file, "--store", address, "--data-root", tmp_path, *more]
    return command([*map(str, words)])


def test_trained_over_faults_as_from_a_folder(built, trained, place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 50_000)  # of the stages that are pushed
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tiny.CACHE))
    address, faults = place
    faults.share = 0.2
    assert train(built, address, tmp_path, "--shards", "stream", "--until", "3 steps", "--log-every", 1) == 0
    assert train(built, address, tmp_path, "--shards", "stream", "--log-every", 1) == 0
    said = capsys.readouterr().err
    assert "training reads the tokens from there" in said and ", stages/cooldown" in said
    assert "requests and" in said and "of waiting a step" in said
    [cache] = (tmp_path / "cache").glob("[0-9a-f]*")
    assert not list(cache.rglob("*.ds"))
    for folder in trained.iterdir():
        ours = cache / "store/stages" / folder.name
        for name, array in tiny.weights(folder).items():
            np.testing.assert_array_equal(tiny.weights(ours)[name], array)
        assert (ours / "ledger.json").read_bytes() == (folder / "ledger.json").read_bytes()
        lines = read_metrics(ours / "metrics.jsonl")
        assert sum(line["data/requests_per_step"] for line in lines) > 0
        assert all(line["data/wait_s_per_step"] >= 0 for line in lines)
        assert "data/requests_per_step" not in read_metrics(folder / "metrics.jsonl")[0]


def test_the_plan_says_what_streaming_takes(built, place, tmp_path, capsys):
    address, _ = place
    words = ["plan", built.recipe_file.document.file, "--store", address, "--data-root", tmp_path]
    assert command([*map(str, words)]) == 0
    said = capsys.readouterr().err
    rows = sum(stage.rows for stage in built.plan.stages)
    assert f"as it trains, it reads {rows * 17 * 2 / 1000:.2f} kB in {rows} requests" in said
    assert "`codemix train` copies 3 outputs" in said and "less than $0.01 of requests" in said


def test_a_folder_is_not_streamed_from(built, tmp_path, capsys):
    assert train(built, built.store.root, tmp_path, "--shards", "stream") == 1
    assert "`--shards stream` reads from a bucket" in capsys.readouterr().err
