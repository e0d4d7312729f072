"""A repository of git is read within the data root, whole, in bounded time and memory,
or the reason is told.
"""

import os
import resource
import subprocess
from contextlib import ExitStack

import pytest
from support.source_files import read, source

from codemix.data.sources import _git_objects
from codemix.errors import CodemixError

IDENTITY = [
    "-c",
    "user.name=x",
    "-c",
    "user.email=x@x",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "core.autocrlf=false",
]


def run(folder, *words, given=None):
    return (
        subprocess.run(
            ["git", "-C", str(folder), *IDENTITY, *words], check=True, capture_output=True, input=given
        )
        .stdout.decode()
        .strip()
    )


def made(folder, files):
    folder.mkdir(parents=True)
    try:
        run(folder, "init", "-q", "-b", "main")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    for name, text in files.items():
        (folder / name).write_text(text)
    run(folder, "add", "-A")
    run(folder, "commit", "-qm", "one")
    return folder


@pytest.fixture
def root(tmp_path):
    made(tmp_path / "outside" / "repo", {"secret.py": "secret = 1\n"})
    made(tmp_path / "root" / "own", {"a.py": "x = 1\n"})
    return tmp_path / "root"


def problem(root, path="repo"):
    with pytest.raises(CodemixError) as caught:
        read(root, source("git", path=path))
    return caught.value.problems[0]


def git_file(root, other):
    (root / "repo").mkdir()
    (root / "repo" / ".git").write_text(f"gitdir: {other}/.git\n")


def git_file_relative(root, other):
    (root / "repo").mkdir()
    (root / "repo" / ".git").write_text(f"gitdir: {os.path.relpath(other, root / 'repo')}/.git\n")


def git_link(root, other):
    (root / "repo").mkdir()
    (root / "repo" / ".git").symlink_to(other / ".git")


def common_folder(root, other):
    run(root / "own", "worktree", "add", "-q", "../repo", "-b", "second")
    (root / "own" / ".git" / "worktrees" / "repo" / "commondir").write_text(f"{other}/.git\n")


def alternates(root, other):
    made(root / "repo", {"b.py": "y = 1\n"})
    (root / "repo" / ".git" / "objects" / "info" / "alternates").write_text(f"# note\n{other}/.git/objects\n")


def alternates_of_alternates(root, other):
    made(root / "repo", {"b.py": "y = 1\n"})
    (root / "repo" / ".git" / "objects" / "info" / "alternates").write_text("../../../own/.git/objects\n")
    (root / "own" / ".git" / "objects" / "info" / "alternates").write_text(
        f"{os.path.relpath(other, root / 'own' / '.git' / 'objects')}/.git/objects\n"
    )


def linked_objects(root, other):
    made(root / "repo", {"b.py": "y = 1\n"})
    (root / "repo" / ".git" / "objects" / "pack").rmdir()
    (root / "repo" / ".git" / "objects" / "pack").symlink_to(other / ".git" / "objects" / "pack")


def linked_reference(root, other):
    made(root / "repo", {"b.py": "y = 1\n"})
    (root / "repo" / ".git" / "refs" / "heads" / "other").symlink_to(
        other / ".git" / "refs" / "heads" / "main"
    )


def bare_with_linked_objects(root, other):
    run(root, "clone", "-q", "--bare", "own", "repo")
    (root / "repo" / "packed").symlink_to(other)


WAYS_OUT = [
    git_file,
    git_file_relative,
    git_link,
    common_folder,
    alternates,
    alternates_of_alternates,
    linked_objects,
    linked_reference,
    bare_with_linked_objects,
]


@pytest.mark.parametrize("way", WAYS_OUT)
def test_nothing_outside_the_data_root_is_read(root, way):
    way(root, root.parent / "outside" / "repo")
    assert problem(root).rule == "outside-data-root"


def test_what_refers_to_the_data_root_is_read(root):
    run(root / "own", "worktree", "add", "-q", "../tree", "-b", "second")
    run(root, "clone", "-q", "--shared", "own", "shared")
    run(root, "clone", "-q", "--bare", "own", "bare.git")
    (root / "link").symlink_to("own")
    assert [
        d.text
        for path in ("own", "tree", "shared", "bare.git", "link")
        for d in read(root, source("git", path=path))
    ] == ["x = 1\n"] * 5


def test_a_repository_that_lacks_a_file_is_told(root):
    run(root / "own", "config", "uploadpack.allowFilter", "true")
    run(root, "clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{root}/own", "partial")
    found = problem(root, "partial")
    assert found.rule == "git-failed" and "lacks" in found.what and "fetch it whole" in found.hints[0]


def test_a_file_that_is_lost_later_is_told(root):
    made_source = source("git", path="own")
    blob = run(root / "own", "rev-parse", "HEAD:a.py")
    (given,) = made_source.inputs(root)
    commit = given.split("@")[1].split("~")[0]
    (root / "own" / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with (
        _git_objects.contents(root / "own") as content,
        pytest.raises(CodemixError, match="lacks the content"),
    ):
        content.of(blob)
    with pytest.raises(CodemixError, match="lacks the content|git cannot read own"):
        list(_git_objects.files_of(root / "own", commit))


def test_a_tree_that_stands_for_too_many_files_is_told(root, monkeypatch):
    blob = run(root / "own", "rev-parse", "HEAD:a.py")
    tree = run(
        root / "own", "mktree", given="".join(f"100644 blob {blob}\t{i}.py\n" for i in range(10)).encode()
    )
    for _ in range(8):  # 10^9 files of one content
        tree = run(
            root / "own", "mktree", given="".join(f"040000 tree {tree}\t{i}\n" for i in range(10)).encode()
        )
    run(root / "own", "update-ref", "refs/heads/bomb", run(root / "own", "commit-tree", "-m", "bomb", tree))
    monkeypatch.setattr(_git_objects, "MAX_FILES", 2000)
    with pytest.raises(CodemixError, match="holds more than 2,000 files"):
        source("git", path="own", revision="bomb").inputs(root)


def test_git_that_says_nothing_is_given_up(root, monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(_git_objects, "SILENCE_S", 0.2)
    assert "printed nothing about own for" in problem(root, "own").what
    with _git_objects.contents(root / "own") as content, pytest.raises(CodemixError, match="printed nothing"):
        content.of("0" * 40)


def test_a_repository_is_read_where_a_thousand_files_are_open(root):
    before = read(root, source("git", path="own"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip("this machine does not let a process open so many")
    with ExitStack() as opened:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1024):
            opened.enter_context(open(os.devnull))
        assert read(root, source("git", path="own")) == before


def test_parts_divide_a_repository(root):
    many = made(root / "many", {f"{i:03d}.py": f"x = {i}\n" for i in range(100)})
    made_source = source("git", path=many.name)
    whole = read(root, made_source)
    assert len(whole) == 100
    for part_bytes in (1, 50, 299, 10_000):
        assert read(root, made_source, part_bytes) == whole
