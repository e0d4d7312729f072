"""Inputs are found, stay inside the data root, carry no credentials, and are frozen by what they hold."""

import gzip
import json
import os
import time

import pytest

from codemix.data.inputs import frozen_inputs
from codemix.data.inputs.frozen_inputs import Input, Part, freeze
from codemix.data.inputs.locations import check_uri, expand, locate, redacted, scheme_of
from codemix.data.inputs.opener import Opener
from codemix.data.store.store import Store
from codemix.errors import CodemixError


def problem(call, *given):
    with pytest.raises(CodemixError) as caught:
        call(*given)
    return caught.value


def rule(call, *given):
    return problem(call, *given).problems[0].rule


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    for name in ("b.jsonl", "a.jsonl", "deep/er/c.jsonl", "deep/d.txt", ".hidden.jsonl", "with space.jsonl"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_expand(root):
    assert expand("*.jsonl", root) == ["a.jsonl", "b.jsonl", "with space.jsonl"]
    assert expand(["b.jsonl", "*.jsonl", "./deep/../a.jsonl"], root) == [
        "a.jsonl",
        "b.jsonl",
        "with space.jsonl",
    ]
    assert expand("**/*.jsonl", root) == ["a.jsonl", "b.jsonl", "deep/er/c.jsonl", "with space.jsonl"]
    assert expand(str(root / "a.jsonl"), root) == ["a.jsonl"]  # absolute, inside
    assert expand("deep/**/*.[jt]*", root, (".jsonl", ".txt")) == ["deep/d.txt", "deep/er/c.jsonl"]


def test_a_pattern_finds_each_file_once_also_through_links(root):
    (root / "deep/above").symlink_to("..")
    (root / "zz.jsonl").symlink_to("deep/er/c.jsonl")
    assert expand("deep/**/*.jsonl", root) == [
        "deep/above/a.jsonl",
        "deep/above/b.jsonl",
        "deep/above/with space.jsonl",
        "deep/er/c.jsonl",
    ]
    assert expand("**/*.jsonl", root) == ["a.jsonl", "b.jsonl", "deep/er/c.jsonl", "with space.jsonl"]
    assert expand("zz.jsonl", root) == ["zz.jsonl"]


def test_a_name_that_is_not_utf8_is_escaped(root):
    with open(os.fsencode(root) + b"/bad\xff.txt", "w") as file:
        file.write("x")
    assert r"bad\xff.txt" in expand("*.txt", root)
    assert locate(r"bad\xff.txt", root).read_text() == "x"
    assert rule(locate, "bad\udcff.txt", root) == "bad-path"  # as half of a surrogate pair it is no name


def test_expand_problems(root):
    assert rule(expand, "*.parquet", root) == "glob-no-match"
    assert rule(expand, "c.jsonl", root) == "input-missing"
    assert rule(expand, "deep", root) == "input-is-folder"
    assert rule(expand, "deep/*.txt", root, (".jsonl",)) == "unknown-suffix"
    assert rule(expand, "a.jsonl", root / "nowhere") == "input-missing"
    assert "holds: er" in str(problem(expand, "deep/x/*.jsonl", root)) or "deep holds: d.txt, er" in str(
        problem(expand, "deep/x/*.jsonl", root)
    )
    every = problem(expand, ["*.a", "*.b"], root)
    assert len(every.problems) == 2  # all at once


def test_a_path_that_exists_is_that_file(root):
    for name in (
        "part[1].jsonl",
        "part1.jsonl",
        "[raw] dumps/x.jsonl",
        "[raw] dumps/deep/y.jsonl",
        "r dumps/x.jsonl",
        "show?id=1.txt",
        "show?id=2.txt",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name in ("part[1].jsonl", "[raw] dumps/x.jsonl", "show?id=1.txt"):
        assert expand(name, root) == [name]
    assert expand("part[12].jsonl", root) == ["part1.jsonl"] and expand("show?id=?.txt", root) == [
        "show?id=1.txt",
        "show?id=2.txt",
    ]
    assert expand("[raw] dumps/**/*.jsonl", root) == ["[raw] dumps/deep/y.jsonl", "[raw] dumps/x.jsonl"]
    assert expand("[r] dumps/*.jsonl", root) == ["r dumps/x.jsonl"] and expand("[[]raw] dumps/*", root) == [
        "[raw] dumps/x.jsonl"
    ]


def test_patterns_look_into_each_folder_once(root, monkeypatch):
    for name in ("x/a/b/c", "x/b/a/c", "y/a/a/a"):
        (root / name).mkdir(parents=True)
        (root / name / "f.jsonl").write_text(name)
    (root / "x/a/b/up").symlink_to("../../..")
    looked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(str(path)) or scandir(path))
    plain = expand("**/*.jsonl", root)
    once = len(looked)
    looked.clear()
    assert expand("**/" * 30 + "*.jsonl", root) == plain and "y/a/a/a/f.jsonl" in plain
    assert len(looked) <= 31 * once
    looked.clear()
    assert "y/a/a/a/f.jsonl" in expand("**/*/**/*/**/*/**/*.jsonl", root) and len(looked) <= 9 * once


def test_nothing_outside_is_looked_into(root, tmp_path, monkeypatch):
    (root / "deep/out").symlink_to(tmp_path)
    looked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(os.path.realpath(path)) or scandir(path))
    for pattern, wanted in {
        "**/../../*": "outside-data-root",
        "**/a/../../*": "bad-path",
        "*/../*": "bad-path",
        "deep/*/../..": "bad-path",
        "deep/../../*": "outside-data-root",
        "deep/out/*": "outside-data-root",
        "**/*.jsonl": "outside-data-root",
        "d*/*/*": "outside-data-root",
    }.items():
        assert rule(expand, pattern, root) == wanted, pattern
    assert all(path.startswith(str(root)) for path in looked)


