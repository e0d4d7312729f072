"""Builders of one recipe over one bucket, each with a copy of its own, killed at random: the bytes of a clean local
build, and nobody builds what another has built or is building.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import buckets
from support.many_tasks import made, made_content, small_tasks, write_inputs
from support.small_recipes import tree

from codemix.cli.app import run as command
from codemix.data.build.build import build
from codemix.data.remote import bucket as requests
from codemix.data.remote import leases, pieces
from codemix.data.remote.bucket import Bucket
from codemix.data.store.store import Store

HERE = Path(__file__).parent
PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
from support.many_tasks import small_tasks
import codemix.data.build.documents_job, codemix.data.execution.runner
from codemix.data.remote import bucket, leases, pieces
small_tasks(setattr)
bucket.FIRST_PAUSE_S, pieces.PIECE = 0.001, 20_000
leases.LEASE_S, leases.RENEW_S, leases.ASK_S = 3.0, 0.3, 0.1
if __name__ == "__main__":
    from codemix.cli.app import run
    print("started", flush=True)
    sys.exit(run(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def made_locally(tmp_path_factory):
    """A recipe with its inputs, and what a clean local build makes of it."""
    folder = tmp_path_factory.mktemp("made")
    write_inputs(folder)
    content = made_content()
    content["stages"][0]["steps"] = 100
    (folder / "r.yaml").write_text(json.dumps(content))
    (folder / "program.py").write_text(PROGRAM)
    with pytest.MonkeyPatch.context() as patch:
        small_tasks(patch.setattr)
        build(made(), Store(folder / "straight"), data_root=folder)
    return folder


@pytest.fixture
def place(made_locally, tmp_path, monkeypatch):
    """An empty place in a bucket; the working folder is a copy of `made_locally`."""
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(pieces, "PIECE", 20_000)
    shutil.copytree(made_locally, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with buckets.bucket_server("s3") as (address, _):
        yield f"{address}/{tmp_path.name}"


@contextmanager
def started(words, machine, workers=1):
    """A command in a process, on a machine of this name: it has its own copy of what is in the bucket."""
    environment = os.environ | {"CODEMIX_CACHE": str(Path(machine).absolute())}
    program = [sys.executable, "program.py", str(HERE), *map(str, words)]
    process = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout.readline() == "started\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(words, machine):
    """How a command ends: its exit code and what it says of errors."""
    with started(words, machine) as process:
        said = process.communicate(timeout=120)
        return process.returncode, said[1]


def killed_after(words, machine, seconds):
    """Whether a command was still at work then; it is not any more."""
    with started(words, machine) as process:
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return True
        assert process.returncode == 0
        return False


def pulled(place, store):
    """What a bucket has of the recipe, by path."""
    assert command(["pull", "r.yaml", "--from", place, "--store", store]) == 0
    return tree(Store(store))


def straight():
    return tree(Store("straight"))


def test_two_builders(place, monkeypatch):
    words = ["build-data", "r.yaml", "--store", place]
    with started(words, "one") as first:
        while not leases.held(Bucket(place)):
            assert first.poll() is None
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        [held] = leases.held(Bucket(place))[:1]
        first.send_signal(signal.SIGCONT)
        code, said = finished(words, "two")
        first_said = first.communicate(timeout=120)
    assert held.process == first.pid
    assert first.returncode == 0, first_said
    assert code == 0 or f"is in use: process {first.pid} on " in said
    assert finished(words, "two")[0] == 0
    assert pulled(place, "all") == straight()
    assert leases.held(Bucket(place)) == []


def test_what_another_machine_has_built_is_not_built_again(place):
    words = ["build-data", "r.yaml", "--store", place]
    assert finished([*words, "--only", "web"], "one")[0] == 0
    code, said = finished(words, "two")
    assert code == 0 and "pushed data/code" in said and "pushed documents/" not in said


def kills(place, n, seed):
    """Build, push and pull, killed `n` times each on machines of any name; then once to the end."""
    choose = random.Random(seed)
    commands = [
        ["build-data", "r.yaml", "--store", place],
        ["push", "r.yaml", "--to", f"{place}-pushed", "--store", "straight"],
        ["pull", "r.yaml", "--from", f"{place}-pushed", "--store", "pulled"],
    ]
    for words in commands:
        took = 2.0
        done = 0
        for _ in range(10 * n):
            if done == n:
                break
            began = time.monotonic()
            machine = f"machine-{choose.randrange(3)}"
            if killed_after(words, machine, choose.uniform(0, took)):
                done += 1
                continue
            took = time.monotonic() - began
        assert done == n, f"{words[0]} was killed {done} times"
        code, said = finished(words, "machine-0")
        assert code == 0, said
    assert pulled(place, "all") == straight()
    assert tree(Store("pulled")) == straight()


def test_a_few_kills(place):
    kills(place, 1, seed=1)


@pytest.mark.optional("some minutes")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [2, 3])
def test_thirty_kills(place, seed):
    kills(place, 30, seed)
