"""Few files are open at a time, however many sources, shards and pieces there are:
each test has twenty to spare beyond what the code says that it takes, and gives it many times as many."""

import contextlib
import os
import resource
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from codemix.data.build.sample_cut import _Saved, cut_of
from codemix.data.dedup import key_files
from codemix.data.execution import jobs
from codemix.data.execution.runner import Resources
from codemix.data.store.store import Store, disk_problem
from codemix.errors import CodemixError

MANY = 300


@contextlib.contextmanager
def at_most(more):
    """Inside, this process may open that many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as opened:  # between those that are open there may be gaps
        free = [opened.enter_context(open(os.devnull)).fileno() for _ in range(more)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass(frozen=True)
class Task:
    done: Path
    size: int = 1
    name: str = "a task"

    def run(self) -> None:
        if self.done.parent.name.startswith("s2"):
            raise CodemixError("the input is rotten")
        self.done.write_text("done")


@dataclass(frozen=True)
class Job:
    final: Path

    def tasks(self, work):
        return [Task(work / "task")]

    def finish(self, work):
        return {}


def test_sources_beyond_the_open_files_are_built_and_every_failure_is_told(tmp_path):
    store = Store(tmp_path)
    wanted = [Job(tmp_path / "data" / f"s{number}-0") for number in range(MANY)]
    with at_most(jobs.AT_ONCE + 20), pytest.raises(CodemixError) as caught:
        jobs.complete(store, wanted, label="building", resources=Resources(workers=1))
    rotten = [job for job in wanted if job.final.name.startswith("s2")]
    assert len(rotten) == len(caught.value.problems) > jobs.AT_ONCE
    assert all(job.final.exists() == (job not in rotten) for job in wanted)


def test_keys_of_many_ranks_are_matched(tmp_path):
    for rank in range(MANY):
        key_files.write_keys(tmp_path / "keys", rank, np.array([7], np.uint64), np.array([rank]))
    with at_most(20):
        key_files.write_matches(tmp_path / "keys", tmp_path / "pairs")
    assert len(key_files.read_matches(tmp_path / "pairs")) == MANY - 1


def test_a_sample_of_many_pieces_is_cut(tmp_path):
    pieces = []
    for number in range(MANY):
        pieces.append(tmp_path / f"{number:05d}.npy")
        np.save(pieces[-1], np.array([[number << 50], [2]], np.uint64))
    with at_most(20):
        assert cut_of(_Saved(pieces), Fraction(1, 2)) == MANY // 2 << 50


def test_too_many_open_files_is_said_with_its_remedy(tmp_path):
    problem = disk_problem(OSError(24, os.strerror(24)), tmp_path).problems[0]
    assert problem.rule == "open-files" and "ulimit -n" in problem.hints[0]
