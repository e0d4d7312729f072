"""What is no text is told from its bytes, and file names are written as text without loss."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.source_files import read, source

from codemix.data.document import Document, Unreadable
from codemix.data.inputs.locations import escaped_name, unescaped_name
from codemix.data.text.binary import mostly_control, no_text

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a2146" * 8 + b"\nsize 132735105\n"
TEXT = "SELECT 1;\nGO\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (POINTER, "lfs_pointer"),
        (POINTER.replace(b"oid", b"ext-0-foo sha256:00\noid"), "lfs_pointer"),
        (b"version https://hawser.github.com/spec/v1\noid sha256:00\nsize 1\n", "lfs_pointer"),
        (b"version https://git-lfs.github.com/spec/v1\nis how each pointer begins\n", None),
        (POINTER + b"This page explains the lines above.\n" * 40, None),
        (TEXT.encode("utf-16"), "utf16"),
        (TEXT.encode("utf-16-le"), "utf16"),
        (TEXT.encode("utf-16-be"), "utf16"),
        ("Привет, SQL! SELECT 1".encode("utf-16-le"), "utf16"),
        ("\ufeff漢字".encode("utf-16-be"), "utf16"),
        (TEXT.encode("utf-32"), "utf16"),
        (b"PK\x00\x00abc\x00\x00\x00" * 50, "binary"),
        (b"a\x00", "utf16"),
        (b"text with one zero byte \x00 in it.", "binary"),
        (b"\x00" * 100, "binary"),
        (b"", None),
        (b"caf\xe9", None),
        ("漢字 é".encode(), None),
        (b"\xef\xbb\xbfx = 1\n", None),
    ],
)
def test_no_text(data, reason):
    assert no_text(data) == reason


def test_latin_1_has_few_control_characters():
    assert not mostly_control("Grüße, ça va?\f\t\r\n\x1b[0m".encode("latin-1"))
    assert mostly_control(bytes(range(1, 256)))
    assert not mostly_control(b"")


FILES = {
    "a.py": b"x = 1\n",
    "caf\u00e9.py": b"x = 2\n",
    "clip.ts": bytes([0x47, 0x40, 0x11, 0x10]) + bytes(i * 37 % 251 for i in range(2000)),
    "coded.s": bytes(i % 255 + 1 for i in range(2000)),
    "latin.cs": "// Grüße\n".encode("latin-1"),
    "map.json": POINTER,
    "old.cs": TEXT.encode("utf-16"),
    "packed.s": b"PK\x00\x00abc\x00\x00\x00" * 50,
    "script.sql": TEXT.encode("utf-16-le"),
}
ALWAYS = {
    "a.py": "text",
    "caf\u00e9.py": "text",
    "clip.ts": "binary",
    "map.json": "lfs_pointer",
    "packed.s": "binary",
}
BY_POLICY = {
    "error": {
        "coded.s": "! bad_utf8",
        "latin.cs": "! bad_utf8",
        "old.cs": "! utf16",
        "script.sql": "! utf16",
    },
    "drop": {"coded.s": "not_utf8", "latin.cs": "not_utf8", "old.cs": "utf16", "script.sql": "utf16"},
    "latin-1": {"coded.s": "binary", "latin.cs": "text", "old.cs": "utf16", "script.sql": "utf16"},
}


def outcome(item):
    if isinstance(item, Document):
        return "text"
    return f"! {item.reason}" if isinstance(item, Unreadable) else item.reason


@pytest.mark.parametrize("policy", BY_POLICY)
@pytest.mark.parametrize("kind", ["source_tree", "git"])
def test_what_becomes_of_each_file_of_a_tree(tmp_path, kind, policy):
    for name, data in FILES.items():
        (tmp_path / "tree").mkdir(exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(data)
    if kind == "git":
        commit(tmp_path / "tree")
    found = map(outcome, read(tmp_path, source(kind, path="tree", not_utf8=policy)))
    expected = ALWAYS | BY_POLICY[policy]
    # git orders by the bytes of a path, as here the characters do
    assert dict(zip(sorted(FILES), found, strict=True)) == expected


def test_text_that_is_no_text_is_unreadable_with_its_reason(tmp_path):
    for name, data in FILES.items():
        (tmp_path / f"{name}.txt").write_bytes(data)
    found = dict(zip(sorted(FILES), map(outcome, read(tmp_path, source("text", paths="*.txt"))), strict=True))
    assert found == {
        name: {"binary": "! binary", "lfs_pointer": "! lfs_pointer"}.get(was, was)
        for name, was in (ALWAYS | BY_POLICY["error"]).items()
    }


def commit(folder):
    git = [
        "git",
        "-C",
        str(folder),
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@x",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "core.autocrlf=false",
    ]
    try:
        for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "one"]):
            subprocess.run([*git, *words], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")


NAMES = [
    b"n\xe9.py",
    b"n\xe8.py",
    b"n\\xe9.py",
    b"n\\x5cxe9.py",
    "n\u00e9.py".encode(),
    b"n\xef\xbf\xbd.py",
    b"n\\m.py",
    b"\xff\xfe/m.py",
]


@pytest.mark.parametrize("kind", ["source_tree", "git", "text"])
def test_names_that_are_not_utf8_stay_apart(tmp_path, kind):
    (tmp_path / "tree").mkdir()
    for number, name in enumerate(NAMES):
        path = os.path.join(os.fsencode(tmp_path / "tree"), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(path, "wb") as file:
                file.write(b"x = %d\n" % number)
            os.utime(path, (1, 1))  # old enough that its hash is remembered, in JSON
        except OSError:
            pytest.skip("this file system takes names in UTF-8 only")
    if kind == "git":
        commit(tmp_path / "tree")
    found = read(
        tmp_path, source(kind, paths="tree/**/*.py") if kind == "text" else source(kind, path="tree")
    )
    by_text = {d.text: d.id.removesuffix("#0").split("/", 1)[1] for d in found}
    assert by_text == {
        f"x = {number}\n": escaped_name(os.fsdecode(name)) for number, name in enumerate(NAMES)
    }
    assert all(id.encode() for id in by_text.values())  # every one is UTF-8


@given(st.binary(), st.binary())
def test_an_escaped_name_is_read_back(first, second):
    first, second = (
        name.replace(b"%", b"\\x").decode("utf-8", "surrogateescape") for name in (first, second)
    )
    assert unescaped_name(escaped_name(first)).encode("utf-8", "surrogateescape") == first.encode(
        "utf-8", "surrogateescape"
    )
    assert (escaped_name(first) == escaped_name(second)) == (first == second)


@pytest.mark.parametrize("name", NAMES)
def test_escaped_names(name):
    text = os.fsdecode(name)
    assert unescaped_name(escaped_name(text)) == text