def test_a_folder_that_may_not_be_read_is_told(root, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refused)
    assert rule(expand, "*.jsonl", root) == "input-unreadable"


def test_dots_behind_a_link_lead_where_the_system_says(root):
    (root / "link").symlink_to("deep/er")
    assert expand("link/../d.txt", root) == ["deep/d.txt"] and expand("link/../*.txt", root) == ["deep/d.txt"]


def test_pipes_sockets_and_devices_are_refused(root):
    import socket

    os.mkfifo(root / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "socket.jsonl"))
        for name in ("pipe.jsonl", "socket.jsonl", "p*.jsonl"):
            assert "a pipe, a socket or a device" in str(problem(expand, name, root))
        caught = problem(Opener(root).open, Input("pipe.jsonl", 0, ""))
    assert caught.problems[0].rule == "input-unreadable"


def test_nothing_outside_the_data_root(root, tmp_path):
    (tmp_path / "secret.jsonl").write_text("secret")
    (root / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (root / "out").symlink_to(tmp_path)
    (root / "in.jsonl").symlink_to(root / "a.jsonl")
    absolute = str(tmp_path / "secret.jsonl")
    for name in (
        "../secret.jsonl",
        "deep/../../secret.jsonl",
        absolute,
        "link.jsonl",
        "out/secret.jsonl",
        "/etc/passwd",
        "../../nothing",
    ):
        assert rule(expand, name, root) == "outside-data-root", name
    for pattern in ("*.jsonl", "out/*.jsonl", "../*.jsonl"):
        assert rule(expand, pattern, root) == "outside-data-root", pattern
    assert locate("in.jsonl", root) == (root / "a.jsonl").resolve()
    assert "secret" not in str(problem(expand, "../secre*", root)).replace(
        "../secre*", ""
    )  # nor its names in a hint


def test_odd_paths(root):
    (root / "loop").symlink_to(root / "loop")
    assert rule(locate, "loop", root) in ("input-missing", "input-unreadable")
    assert rule(locate, "a\0b", root) == "bad-path"
    assert rule(locate, "x" * 5000, root) == "input-unreadable"
    os.mkfifo(root / "pipe.jsonl")
    assert rule(freeze, ["pipe.jsonl"], Store(root / "store"), root) == "input-unreadable"


def test_the_root_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    assert (
        expand("a.jsonl", tmp_path / "alias")
        == expand(str(tmp_path / "alias" / "a.jsonl"), tmp_path / "alias")
        == ["a.jsonl"]
    )


SECRET = [
    "s3://KEY:hunter2@bucket/x",
    "s3://hunter2@bucket/x",
    "gs://b/x?access_token=hunter2",
    "hf://datasets/a/b/x?token=hunter2",
    "s3://b/x?X-Amz-Signature=hunter2",
]


@pytest.mark.parametrize("uri", SECRET)
def test_credentials_are_refused_and_never_repeated(uri, root):
    caught = problem(expand, uri, root)
    assert (
        caught.problems[0].rule == "credentials-in-url"
        and "hunter2" not in str(caught)
        and "hunter2" not in redacted(uri)
    )


NOT_READ = [
    "http://host/x",
    "ftp://host/x",
    "file:///etc/passwd",
    "stdlib:os.py",
    "installed:x",
    "git:repo@c~1",
    "generated:x~1",
]


@pytest.mark.parametrize("uri", NOT_READ)
def test_schemes_that_are_not_read(uri, root):
    assert rule(expand, uri, root) == "unknown-scheme"


def test_schemes():
    named = {
        "s3://b/x": "s3",
        "stdlib:os.py": "stdlib",
        "git:r@c~1": "git",
        "a.jsonl": "",
        "dir:with/colon": "",
        "C:\\x": "",
    }
    assert {path: scheme_of(path) for path in named} == named
    check_uri("hf://datasets/owner/name@main/data/x.parquet")  # this @ is a revision
    assert rule(locate, "stdlib:../../etc/passwd", None) == "outside-data-root"
    assert locate("stdlib:os.py", None).is_file()


@pytest.fixture
def memory(monkeypatch):
    """A file system in memory that answers for s3:// addresses, with etags as object stores have them."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs.clear()
    plain = memory.info

    def info(path, **how):
        found = plain(path, **how)
        return (
            found
            if found["type"] == "directory"
            else found | {"ETag": f'"{hash(memory.store[found["name"]].getvalue())}"'}
        )

    monkeypatch.setattr(memory, "info", info)
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda uri: (memory, uri.split(":/", 1)[1]))
    glob = memory.glob
    monkeypatch.setattr(
        memory, "glob", lambda path, **how: {name.lstrip("/"): one for name, one in glob(path, **how).items()}
    )
    return memory


def test_remote_through_fsspec(root, memory, monkeypatch):
    memory.pipe("/bucket/a.jsonl", b'{"text":"far"}\n')
    memory.pipe("/bucket/b.jsonl", b"")
    assert expand("s3://bucket/*.jsonl", root) == ["s3://bucket/a.jsonl", "s3://bucket/b.jsonl"]
    (frozen,) = freeze(["s3://bucket/a.jsonl"], Store(root / "store"), root)
    assert (frozen.path, frozen.bytes) == ("s3://bucket/a.jsonl", 15) and frozen.sha256.startswith("etag:")
    assert b"".join(Opener(root).pieces(Part(frozen))) == b'{"text":"far"}\n'
    assert rule(freeze, ["s3://bucket/none.jsonl"], Store(root / "store"), root) == "input-missing"

    def no_network(path, **how):
        raise ConnectionError("s3://key:secret@host")

    monkeypatch.setattr(memory, "glob", no_network)
    with pytest.raises(CodemixError, match="cannot list s3://bucket/\\*.jsonl: ConnectionError") as caught:
        expand("s3://bucket/*.jsonl", root)
    assert "secret" not in str(caught.value)
    monkeypatch.setattr(memory, "info", lambda path: {"type": "file", "size": 15})
    assert rule(freeze, ["s3://bucket/a.jsonl"], Store(root / "store"), root) == "no-checksum"


def test_remote_folders_are_no_files_and_a_name_that_exists_is_no_pattern(root, memory):
    for name in (
        "dirs/a.jsonl",
        "dirs/sub/b.jsonl",
        "odd/page?id=1.jsonl",
        "odd/page?id=2.jsonl",
        "odd/p[1].jsonl",
        "odd/p1.jsonl",
    ):
        memory.pipe(f"/bucket/{name}", b"{}")
    assert expand("s3://bucket/dirs/*", root) == ["s3://bucket/dirs/a.jsonl"]
    assert expand("s3://bucket/dirs/**", root) == ["s3://bucket/dirs/a.jsonl", "s3://bucket/dirs/sub/b.jsonl"]
    assert "end the pattern in `/**`" in str(problem(expand, "s3://bucket/dir*", root))
    assert rule(freeze, ["s3://bucket/dirs"], Store(root / "store"), root) == "input-is-folder"
    assert expand(["s3://bucket/odd/p[1].jsonl", "s3://bucket/odd/page?id=1.jsonl"], root) == [
        "s3://bucket/odd/p[1].jsonl",
        "s3://bucket/odd/page?id=1.jsonl",
    ]
    assert expand("s3://bucket/odd/page*", root) == [
        "s3://bucket/odd/page?id=1.jsonl",
        "s3://bucket/odd/page?id=2.jsonl",
    ]


def test_a_remote_object_that_was_replaced_is_refused(root, memory):
    memory.pipe("/bucket/a.jsonl", b'{"text":"old"}\n')
    (frozen,) = freeze(["s3://bucket/a.jsonl"], Store(root / "store"), root)
    memory.pipe("/bucket/a.jsonl", b'{"text":"new"}\n')
    with pytest.raises(CodemixError, match="changed while it was in use") as caught:
        list(Opener(root).pieces(Part(frozen)))
    assert caught.value.problems[0].rule == "input-changed"


def test_a_connection_that_breaks_is_no_damage(root, memory, monkeypatch):
    memory.pipe("/bucket/a.jsonl", b'{"text":"far"}\n' * 9)
    (frozen,) = freeze(["s3://bucket/a.jsonl"], Store(root / "store"), root)
    file = memory.open("/bucket/a.jsonl", "rb")

    def broken(size):
        raise ConnectionResetError("s3://key:secret@host")

    monkeypatch.setattr(memory, "open", lambda path, mode: file)
    monkeypatch.setattr(file, "read", broken)
    caught = problem(lambda: list(Opener(root).lines(Part(frozen))))
    assert "cannot read s3://bucket/a.jsonl: ConnectionResetError" in str(caught) and "secret" not in str(
        caught
    )


def test_freeze_hashes_once(root, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    store.root.mkdir()
    past = time.time() - 100
    for name in ("a.jsonl", "b.jsonl"):
        os.utime(root / name, (past, past))
    first = freeze(["b.jsonl", "a.jsonl"], store, root)
    assert [i.path for i in first] == ["b.jsonl", "a.jsonl"] and len({i.sha256 for i in first}) == 2
    hashed = []
    real = frozen_inputs.file_digest
    monkeypatch.setattr(frozen_inputs, "file_digest", lambda path: hashed.append(path.name) or real(path))
    assert freeze(["b.jsonl", "a.jsonl"], store, root) == first and hashed == []
    (root / "a.jsonl").write_text("other")
    changed = freeze(["b.jsonl", "a.jsonl"], store, root)
    assert hashed == ["a.jsonl"] and changed[0] == first[0] and changed[1].sha256 != first[1].sha256
    freeze(["a.jsonl"], store, root)
    assert hashed == ["a.jsonl", "a.jsonl"]  # changed a moment ago, so its time stamp proves nothing yet


def test_a_store_is_made_for_hashes_that_took_long_alone(root, tmp_path, monkeypatch):
    store = Store(tmp_path / "none")
    freeze(["a.jsonl"], store, root)
    assert not store.root.exists()
    monkeypatch.setattr(frozen_inputs, "_LONG", 1)
    freeze(["a.jsonl"], store, root)
    assert (store.root / ".inputs.json").exists()


def test_freeze_survives_a_damaged_or_unwritable_cache(root, tmp_path):
    store = Store(tmp_path / "store")
    expected = freeze(["a.jsonl"], store, root)
    store.root.mkdir(exist_ok=True)
    for content in ("not json", "[]", json.dumps({str((root / "a.jsonl").resolve()): "nonsense"})):
        (store.root / ".inputs.json").write_text(content)
        assert freeze(["a.jsonl"], store, root) == expected
    (tmp_path / "file").write_text("")
    assert freeze(["a.jsonl"], Store(tmp_path / "file" / "store"), root) == expected


def test_line_parts_cut_at_line_ends_and_keep_row_numbers(tmp_path):
    data = b"".join(b'{"text":"%d%s"}\n' % (i, b"x" * (i * 7 % 90)) for i in range(40_000))
    (tmp_path / "a.jsonl").write_bytes(data)
    opener, given = Opener(tmp_path), Input("a.jsonl", len(data), "")
    whole = list(opener.lines(Part(given)))
    for part_bytes in (1, 300_000, 1_000_000, 10**9):
        parts = opener.line_parts(given, part_bytes)
        assert parts == opener.line_parts(given, part_bytes) and (len(parts) > 1) == (part_bytes < 10**9)
        assert sum(part.size for part in parts) == len(data)
        row = 0
        for part in parts:
            lines = list(opener.lines(part))
            assert part.first_row == row and lines == whole[row : row + len(lines)]
            row += len(lines)
        assert row == len(whole)


def test_a_large_file_with_a_lying_suffix_is_not_cut_into_lines(tmp_path):
    data = gzip.compress(os.urandom(9999))
    (tmp_path / "a.jsonl").write_bytes(data)
    given = Input("a.jsonl", len(data), "")
    assert Opener(tmp_path).line_parts(given, 1) == [Part(given)]
    assert [found.reason for _, found in Opener(tmp_path).lines(Part(given))] == ["wrong_suffix"]


def test_a_link_to_nothing_and_an_empty_path_say_so(tmp_path):
    (tmp_path / "a.jsonl").symlink_to("nowhere.jsonl")
    (tmp_path / "sub").mkdir()
    for path, said in (
        ("a.jsonl", "a.jsonl is a symbolic link that leads to nothing"),
        ("*.jsonl", "a.jsonl is a symbolic link that leads to nothing"),
        ("", "a path is empty"),
        (".", "write `**/*` with the files' suffix"),
        ("sub/", "write `sub/**/*` with the files' suffix"),
    ):
        with pytest.raises(CodemixError) as caught:
            expand(path, tmp_path)
        assert said in str(caught.value.problems[0].render()), path
