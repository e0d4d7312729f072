"""Plain text, folders of code, and git repositories at a revision."""

import os
import subprocess

import pytest
from support.source_files import read, source

from codemix.data.document import Document, Drop
from codemix.data.inputs.frozen_inputs import Input
from codemix.data.inputs.opener import Opener
from codemix.errors import CodemixError


def test_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\n\ntwo<|eot|>three\n")
    assert [d.text for d in read(tmp_path, source("text", paths="a.txt"))] == ["one\n\ntwo<|eot|>three\n"]
    lines = read(tmp_path, source("text", paths="a.txt", split="line", language="English"))
    assert [(d.id, d.text, d.meta["language"]) for d in lines] == [
        ("a.txt#0", "one", "English"),
        ("a.txt#2", "two<|eot|>three", "English"),
    ]
    assert [d.text for d in read(tmp_path, source("text", paths="a.txt", separator="<|eot|>"))] == [
        "one\n\ntwo",
        "three\n",
    ]


TREE = {
    "src/a.py": "a = 1\n",
    "src/b.rs": "fn b() {}\n",
    "README": "no known language",
    "docs/c.md": "# c\n",
    ".git_like/d.py": "hidden",
    "big.py": "x" * 500,
    "Makefile": "all:\n",
}


def fill(root):
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "link.py").symlink_to("src/a.py")


def test_source_tree(tmp_path):
    fill(tmp_path / "proj")
    found = read(tmp_path, source("source_tree", path="./proj/", max_bytes=100, licence="MIT"))
    assert [d if isinstance(d, Drop) else d.id for d in found] == [
        "proj/Makefile#0",
        Drop("too_large"),
        "proj/docs/c.md#0",
        "proj/src/a.py#0",
        "proj/src/b.rs#0",
    ]
    assert found[-1].meta == {
        "path": "src/b.rs",
        "language": "Rust",
        "size": 10,
        "licence": "MIT",
        "repo": "proj",
    }
    only = read(
        tmp_path,
        source("source_tree", path="proj", languages=["python"], include=["src/*"], exclude=["*/b*"]),
    )
    assert [d.text for d in only] == ["a = 1\n"]
    with pytest.raises(CodemixError, match="is in one of the languages"):
        source("source_tree", path="proj", languages=["Zig"]).inputs(tmp_path)


@pytest.fixture
def repository(tmp_path):
    repo = tmp_path / "proj"
    fill(repo)
    git = [
        "git",
        "-C",
        str(repo),
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@x",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "core.autocrlf=false",
    ]

    def run(*words):
        return subprocess.run([*git, *words], check=True, capture_output=True, text=True).stdout.strip()

    try:
        run("init", "-q", "-b", "main")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    run("add", ".")
    run("commit", "-qm", "first")
    run("tag", "v1")
    (repo / "src" / "a.py").write_text("a = 2\n")
    (repo / "bad.py").write_bytes(b"\xff")
    run("add", ".")
    run("commit", "-qm", "second")
    return tmp_path, run


def test_git_at_a_revision(repository):
    root, run = repository
    (root / "proj" / "src" / "a.py").write_text("not committed\n")
    first = read(root, source("git", path="proj", revision="v1"))
    commit = run("rev-parse", "v1^{commit}")
    assert [d.meta["path"] for d in first] == [
        ".git_like/d.py",
        "Makefile",
        "big.py",
        "docs/c.md",
        "src/a.py",
        "src/b.rs",
    ]  # no link
    meta = {"path": "src/a.py", "language": "Python", "size": 6, "repo": "proj"}
    assert first[-2] == Document(f"git:proj@{commit[:12]}/src/a.py#0", "a = 1\n", meta)
    second = read(root, source("git", path="proj", max_bytes=100))
    assert [getattr(d, "reason", None) for d in second] == [
        None,
        None,
        "bad_utf8",
        "too_large",
        None,
        None,
        None,
    ]
    assert second[-2].text == "a = 2\n"
    assert read(root, source("git", path="proj", max_bytes=100), part_bytes=1)[-2] == second[-2]
    assert (
        len(
            source("git", path="proj").parts(
                Input(source("git", path="proj").inputs(root)[0], 1, ""), Opener(root), 1
            )
        )
        == 7
    )
    (one,), (two,) = (source("git", path="proj", revision=r).inputs(root) for r in ("v1", "main"))
    assert one != two and source("git", path="proj", revision=commit).inputs(root) == [one]


def test_git_problems(repository):
    root, _ = repository
    for revision in ("v2", "--output=/tmp/x", "v1:src"):
        with pytest.raises(CodemixError) as caught:
            source("git", path="proj", revision=revision).inputs(root)
        assert caught.value.problems[0].rule == "git-no-revision" and "v1" in str(caught.value)
    (root / "empty").mkdir()
    with pytest.raises(CodemixError, match="git cannot read empty"):
        source("git", path="empty").inputs(root)
    with pytest.raises(CodemixError, match="outside the data root"):
        source("git", path="..").inputs(root)


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    (tmp_path / "src" / "closed").mkdir(parents=True)
    (tmp_path / "src" / "a.py").write_text("x = 1\n")
    scandir = os.scandir

    def refuse(path):  # as it is for anyone but root
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CodemixError, match="closed: Permission denied"):
        source("source_tree", path="src").inputs(tmp_path)


def test_git_reads_the_named_repository_and_no_other(repository, monkeypatch):
    root, run = repository
    with pytest.raises(CodemixError, match="git cannot read docs"):  # no repository, though one is around it
        source("git", path="proj/docs").inputs(root)
    other = root / "other"
    other.mkdir()
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # as git sets it for a hook
    assert len(read(root, source("git", path="proj", revision="v1"))) == 6
