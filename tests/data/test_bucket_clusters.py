"""Builds on a real Slurm and a real Ray whose tasks do not see the store: the bytes of a clean local build, also when
tasks and the machine that waits are killed, or the bucket fails now and then."""

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import pytest
from support import buckets
from support.hidden_nodes import hidden_nodes
from support.many_tasks import made_content, write_inputs
from support.small_recipes import tree

from codemix.cli.app import run as command
from codemix.data.remote.bucket import Bucket
from codemix.data.store.store import Store

HERE = Path(__file__).parent
EXECUTORS = [
    pytest.param(
        "slurm", marks=pytest.mark.optional("needs Slurm (Debian: slurm-wlm), s3fs and bubblewrap; minutes")
    ),
    pytest.param(
        "ray", marks=pytest.mark.optional("needs the packages ray and s3fs, and bubblewrap; minutes")
    ),
]
PROGRAM = """
import sys
sys.path[:0] = [sys.argv[1], str(__import__("pathlib").Path(sys.argv[1]).parent)]
from support.many_tasks import small_tasks
import codemix.data.build.documents_job, codemix.data.build.tokens_job, codemix.data.execution.runner
from codemix.data.remote import leases
small_tasks(setattr)
codemix.data.build.documents_job.MIN_TASK_BYTES = 15_000
codemix.data.build.tokens_job.MIN_TASK_BYTES = 12_000
leases.LEASE_S, leases.RENEW_S, leases.ASK_S = 3.0, 0.3, 0.1
if __name__ == "__main__":
    from codemix.cli.app import run
    sys.exit(run(sys.argv[2:]))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty place in a bucket that has the inputs; the faults on the way to it. The working folder is that of the
    machine that waits."""
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()  # of the servers of other tests
    machine = tmp_path / "machine"
    machine.mkdir()
    monkeypatch.chdir(machine)
    monkeypatch.setenv("CODEMIX_CACHE", str(machine / "cache"))
    (machine / "program.py").write_text(PROGRAM)
    with buckets.bucket_server("s3") as (address, faults):
        address = f"{address}/{tmp_path.name}"
        write_inputs(tmp_path)
        for path in tmp_path.glob("*.jsonl"):
            Bucket(address).put(f"raw/{path.name}", path.read_bytes())
            path.unlink()
        content = deepcopy(made_content())
        for source in content["sources"].values():
            source["read"]["paths"] = f"{address}/raw/{source['read']['paths']}"
        content["sources"]["web"]["subsample"] = "60%"
        content["stages"][0]["steps"] = 50
        (machine / "r.yaml").write_text(json.dumps(content))
        yield f"{address}/store", faults


@contextmanager
def started(*words):
    process = subprocess.Popen(
        [sys.executable, "program.py", str(HERE), *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(*words):
    with started(*words) as process:
        _, said = process.communicate(timeout=400)
        return process.returncode, said


def bytes_are_those_of_a_local_build(address):
    assert finished("build-data", "r.yaml", "--store", "straight") == (0, "")
    assert command(["pull", "r.yaml", "--from", address, "--store", "all"]) == 0
    return tree(Store("all")) == tree(Store("straight"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_tasks_that_see_nothing_of_the_store(place, tmp_path, executor):
    address, faults = place
    words = ["build-data", "r.yaml", "--store", address, "--executor", executor, "--workers", 4]
    with hidden_nodes(executor, tmp_path, Path.cwd()) as nodes:
        code, said = finished(*words)
    assert code == 0, said
    assert bytes_are_those_of_a_local_build(address)
    assert Bucket(address).entries(".building") == [] and nodes.left() == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_kills_of_tasks_and_of_the_machine_that_waits(place, tmp_path, executor):
    address, faults = place
    words = ["build-data", "r.yaml", "--store", address, "--executor", executor, "--workers", 4]
    choose = random.Random(7)
    killed = 0
    with hidden_nodes(executor, tmp_path, Path.cwd()) as nodes:
        for turn in range(12):
            faults.share = 0.02 if turn < 10 else 0.0
            with started(*words) as process:
                until = time.monotonic() + choose.uniform(3, 25)
                while process.poll() is None and time.monotonic() < until and turn < 10:
                    time.sleep(choose.uniform(0.2, 3))
                    killed += nodes.kill()
                if turn < 10 and process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                _, said = process.communicate(timeout=400)
            if process.returncode == 0:
                break
    assert process.returncode == 0, said
    print(f"{turn} kills of the machine that waits, {killed} of tasks, {sum(faults.done.values())} faults")
    assert killed > 2
    assert bytes_are_those_of_a_local_build(address)
