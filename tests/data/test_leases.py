"""Who works on an output of a store in a bucket: one at a time, and nobody after its owner's death."""

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from codemix.cli.app import run as command
from codemix.data.remote import bucket as requests
from codemix.data.remote import leases
from codemix.data.remote.bucket import Bucket
from codemix.errors import CodemixError

NUMBERS = itertools.count()
HOLDER = """
import sys, time
from pathlib import Path
from codemix.data.remote import leases
from codemix.data.remote.bucket import Bucket
leases.RENEW_S = 0.2
if sys.argv[3] != "here":
    leases._machine = lambda: sys.argv[3]
with leases.hold(Bucket(sys.argv[1]), "data/web-1", Path(sys.argv[2])):
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(server, monkeypatch, tmp_path):
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(leases, "ASK_S", 0.1)
    monkeypatch.setattr(leases, "LEASE_S", 2.0)
    monkeypatch.setattr(leases, "RENEW_S", 0.1)
    server[1].share = 0.0
    yield f"{server[0]}/leased/{next(NUMBERS)}"  # moto has one world for all tests
    server[1].share = 0.0


def lock_in(folder):
    folder.mkdir(exist_ok=True)
    path = folder / "web-1.lock"
    path.touch()
    return path


@pytest.fixture
def holder(place, tmp_path):
    """Starts a process that holds the lease, on the machine of this name."""
    started = []

    def start(machine, lock):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, place, str(lock), machine], stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout.readline() == b"holds\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_an_object_is_written_over_the_version_that_was_read(place):
    bucket = Bucket(place)
    assert bucket.stored("a") is None
    bucket.put("a", b"1")
    first = bucket.stored("a")
    assert first.content == b"1" and bucket.put_over("a", b"2", first)
    assert not bucket.put_over("a", b"3", first) and bucket.get("a") == b"2"
    assert bucket.put_over("a", b"2", first)  # what is there: an answer that was lost
    bucket.delete(["a"])
    assert not bucket.put_over("a", b"4", first) and bucket.get("a") is None


def test_held_and_given_back(place, tmp_path):
    bucket = Bucket(place)
    with leases.hold(bucket, "data/web-1", lock_in(tmp_path)):
        [held] = leases.held(bucket)
        assert held.output == "data/web-1" and held.process == os.getpid() and held.renewed
        first = bucket.get("leases/data/web-1")
        time.sleep(0.5)
        assert bucket.get("leases/data/web-1") != first  # renewed
    assert leases.held(bucket) == []


def test_a_second_one_is_told_who_works(place, tmp_path, holder):
    process = holder("elsewhere 1", lock_in(tmp_path / "a"))
    with (
        pytest.raises(CodemixError) as error,
        leases.hold(Bucket(place), "data/web-1", lock_in(tmp_path / "b")),
    ):
        pass
    [problem] = error.value.problems
    assert problem.rule == "store-busy"
    assert f"process {process.pid} on elsewhere works on data/web-1, since 20" in problem.what
    with leases.hold(Bucket(place), "data/web-2", lock_in(tmp_path / "c")):
        pass


def test_an_owner_that_was_killed_elsewhere_is_waited_for(place, tmp_path, holder):
    process = holder("elsewhere 1", lock_in(tmp_path / "a"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    began = time.monotonic()
    with leases.hold(Bucket(place), "data/web-1", lock_in(tmp_path / "b")):
        assert time.monotonic() - began > leases.LEASE_S
        assert [held.process for held in leases.held(Bucket(place))] == [os.getpid()]


def test_an_owner_that_was_killed_here_is_known_to_be_dead(place, tmp_path, holder, monkeypatch):
    lock = lock_in(tmp_path / "a")
    process = holder("here", lock)
    process.send_signal(signal.SIGKILL)
    process.wait()
    monkeypatch.setattr(leases, "LEASE_S", 1000.0)
    with leases.hold(Bucket(place), "data/web-1", lock):
        pass


def test_one_whose_owner_was_suspended_is_not_taken_back(place, tmp_path, holder):
    process = holder("elsewhere 1", lock_in(tmp_path / "a"))
    process.send_signal(signal.SIGSTOP)
    with leases.hold(Bucket(place), "data/web-1", lock_in(tmp_path / "b")):
        process.send_signal(signal.SIGCONT)
        time.sleep(1)
        assert [held.process for held in leases.held(Bucket(place))] == [os.getpid()]


@pytest.mark.parametrize("offset_s", [-100_000, 100_000])
def test_a_clock_that_is_wrong_changes_nothing(place, tmp_path, holder, monkeypatch, offset_s):
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + offset_s)
    monkeypatch.setattr(leases, "_now", lambda: "1970-01-01 00:00:00+00:00")
    holder("elsewhere 1", lock_in(tmp_path / "a"))
    with (
        pytest.raises(CodemixError, match="is in use"),
        leases.hold(Bucket(place), "data/web-1", lock_in(tmp_path / "b")),
    ):
        pass


def test_status_says_who_works(place, tmp_path, holder, monkeypatch, capsys):
    monkeypatch.setenv("CODEMIX_CACHE", str(tmp_path / "cache"))
    process = holder("elsewhere 1", lock_in(tmp_path / "a"))
    assert command(["status", "--store", place, "--json"]) == 0
    said = capsys.readouterr()
    assert said.out == "[]\n"
    assert f"note: process {process.pid} on elsewhere works on data/web-1, since 20" in said.err


def test_damage_ends_as_a_lease_does(place, tmp_path):
    bucket = Bucket(place)
    bucket.put("leases/data/web-1", b"{")
    assert leases.held(bucket)[0].host == "(unknown)"
    with leases.hold(bucket, "data/web-1", lock_in(tmp_path)):
        pass


def test_faults_on_the_way_lose_no_lease(place, server, tmp_path, monkeypatch):
    server[1].share = 0.3
    for _ in range(20):
        with leases.hold(Bucket(place), "data/web-1", lock_in(tmp_path)):
            time.sleep(0.15)
    server[1].share = 0.0
    assert leases.held(Bucket(place)) == []
