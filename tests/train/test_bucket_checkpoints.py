"""Checkpoints in buckets: what is lost here comes from there, whole, on any mesh, over faults and kills."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import buckets, tiny

from codemix.cli.app import run as command
from codemix.data.remote import bucket as requests
from codemix.data.remote import pieces
from codemix.data.remote.bucket import Bucket
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.train.run import bucket_checkpoints
from codemix.train.run.bucket_checkpoints import StageInBucket
from codemix.train.run.session import train

NUMBERS = itertools.count()


@pytest.fixture
def place(server, monkeypatch):
    """An empty place in a bucket, and the faults on the way to it."""
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(pieces, "PIECE", 5000)
    address, faults = server
    faults.share = 0.0
    yield f"{address}/runs/{next(NUMBERS)}", faults
    faults.share = 0.0


def stages_there(address):
    bucket = Bucket(address)
    found = {}
    for name in bucket.folders("checkpoints"):
        stage = StageInBucket(bucket, f"checkpoints/{name}")
        found[name.rpartition("-")[0]] = stage
    return found


def finished(root, **options):
    plan, store, manifests = tiny.make_run(root)
    return train(plan, store, manifests, options=tiny.options(**options))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return [tiny.weights(folder) for folder in finished(tmp_path_factory.mktemp("straight"))]


def same(folders, straight):
    made = [tiny.weights(folder) for folder in folders]
    return all(tiny.same_bits(a, b) for a, b in zip(made, straight, strict=True))


def test_a_run_goes_on_where_nothing_but_the_bucket_is_left(place, tmp_path, straight):
    address, faults = place
    faults.share = 0.2
    options = {"checkpoints": address, "save_every_steps": 2, "keep": 1}
    finished(tmp_path / "one", until=5, **options)
    shutil.rmtree(tmp_path / "one")
    assert stages_there(address)["init"].newest() == 5
    folders = finished(tmp_path / "two", **options)
    assert same(folders, straight) and sum(faults.done.values()) > 0
    faults.share = 0.0
    steps = [json.loads(line)["step"] for line in (folders[0] / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6, 7]  # those of the lost machine too
    there = stages_there(address)
    assert {name: stage.steps() for name, stage in there.items()} == {
        "init": [7],
        "continue": [6],
        "cooldown": [5],
    }
    assert not [p for folder in folders for p in folder.iterdir() if "bucket" in p.name]
    before = len(faults.requests)
    finished(tmp_path / "two", **options)  # in the store already
    assert len(faults.requests) == before
    assert same(finished(tmp_path / "three", **options), straight)  # three downloads, no step


def test_an_upload_that_was_cut_off_goes_on(place, tmp_path, straight, monkeypatch):
    address, _ = place
    options = {"checkpoints": address, "save_every_steps": 3}
    put, sent = Bucket.put, []

    def lost_in_the_middle(self, key, content):
        if len(sent) == 4:
            raise CodemixError("the network is gone", rule="bucket-away")
        sent.append(key)
        put(self, key, content)

    with monkeypatch.context() as cut:
        cut.setattr(Bucket, "put", lost_in_the_middle)
        with pytest.raises(CodemixError, match="the network is gone"):
            finished(tmp_path / "run", **options)
    [stage] = stages_there(address).values()
    assert stage.newest() is None and len(sent) == 4  # begun, and it does not count
    work = next(p for p in (tmp_path / "run/.building/stages").iterdir() if p.is_dir())
    assert (work / "checkpoints" / "7").exists()  # training went on meanwhile
    folders = finished(tmp_path / "run", **options)
    assert same(folders, straight) and stages_there(address)["init"].newest() == 7


def test_a_damaged_object_is_not_restored(place, tmp_path):
    address, _ = place
    finished(tmp_path / "one", until=4, checkpoints=address)
    stage = stages_there(address)["init"]
    contents = pieces.read_contents(stage.bucket, f"{stage.folder}/4")
    largest = max(contents.pieces, key=contents.sizes.get)
    stage.bucket.put(f"{stage.folder}/4/{largest}", bytes(contents.sizes[largest]))
    with pytest.raises(CodemixError, match="its SHA-256 is not its name"):
        finished(tmp_path / "two", checkpoints=address)
    assert not (tmp_path / "two" / "stages").exists()


def test_what_cannot_be_uploaded_stops_a_run_before_its_first_step(place, tmp_path, monkeypatch):
    address, _ = place
    nowhere = address.replace(buckets.NAME, "no-such-bucket")
    with pytest.raises(CodemixError, match="no-such-bucket"):
        finished(tmp_path, checkpoints=nowhere)
    assert not list(tmp_path.glob(".building/stages/*/checkpoints/*"))
    for wrong in ("s3:/x", "s3://", "ftp://x/y", "folder"):
        with pytest.raises(CodemixError):
            finished(tmp_path, checkpoints=wrong)


def run_tiny(root, devices, *words):
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=1"
    program = [sys.executable, str(Path(__file__).parents[1] / "support" / "run_tiny.py"), str(root)]
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    given = ['mesh={"fsdp": 4}', f'data="{root.parent / "data"}"', *words]
    return subprocess.Popen([*program, *given], stderr=subprocess.PIPE, text=True, env=environment)


def ended(*processes):
    said = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(said), "\n---\n".join(said)


def test_two_processes_upload_and_one_with_another_mesh_goes_on(place, tmp_path, straight):
    address, _ = place
    for name in ("text", "code"):
        tiny.make_source(Store(tmp_path / "data"), name)
    words = [f'checkpoints="{address}"', "save_every_steps=3"]
    port = buckets.free_port()
    both = [json.dumps({"coordinator": f"127.0.0.1:{port}", "count": 2, "index": i}) for i in range(2)]
    ended(*[run_tiny(tmp_path / "two", 2, f"hosts={h}", "until=9", *words) for h in both])
    shutil.rmtree(tmp_path / "two")
    assert {n: s.newest() for n, s in stages_there(address).items()} == {"init": 7, "continue": 2}
    folders = finished(tmp_path / "one", checkpoints=address, mesh={"fsdp": 1})
    for made, expected in zip([tiny.weights(f) for f in folders], straight, strict=True):
        for name, array in expected.items():
            assert abs(made[name] - array).max() < 1e-3, name
    assert bucket_checkpoints.METRICS in {p.name for p in folders[1].iterdir()}


@pytest.mark.parametrize("command_name", ["train", "run"])
def test_checkpoints_to_no_bucket_are_refused_before_any_work(tmp_path, capsys, command_name):
    recipe = tmp_path / "r.yaml"
    assert command(["init", str(recipe)]) == 0
    words = [command_name, str(recipe), "--store", str(tmp_path / "store"), "--data-root", str(tmp_path)]
    assert command([*words, "--checkpoints", "s3:/bucket/x"]) == 1
    assert "not an address of a bucket" in capsys.readouterr().err
    assert not list((tmp_path / "store").rglob("*.ds"))
