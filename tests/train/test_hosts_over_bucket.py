"""Several processes that share nothing but a bucket train what the same processes train over one folder, to the byte."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import buckets, tiny
from support.built_run import built_run

from codemix.cli.app import run as command
from codemix.data.remote import bucket as requests
from codemix.data.remote import leases, pieces
from codemix.data.remote.bucket import Bucket
from codemix.train.run.bucket_checkpoints import StageInBucket
from codemix.train.run.metrics import read_metrics

NUMBERS = itertools.count()
PROGRAM = str(Path(__file__).parents[1] / "support" / "train_words.py")
RECIPE = "small.yaml"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    built_run(folder, batch_size="4")
    return folder


@pytest.fixture(scope="module")
def straight(built):
    """The stages that two processes train over one folder."""
    local = built / "straight"
    shutil.copytree(built / "store", local)
    with started(built, local, [local, local]) as both:
        ended(both)
    return local / "stages"


@pytest.fixture(scope="module")
def server():
    with buckets.bucket_server("s3") as found:
        yield found


@pytest.fixture
def place(server, built, monkeypatch, capsys):
    """A bucket with the data of the recipe, and the faults on the way to it."""
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(pieces, "PIECE", 20_000)
    monkeypatch.chdir(built)
    address, faults = server
    faults.share = 0.0
    address = f"{address}/hosts/{next(NUMBERS)}"
    assert command(["push", RECIPE, "--to", address, "--store", "store"]) == 0
    capsys.readouterr()
    yield address, faults
    faults.share = 0.0


@contextlib.contextmanager
def started(folder, store, caches, *words, recipes=(RECIPE,), pause=0.0, devices=4):
    """The processes of one run with four devices, one for each CODEMIX_CACHE; the last has the last recipe."""
    port = buckets.free_port()
    each = devices // len(caches)
    flags = f"--xla_force_host_platform_device_count={each} --xla_backend_optimization_level=1"
    flags += " --xla_cpu_collective_call_terminate_timeout_seconds=300"  # a busy machine is not a deadlock
    processes = []
    for index, cache in enumerate(caches):
        variables = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": tiny.CACHE}
        variables["CODEMIX_CACHE"] = folder / cache
        given = [
            "--store",
            store,
            "--data-root",
            "nothing",
            "--mesh",
            f"fsdp={devices}",
            "--log-every",
            1,
            *words,
        ]
        if len(caches) > 1:
            given += ["--coordinator", f"127.0.0.1:{port}", "--hosts", len(caches), "--host", index]
        program = [sys.executable, PROGRAM, pause, "train", recipes[min(index, len(recipes) - 1)], *given]
        environment = os.environ | {name: str(value) for name, value in variables.items()}
        processes.append(
            subprocess.Popen(
                [*map(str, program)],
                cwd=folder,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def ended(processes, codes=None):
    said = [process.communicate(timeout=240)[1] for process in processes]
    found = [process.returncode for process in processes]
    assert found == (codes or [0] * len(processes)), "\n---\n".join(text[-3000:] for text in said)
    return said


def pulled(address, store):
    assert command(["pull", RECIPE, "--from", address, "--store", str(store)]) == 0
    return store / "stages"


def assert_same(stages, straight):
    names = sorted(folder.name for folder in straight.iterdir())
    assert sorted(folder.name for folder in stages.iterdir()) == names
    for name in names:
        assert tiny.same_bits(tiny.weights(stages / name), tiny.weights(straight / name))
        assert (stages / name / "ledger.json").read_bytes() == (straight / name / "ledger.json").read_bytes()
        losses = [
            [line["train/loss_nats_per_token"] for line in read_metrics(root / name / "metrics.jsonl")]
            for root in (stages, straight)
        ]
        assert losses[0] == losses[1] and losses[0]


SLOW = pytest.mark.optional("half a minute each: processes that start JAX")


@pytest.mark.parametrize(
    ("shards", "caches"),
    [
        pytest.param("stage", ("one", "two"), id="stage, apart"),
        pytest.param("stream", ("one", "one"), id="stream, one cache"),
        pytest.param("stage", ("one", "one"), id="stage, one cache", marks=SLOW),
        pytest.param("stream", ("one", "two"), id="stream, apart", marks=SLOW),
    ],
)
def test_trained_as_over_one_folder(built, straight, place, tmp_path, shards, caches):
    address, faults = place
    faults.share = 0.1
    folders = [tmp_path / cache for cache in caches]
    words = ["--shards", shards, "--checkpoints", address, "--save-every-steps", 3]
    with started(built, address, folders, *words) as both:
        first, second = ended(both)
    faults.share = 0.0
    assert ", stages/cooldown" in first and "pushed" not in second
    assert_same(pulled(address, tmp_path / "pulled"), straight)
    assert leases.held(Bucket(address)) == []
    assert not list(tmp_path.glob("*/*/store/.others/*"))
    if shards == "stream":
        assert not list(tmp_path.glob("one/**/*.ds"))


def newest_steps(address):
    bucket = Bucket(address)
    stages = [StageInBucket(bucket, f"checkpoints/{name}") for name in bucket.folders("checkpoints")]
    return [stage.newest() or 0 for stage in stages]


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=SLOW)])
def test_a_host_is_killed_and_the_run_goes_on_where_nothing_but_the_bucket_is_left(
    built, straight, place, tmp_path, killed
):
    address, _ = place
    words = ["--checkpoints", address, "--save-every-steps", 2]
    folders = [tmp_path / "one", tmp_path / "two"]
    with started(built, address, folders, *words, pause=0.3) as both:
        while not max(newest_steps(address), default=0):
            assert all(process.poll() is None for process in both)
            time.sleep(0.05)
        both[killed].send_signal(signal.SIGKILL)
        said = both[1 - killed].communicate(timeout=120)[1]
    assert both[1 - killed].returncode == 1 and "another process of this run has ended" in said
    assert not (tmp_path / "one/stages").exists()
    shutil.rmtree(
        folders[killed]
    )  # its machine is gone, another takes its place; or the first is another one now
    folders.reverse()
    with started(built, address, folders, *words) as both:
        ended(both)
    assert_same(pulled(address, tmp_path / "pulled"), straight)


@SLOW
def test_another_number_of_hosts_goes_on(built, straight, place, tmp_path):
    address, _ = place
    words = ["--checkpoints", address]
    until = ["--until", "9 steps"]
    with started(built, address, [tmp_path / "one", tmp_path / "two"], *words, *until) as both:
        ended(both)
    assert sorted(newest_steps(address)) == [1, 8]
    four = [tmp_path / f"of-four-{n}" for n in range(4)]
    with started(built, address, four, *words) as hosts:
        ended(hosts)
    stages = pulled(address, tmp_path / "pulled")
    for folder in straight.iterdir():
        ours = tiny.weights(stages / folder.name)
        for name, array in tiny.weights(folder).items():
            assert abs(ours[name] - array).max() < 1e-5, name  # sums in another order


def test_what_several_hosts_lack_is_said_before_they_meet(built, place, capsys, tmp_path, monkeypatch):
    address, _ = place
    monkeypatch.setenv("CODEMIX_CACHE", str(tmp_path / "cache"))
    words = ["train", RECIPE, "--store", address, "--data-root", "nothing", "--hosts", "2"]
    for checkpoints, said in {
        None: "add `--checkpoints`",
        "s3://no-such-bucket/x": "there is no bucket `no-such-bucket`",
        "folder": "`folder` is a folder",
        "s3:/x": "is not an address of a bucket",
    }.items():
        more = ["--checkpoints", checkpoints] if checkpoints else []
        assert command([*words, *more]) == 1
        assert said in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*"))


def test_hosts_with_other_recipes_are_told(built, place, tmp_path):
    address, _ = place
    other = tmp_path / RECIPE
    other.write_text((built / RECIPE).read_text().replace("value: 1e-3", "value: 2e-3"))
    folders = [tmp_path / "one", tmp_path / "two"]
    words = ["--checkpoints", address]
    with started(built, address, folders, *words, recipes=(RECIPE, other)) as both:
        said = ended(both, [1, 1])
    assert "do not train the same: stage `init` is" in said[1]
    assert newest_steps(address) == []


@SLOW
def test_a_host_that_cannot_copy_ends_the_run(built, place, tmp_path):
    address, _ = place
    full = tmp_path / "two"
    full.write_text("a file where a folder should be")
    with started(built, address, [tmp_path / "one", full], "--checkpoints", address) as both:
        said = ended(both, [1, 1])
    assert f"cannot write {full}" in said[1]
    assert "another process of this run has ended" in said[0], said[0]
