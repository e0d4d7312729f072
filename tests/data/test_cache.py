"""Local copies of stores in buckets: which go when there is no room for more, and which never."""

import os
import subprocess
import sys

import pytest

from codemix import environment
from codemix.data.remote.cache import Cache
from codemix.errors import CodemixError

OUTPUTS = ["a/store/data/oldest-0", "b/store/data/middle-1", "a/store/stages/newest-2"]
SIZE = 100


@pytest.fixture
def root(tmp_path):
    """Three copies of 100 bytes of what two buckets have."""
    for age, output in enumerate(reversed(OUTPUTS)):
        folder = tmp_path / output
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(bytes(SIZE))
        os.utime(folder, (10**9 - age, 10**9 - age))
        (tmp_path / output.replace("/store/", "/catalog/")).mkdir(parents=True)
    return tmp_path


def there(root):
    return [output for output in OUTPUTS if (root / output / "x").exists()]


@pytest.mark.parametrize(
    ("limit", "wanted", "left"),
    [
        (None, 10**9, OUTPUTS),
        (400, 100, OUTPUTS),
        (399, 100, OUTPUTS[1:]),
        (300, 0, OUTPUTS),
        (200, 100, OUTPUTS[2:]),
        (100, 100, []),
    ],
)
def test_what_was_used_least_recently_goes_first(root, capsys, limit, wanted, left):
    Cache(root, limit).make_room(wanted)
    assert there(root) == left
    assert capsys.readouterr().err.count(": removed, 100 B; CODEMIX_CACHE_GB is") == 3 - len(left)
    assert not (root / "removed").exists()


def test_a_use_makes_a_copy_the_most_recent(root):
    past = Cache(root)
    past.use([root / OUTPUTS[0]])
    past.close()
    Cache(root, 300).make_room(100)
    assert there(root) == [OUTPUTS[0], OUTPUTS[2]]


def test_nothing_goes_that_somebody_uses(root):
    other = Cache(root)
    other.use([root / OUTPUTS[0], root / "a/store/data/to-come-3"])
    mine = Cache(root, 300)
    mine.use([root / OUTPUTS[1]])
    mine.make_room(100)
    assert there(root) == OUTPUTS[:2]
    with pytest.raises(CodemixError, match=r"may hold 300 B, and 101 B are to be copied") as refused:
        mine.make_room(101)
    assert refused.value.problems[0].rule == "cache-limit" and there(root) == OUTPUTS[:2]
    other.close()
    mine.make_room(101)
    assert there(root) == [OUTPUTS[1]]


def test_the_dead_use_nothing(root):
    program = """
import os, sys
from pathlib import Path
from codemix.data.remote.cache import Cache
Cache(Path(sys.argv[1])).use([Path(sys.argv[2])])
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", program, str(root), str(root / OUTPUTS[0])], check=False)
    assert len(list((root / "in-use").glob("[!.]*"))) == 1
    Cache(root, 100).make_room(100)
    assert there(root) == [] and not list((root / "in-use").glob("[!.]*"))


def test_what_may_be_in_no_bucket_stays(root):
    (root / OUTPUTS[0].replace("/store/", "/catalog/")).rmdir()
    Cache(root, 300).make_room(100)
    assert there(root) == [OUTPUTS[0], OUTPUTS[2]]


@pytest.mark.parametrize("value", ["0", "many", "1.5", "-1"])
def test_a_limit_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("CODEMIX_CACHE_GB", value)
    with pytest.raises(CodemixError, match="CODEMIX_CACHE_GB"):
        environment.cache_bytes()
    monkeypatch.setenv("CODEMIX_CACHE_GB", "2")
    assert environment.cache_bytes() == 2 * 10**9
