"""Training over a bucket, killed at random on machines that share nothing else, and everything over a network that
breaks: the bytes of a quiet local run."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import buckets, tiny
from support.built_run import built_run
from support.small_recipes import tree

from codemix.cli.app import run as command
from codemix.data.remote import bucket as requests
from codemix.data.remote import leases, pieces
from codemix.data.remote.bucket import Bucket
from codemix.data.store.store import Store

PROGRAM = str(Path(__file__).parents[1] / "support" / "train_words.py")
RECIPE = "small.yaml"
MACHINES = 3


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A recipe, built, and its stages trained in another store."""
    folder = tmp_path_factory.mktemp("built")
    built_run(folder, batch_size="4")
    shutil.copytree(folder / "store", folder / "straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tiny.CACHE))
        assert command(["train", RECIPE, "--store", "straight", "--log-every", "1"]) == 0
    return folder


@pytest.fixture
def server(built, monkeypatch, tmp_path):
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(requests, "LONGEST_PAUSE_S", 0.1)
    monkeypatch.setattr(pieces, "PIECE", 2000)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tiny.CACHE))
    monkeypatch.chdir(built)
    with buckets.bucket_server("s3") as (address, faults):
        yield f"{address}/{tmp_path.name}", faults


def done(*words):
    assert command([*map(str, words)]) == 0


def assert_trained(address, built, store):
    """The bucket has the stages of the quiet run, and nobody holds a lease."""
    done("pull", RECIPE, "--from", address, "--store", store, "--data-root", "nothing")
    straight = built / "straight/stages"
    ours = store / "stages"
    assert sorted(os.listdir(ours)) == sorted(os.listdir(straight))
    for name in os.listdir(straight):
        assert tiny.same_bits(tiny.weights(ours / name), tiny.weights(straight / name))
        assert (ours / name / "ledger.json").read_bytes() == (straight / name / "ledger.json").read_bytes()
    assert leases.held(Bucket(address)) == []


def killed_after(words, machine, seconds):
    """Whether a run was still at work then; it is not any more."""
    environment = os.environ | {"CODEMIX_CACHE": str(machine), "JAX_PLATFORMS": "cpu"}
    program = [sys.executable, PROGRAM, "0.1", *map(str, words)]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=environment)
    with contextlib.suppress(subprocess.TimeoutExpired):
        said = process.communicate(timeout=seconds)[1]
        assert process.returncode == 0, said
        return False
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return True


def kills(address, built, tmp_path, n, seed):
    """Runs, one after the other, each on machines that are killed, until `n` were."""
    choose = random.Random(seed)
    took = 20.0
    n_killed = 0
    for number in itertools.count():
        place = f"{address}/{number}"
        folder = tmp_path / str(number)
        done("push", RECIPE, "--to", place, "--store", "store")
        for turn in itertools.count():
            way = choose.choice(("stage", "stream"))
            words = ["train", RECIPE, "--store", place, "--data-root", "nothing", "--shards", way]
            words += ["--checkpoints", place, "--save-every-steps", 1, "--log-every", 1]
            machine = folder / f"machine-{choose.randrange(MACHINES)}"
            seconds = choose.uniform(took / 4, took) if n_killed < n and turn < 6 else 300
            began = time.monotonic()
            if not killed_after(words, machine, seconds):
                break
            n_killed += 1
        took = min(took, time.monotonic() - began)
        assert_trained(place, built, folder / "pulled")
        if n_killed >= n:
            print(f"{n_killed} kills in {number + 1} runs")
            return


@pytest.mark.optional("some minutes")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_kills_of_training(server, built, tmp_path, seed):
    kills(server[0], built, tmp_path, 30, seed)


def over_faults(server, built, tmp_path, monkeypatch, n):
    """Push, pull, stage, stream and checkpoint over `n` faults, a fresh machine and place each time."""
    address, faults = server
    for number in itertools.count():
        folder = tmp_path / str(number)
        monkeypatch.setenv("CODEMIX_CACHE", str(folder / "cache"))
        place = f"{address}/{number}"
        way = ("stage", "stream")[number % 2]
        faults.share = 0.3
        done("push", RECIPE, "--to", place, "--store", "store")
        words = ["train", RECIPE, "--store", place, "--data-root", "nothing", "--shards", way]
        done(*words, "--checkpoints", place, "--save-every-steps", 3, "--log-every", 1)
        assert_trained(place, built, folder / "pulled")
        faults.share = 0.0
        assert tree(Store(folder / "pulled")) == tree(Store("straight"))
        if sum(faults.done.values()) >= n:
            print(f"{faults.done} in {number + 1} runs")
            return


def test_over_some_faults(server, built, tmp_path, monkeypatch):
    over_faults(server, built, tmp_path, monkeypatch, 10)


@pytest.mark.optional("some minutes")
@pytest.mark.timeout(3000)
def test_over_a_thousand_faults(server, built, tmp_path, monkeypatch):
    over_faults(server, built, tmp_path, monkeypatch, 1000)
