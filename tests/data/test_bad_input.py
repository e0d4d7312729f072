"""What real files do: cut off, misnamed, damaged, exploding, in pieces.
Each is read right or reported with its place, never lost.
"""

import bz2
import gzip
import io
import json
import tarfile
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.data.build.apply_ops import HINTS
from codemix.data.document import Document, Drop, Unreadable
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.errors import CodemixError
from codemix.recipe.language.component import component_class

ROWS = [{"text": f"document {i} " + "word " * (i % 50), "meta": {"n": i}} for i in range(2000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


LONG = zstandard.ZstdCompressionParameters.from_level(
    3, window_log=28, enable_ldm=True, write_content_size=False
)


def zstd(data, **how):
    return zstandard.ZstdCompressor(**how).compress(data)


def source(kind, **fields):
    return component_class("source", kind).model_validate({"kind": kind, **fields})


def read(tmp_path, name, data, kind="jsonl", opener=None, **fields):
    """Everything a source yields of one file of these bytes."""
    (tmp_path / name).write_bytes(data)
    made = source(kind, paths=name, **fields)
    return list(made.read(Part(Input(name, len(data), "")), opener or Opener(tmp_path)))


def texts(found):
    return [doc.text for doc in found if isinstance(doc, Document)]


def bad(found):
    return [item for item in found if isinstance(item, Unreadable)]


GOOD = {
    "plain": ("a.jsonl", LINES),
    "no line end at the end": ("a.jsonl", LINES[:-1]),
    "windows line ends": ("a.ndjson", LINES.replace(b"\n", b"\r\n")),
    "blank lines": ("a.jsonl", LINES.replace(b"\n", b"\n\n")),
    "byte order mark": ("a.jsonl", b"\xef\xbb\xbf" + LINES),
    "gzip": ("a.jsonl.gz", gzip.compress(LINES)),
    "gzip members": (
        "a.json.gz",
        b"".join(gzip.compress(LINES[i : i + 1000]) for i in range(0, len(LINES), 1000)),
    ),
    "gzip with padding": ("a.jsonl.gz", gzip.compress(LINES) + b"\0" * 513),
    "gzip with an empty member": (
        "a.jsonl.gz",
        gzip.compress(b"") + gzip.compress(LINES) + gzip.compress(b""),
    ),
    "zstd": ("a.jsonl.zst", zstd(LINES)),
    "zstd under its long name": ("a.JSONL.ZSTD", zstd(LINES)),
    "zstd frames": ("a.jsonl.zst", b"".join(zstd(LINES[i : i + 1000]) for i in range(0, len(LINES), 1000))),
    "zstd without sizes, with checks": (
        "a.jsonl.zst",
        zstd(LINES, write_content_size=False, write_checksum=True),
    ),
    "zstd with an empty frame": ("a.jsonl.zst", zstd(b"") + zstd(LINES) + zstd(b"")),
    "zstd with a skippable frame": ("a.jsonl.zst", b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + zstd(LINES)),
    "zstd with a long window": ("a.jsonl.zst", zstd(LINES, compression_params=LONG)),
}


@pytest.mark.parametrize("case", GOOD)
def test_read_whole(tmp_path, case):
    name, data = GOOD[case]
    found = read(tmp_path, name, data)
    assert bad(found) == [] and texts(found) == [row["text"] for row in ROWS]


def test_rows_are_line_numbers(tmp_path):
    found = read(tmp_path, "a.jsonl", b'{"text":"a"}\n\n{"text":"b"}\n')
    assert [doc.id for doc in found] == ["a.jsonl#0", "a.jsonl#2"]


DICTIONARY = zstandard.train_dictionary(2000, [f"document {i} word word".encode() * 30 for i in range(200)])
FILE = {  # case -> name, bytes, reason: nothing after the place can be read
    "zstd cut off": ("a.jsonl.zst", zstd(LINES)[:-100], "truncated"),
    "zstd cut off between blocks": ("a.jsonl.zst", zstd(LINES, write_content_size=False)[:-3], "truncated"),
    "zstd second frame cut off": ("a.jsonl.zst", zstd(LINES) + zstd(LINES)[:40], "truncated"),
    "gzip cut off": ("a.jsonl.gz", gzip.compress(LINES)[:-100], "truncated"),
    "gzip without its checksum": ("a.jsonl.gz", gzip.compress(LINES)[:-8], "truncated"),
    "gzip with half its checksum": ("a.jsonl.gz", gzip.compress(LINES)[:-1], "truncated"),
    "gzip second member cut off": (
        "a.jsonl.gz",
        gzip.compress(LINES) + gzip.compress(LINES)[:30],
        "truncated",
    ),
    "gzip with a wrong checksum": ("a.jsonl.gz", gzip.compress(LINES)[:-8] + b"\0" * 8, "damaged"),
    "gzip with something after it": ("a.jsonl.gz", gzip.compress(LINES) + b"junk", "damaged"),
    "zstd with something after it": ("a.jsonl.zst", zstd(LINES) + b"junk", "damaged"),
    "zstd with a wrong checksum": (
        "a.jsonl.zst",
        zstd(LINES, write_checksum=True)[:-4] + b"\0\0\0\0",
        "damaged",
    ),
    "an empty .gz": ("a.jsonl.gz", b"", "truncated"),
    "an empty .zst": ("a.jsonl.zst", b"", "truncated"),
    "zstd called plain": ("a.jsonl", zstd(LINES), "wrong_suffix"),
    "gzip called plain": ("a.json", gzip.compress(LINES), "wrong_suffix"),
    "gzip called zstd": ("a.jsonl.zst", gzip.compress(LINES), "wrong_suffix"),
    "plain called zstd": ("a.jsonl.zst", LINES, "wrong_suffix"),
    "plain called gzip": ("a.jsonl.gz", LINES, "wrong_suffix"),
    "xz called plain": ("a.jsonl", b"\xfd7zXZ\0" + LINES, "wrong_suffix"),
    "parquet called plain": ("a.jsonl", b"PAR1" + LINES, "wrong_suffix"),
    "zstd that needs a dictionary": ("a.jsonl.zst", zstd(LINES, dict_data=DICTIONARY), "damaged"),
    "blank lines by the million": ("a.jsonl.gz", gzip.compress(b"\n" * (17 << 20)), "expands_too_much"),
    "a gzip bomb": ("a.jsonl.gz", gzip.compress(b" " * (65 << 20)), "expands_too_much"),
    "a zstd bomb": ("a.jsonl.zst", zstd(b" " * (65 << 20)), "expands_too_much"),
}


@pytest.mark.parametrize("case", FILE)
def test_the_rest_of_a_file_is_lost(tmp_path, case):
    name, data, reason = FILE[case]
    *before, last = read(tmp_path, name, data)
    assert (
        isinstance(last, Unreadable)
        and last.reason == reason
        and last.rest_lost
        and last.where.startswith(f"{name}, row ")
    ), last
    assert (
        texts(before) == [row["text"] for row in ROWS + ROWS][: len(before)]
    )  # what came before is right, and in order


@pytest.mark.parametrize("rows", [3, 141, 20_000])
@pytest.mark.parametrize("cut", [1, 9, 3000])
def test_whole_lines_before_a_cut_are_kept_of_small_files_as_of_large_ones(tmp_path, rows, cut):
    data = b"".join(b'{"text": "document %d %d"}\n' % (i, i * i * i) for i in range(rows))
    packed = gzip.compress(data)
    packed = packed[: max(len(packed) - cut, len(packed) // 2)]
    came = zlib.decompressobj(31).decompress(packed)
    *found, last = read(tmp_path, "a.jsonl.gz", packed)
    assert len(found) == came.count(b"\n") and (len(found) > 0 or rows == 3)
    assert (last.reason, last.rest_lost, last.where) == (
        "truncated",
        True,
        f"a.jsonl.gz, row {len(found) + 1:,}",
    )
    assert texts(found) == [f"document {i} {i * i * i}" for i in range(len(found))]


def test_an_empty_plain_file_holds_nothing(tmp_path):
    assert read(tmp_path, "a.jsonl", b"") == read(tmp_path, "a.jsonl", b"\n\n") == []


LINE = {  # case -> the line, reason, a word of the message
    "broken JSON": (b'{"text": "x"', "bad_json", "unexpected end"),
    "two documents in a line": (b'{"text":"a"} {"text":"b"}', "bad_json", ""),
    "an array of rows": (b'[{"text":"a"},', "bad_json", "JSON array"),
    "a byte that is not UTF-8": (b'{"text": "caf\xe9"}', "bad_utf8", "0xe9"),
    "UTF-16": ('{"text":"a"}'.encode("utf-16-le")[:-1], "utf16", "UTF-16"),
    "half a surrogate pair": (b'{"text": "\\ud800"}', "bad_json", ""),
    "NaN": (b'{"text": NaN}', "bad_json", ""),
    "no text": (b'{"txt": "x", "id": 3}', "missing_text", "fields here: txt, id"),
    "a null text": (b'{"text": null}', "missing_text", "null"),
    "a number for a text": (b'{"text": 5}', "bad_text", "int"),
    "a list": (b'["text"]', "not_a_row", "list"),
    "a string": (b'"text"', "not_a_row", "str"),
}


@pytest.mark.parametrize("case", LINE)
@pytest.mark.parametrize("fields", [{}, {"metadata": {"n": "meta.n"}}])
def test_one_bad_line(tmp_path, case, fields):
    line, reason, said = LINE[case]
    found = read(tmp_path, "a.jsonl", b'{"text":"before"}\n' + line + b'\n{"text":"after"}\n', **fields)
    assert len(found) == 3 and texts(found) == ["before", "after"]
    assert (found[1].reason, found[1].where, found[1].rest_lost) == (
        reason,
        "a.jsonl, row 2",
        False,
    ) and said in found[1].detail, found[1].detail


A_LINE = st.sampled_from(
    [b'{"text":"a"}', b"", b"broken", b'{"text":5}', b'{"text":"b","set":"x"}', b'"\xff"', b" "]
)


@given(st.lists(A_LINE, max_size=30), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_line_is_accounted_for(tmp_path_factory, lines, ended):
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    found = read(
        tmp_path_factory.mktemp("x"), "a.jsonl", data, where={"set": {"not_in": ["x"], "missing": "keep"}}
    )
    assert len(found) == sum(bool(line.strip()) for line in lines)


def test_a_large_line(tmp_path):
    large = "x" * 5_000_000
    data = json.dumps({"text": large}).encode() + b'\n{"text":"after"}\n'
    for name, packed in (("a.jsonl", data), ("a.jsonl.zst", zstd(data)), ("a.jsonl.gz", gzip.compress(data))):
        assert texts(read(tmp_path, name, packed, max_expansion=10_000)) == [large, "after"]


@pytest.mark.parametrize("last", [b"", b'{"text":"after"}\n'])
def test_a_line_too_long_is_reported_and_the_rest_is_read(tmp_path, last):
    data = b'{"text":"before"}\n{"text":"' + b"x" * 3_000_000 + b'"}\n' + last
    found = read(tmp_path, "a.jsonl", data, opener=Opener(tmp_path, max_line_bytes=1_000_000))
    assert [getattr(item, "reason", getattr(item, "text", "")) for item in found] == [
        "before",
        "line_too_long",
        *(["after"] if last else []),
    ]
    assert found[1].where == "a.jsonl, row 2" and [d.id for d in found[2:]] == (["a.jsonl#2"] if last else [])


def test_a_bomb_costs_little_memory_and_a_limit_lets_it_through(tmp_path):
    bomb = gzip.compress(b" " * (65 << 20))
    allowed = read(tmp_path, "a.jsonl.gz", bomb, max_expansion=2000)
    assert allowed == []  # blank, but read to its end


@given(
    st.binary(max_size=3000),
    st.lists(st.integers(0, 3000), max_size=4),
    st.sampled_from([zstd, gzip.compress]),
)
@settings(max_examples=60, deadline=None)
def test_decompression_is_exact(data, cuts, compress):
    from codemix.data.inputs.decompression import decompressed

    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    packed = b"".join(compress(data[a:b]) for a, b in zip(edges, edges[1:], strict=False))
    name = "x.zst" if compress is zstd else "x.gz"
    assert b"".join(decompressed(io.BytesIO(packed), name)) == data


def test_decompression_in_bounded_pieces(tmp_path):
    """Output that still waits inside the decompressor when the input is used up is not lost."""
    from codemix.data.inputs.decompression import decompressed

    for size in ((1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20):
        data = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
        for name, packed in (("x.gz", gzip.compress(data)), ("x.zst", zstd(data))):
            assert b"".join(decompressed(io.BytesIO(packed), name, max_expansion=1e9)) == data


def test_a_file_that_changes_is_noticed(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES)
    with pytest.raises(CodemixError, match="changed while it was in use"):
        list(source("jsonl", paths="a.jsonl").read(Part(Input("a.jsonl", 5, "")), Opener(tmp_path)))


def table(tmp_path, columns, **how):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), tmp_path / "a.parquet", **how)
    return (tmp_path / "a.parquet").read_bytes()


def test_parquet_columns(tmp_path):
    import pyarrow as pa

    rows = ["one", None, "", "four"]
    good = read(
        tmp_path,
        "a.parquet",
        table(tmp_path, {"text": rows, "n": [1, 2, 3, 4]}),
        "parquet",
        metadata={"n": "n"},
    )
    assert [getattr(d, "text", None) for d in good] == ["one", None, "", "four"] and good[0].meta == {"n": 1}
    assert (good[1].reason, good[1].where) == ("missing_text", "a.parquet, row 2")
    coded = table(tmp_path, {"text": pa.array(["a", "b", "a"]).dictionary_encode()})
    assert texts(read(tmp_path, "a.parquet", coded, "parquet")) == ["a", "b", "a"]
    nested = table(tmp_path, {"meta": [{"text": "in"}, {"text": "side"}]})
    assert texts(read(tmp_path, "a.parquet", nested, "parquet", text="meta.text")) == ["in", "side"]
    for columns, reason, said in (
        ({"content": ["a"]}, "missing_column", "columns here: content"),
        ({"text": [b"a"]}, "column_type", "binary"),
        ({"text": pa.array([None], pa.null())}, "column_type", "null"),
        ({"text": [1]}, "column_type", "int64"),
    ):
        (only,) = read(tmp_path, "a.parquet", table(tmp_path, columns), "parquet")
        assert only.reason == reason and said in only.detail and only.rest_lost


def test_parquet_that_breaks_its_promise_of_utf8(tmp_path):
    import pyarrow as pa

    broken = pa.array([b"a", b"\xff", b"c"], pa.binary()).view(pa.string())
    found = read(tmp_path, "a.parquet", table(tmp_path, {"text": broken}), "parquet")
    assert texts(found) == ["a", "c"] and (found[1].reason, found[1].where) == (
        "bad_utf8",
        "a.parquet, row 2",
    )


@pytest.mark.parametrize(
    ("cut", "reason"), [(0, "truncated"), (3, "wrong_suffix"), (50, "damaged"), (-20, "damaged")]
)
def test_parquet_cut_off(tmp_path, cut, reason):
    data = table(tmp_path, {"text": [f"row {i}" for i in range(500)]})[:cut]
    (only,) = read(tmp_path, "a.parquet", data, "parquet")
    assert only.reason == reason and only.rest_lost


def test_parquet_with_a_damaged_page(tmp_path):
    data = bytearray(
        table(
            tmp_path,
            {"text": [f"row {i} {i * i}" for i in range(5000)]},
            row_group_size=1000,
            compression="zstd",
        )
    )
    data[len(data) // 3 : len(data) // 3 + 64] = b"\xff" * 64
    found = read(tmp_path, "a.parquet", bytes(data), "parquet")
    assert (
        bad(found)[-1].reason == "damaged"
        and bad(found)[-1].rest_lost
        and all(isinstance(d, (Document, Unreadable)) for d in found)
    )


@pytest.mark.parametrize("kind", ["text", "source_tree"])
def test_text_that_is_not_utf8(tmp_path, kind):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_bytes(b"x = 'caf\xe9'\n")
    made = source("text", paths="src/a.py") if kind == "text" else source("source_tree", path="src")
    (only,) = made.read(Part(Input("src/a.py", 11, "")), Opener(tmp_path))
    assert (only.reason, only.where) == ("bad_utf8", "src/a.py") and "0xe9" in only.detail
    if kind == "source_tree":
        part = Part(Input("src/a.py", 11, ""))
        (dropped,) = source("source_tree", path="src", not_utf8="drop").read(part, Opener(tmp_path))
        assert dropped == Drop("not_utf8")
        (latin,) = source("source_tree", path="src", not_utf8="latin-1").read(part, Opener(tmp_path))
        assert latin.text == "x = 'café'\n"


UNLIKE_JSON_LINES = {
    "UTF-16": ('{"text": "a"}\n'.encode("utf-16"), "utf16", "UTF-16"),
    "UTF-16 without a mark": ('{"text": "a"}\n'.encode("utf-16-le"), "utf16", "UTF-16"),
    "UTF-32": ('{"text": "a"}\n'.encode("utf-32-be"), "utf16", "UTF-16"),
    "compressed twice": (gzip.compress(b'{"text": "a"}'), "bad_utf8", "compressed twice"),
    "carriage returns": (b'{"text": "a"}\r{"text": "b"}\r', "bad_json", "carriage returns alone"),
    "JSON text sequence": (b'\x1e{"text": "a"}\n', "bad_json", "RFC 7464"),
    "zero bytes": (b"\0\0\0\n", "bad_json", "expected a JSON value"),
}


@pytest.mark.parametrize("what", UNLIKE_JSON_LINES)
def test_a_line_that_is_something_else_is_named(tmp_path, what):
    data, reason, detail = UNLIKE_JSON_LINES[what]
    first = bad(read(tmp_path, "a.jsonl.gz", gzip.compress(data)))[0]
    assert first.reason == reason and detail in first.detail and first.where == "a.jsonl.gz, row 1"


def tar_of(data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("a.jsonl")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


NOT_READ = {
    "a.jsonl.gz": (LINES, "take that suffix out of its name"),
    "a.jsonl": (tar_of(LINES), "it holds tar data; unpack it"),
    "b.jsonl": (tar_of(LINES) * 300, "it holds tar data; unpack it"),  # large enough to be read in parts
    "c.jsonl": (b"\x04\x22\x4d\x18" + LINES, "it holds lz4 data; unpack it"),
    "d.jsonl": (bz2.compress(LINES), "it holds bzip2 data; unpack it"),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_what_is_packed_otherwise_is_named_with_its_remedy(tmp_path, name):
    data, said = NOT_READ[name]
    (tmp_path / name).write_bytes(data)
    given = Input(name, len(data), "")
    made = source("jsonl", paths=name)
    (part,) = made.parts(given, Opener(tmp_path), 2**20)
    (found,) = made.read(part, Opener(tmp_path))
    assert found.reason == "wrong_suffix" and said in found.detail and "unpack it" in HINTS["wrong_suffix"]


def test_a_tar_inside_gzip_is_named(tmp_path):
    first = bad(read(tmp_path, "a.jsonl.gz", gzip.compress(tar_of(LINES))))[0]
    assert "it holds tar data" in first.detail


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1234\n"
WHOLE = {
    "a.ipynb": "notebooks",
    "a.jsonl": "jsonl",
    "a.jsonl.gz": "jsonl",
    "a.parquet": "parquet",
    "a.txt": "text",
}


@pytest.mark.parametrize("name", [*WHOLE, "a.jsonl.zst", "a.txt.gz"])
def test_a_pointer_of_git_lfs_is_named_by_every_reader(tmp_path, name):
    first = read(tmp_path, name, POINTER, WHOLE.get(name) or ("jsonl" if "jsonl" in name else "text"))[0]
    assert first.reason == "lfs_pointer" and "Git LFS" in first.detail


def test_a_notebook_that_is_no_text_is_named(tmp_path):
    notebook = json.dumps({"cells": []})
    (wide,) = read(tmp_path, "a.ipynb", notebook.encode("utf-16"), "notebooks")
    (binary,) = read(tmp_path, "b.ipynb", b"{\0}" * 3, "notebooks")
    assert (wide.reason, binary.reason) == ("utf16", "binary")
