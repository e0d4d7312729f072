"""Sources of rows: JSON lines and Parquet say the same, conditions are exact, parts equal the whole."""

import gzip
import io
import json
import pickle
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from support.source_files import jsonl, read, source, write_parquet

from codemix.data.document import Document, Drop, Unreadable
from codemix.data.inputs.conditions import Where, compiled
from codemix.data.inputs.frozen_inputs import freeze
from codemix.data.inputs.opener import Opener
from codemix.data.store.store import Store
from codemix.recipe.language.component import component_class, kinds

SLIM = [
    {
        "text": f"text {i}",
        "meta": {"set": ("C4", "Github", "Wikipedia")[i % 3], "n": i},
        "lang": "en",
        "id": f"row{i}",
    }
    for i in range(30)
]


@pytest.fixture(params=["jsonl", "jsonl.zst", "json.gz", "parquet"])
def slim(request, tmp_path):
    """The same rows in each format, and a source of that kind over them."""
    path = tmp_path / f"slim.{request.param}"
    if request.param == "parquet":
        write_parquet(path, SLIM, row_group_size=7)
        return tmp_path, lambda **fields: source("parquet", paths="slim.*", **fields)
    data = "".join(json.dumps(row) + "\n" for row in SLIM).encode()
    path.write_bytes(
        {"jsonl": bytes, "jsonl.zst": zstandard.compress, "json.gz": gzip.compress}[request.param](data)
    )
    return tmp_path, lambda **fields: source("jsonl", paths="slim.*", **fields)


def test_rows(slim):
    root, make = slim
    name = next(root.glob("slim.*")).name
    assert read(root, make()) == [Document(f"{name}#{i}", f"text {i}") for i in range(30)]
    found = read(root, make(id="id", metadata={"language": "lang", "set": "meta.set", "none": "meta.n"}))
    assert found[4] == Document("row4", "text 4", {"language": "en", "set": "Github", "none": 4})


def test_where_drops_and_counts(slim):
    root, make = slim
    found = read(root, make(where={"meta.set": {"not_in": ["Github"]}}))
    assert len(found) == 30 and sum(item == Drop("where") for item in found) == 10
    assert {d.text for d in found if isinstance(d, Document)} == {
        f"text {i}" for i in range(30) if i % 3 != 1
    }
    assert (
        sum(
            isinstance(d, Document)
            for d in read(root, make(where={"meta.set": "C4", "meta.n": {"min": 3, "max": 9}}))
        )
        == 3
    )


def test_a_slip_in_where_is_no_silent_filter(slim):
    root, make = slim
    found = read(root, make(where={"meta.sett": {"not_in": ["Github"]}}))
    assert all(isinstance(item, Unreadable) for item in found) and "meta.sett" in found[0].detail


def test_parts_say_the_same_as_the_whole(tmp_path):
    rows = [{"text": f"{i} " + "x" * (i % 60 * 60)} for i in range(3000)]
    jsonl(tmp_path / "a.jsonl", rows)
    write_parquet(tmp_path / "a.parquet", rows, row_group_size=100)
    for kind, part_bytes in (("jsonl", 1_000_000), ("parquet", 2000)):
        made = source(kind, paths=f"a.{kind}")
        (frozen,) = freeze(made.inputs(tmp_path), Store(tmp_path / "s"), tmp_path)
        assert len(made.parts(frozen, Opener(tmp_path), part_bytes)) > 3
        whole = read(tmp_path, made)
        assert [d.text for d in whole] == [r["text"] for r in rows] and read(
            tmp_path, made, part_bytes
        ) == whole


NAMES = st.text(alphabet="abc", min_size=1, max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b"])
VALUES = SCALARS | st.lists(SCALARS, max_size=2)
WHERE = TypeAdapter(Where)


@given(
    st.dictionaries(NAMES, VALUES, max_size=4),
    NAMES,
    st.lists(st.sampled_from(["a", "b", 1, True]), min_size=1, max_size=3),
)
@settings(max_examples=150)
def test_conditions_another_way(row, name, allowed):
    same = lambda x, y: x == y and isinstance(x, bool) == isinstance(y, bool)  # noqa: E731
    for word in ("in", "not_in", "all_in"):
        passes = compiled(WHERE.validate_python({name: {word: allowed}}))
        if row.get(name) is None:  # null means missing
            assert passes(row) == (False, name)
            continue
        items = row[name] if isinstance(row[name], list) else [row[name]]
        hits = [any(same(item, a) for a in allowed) for item in items]
        assert passes(row) == (
            {"in": any(hits), "not_in": not any(hits), "all_in": bool(hits) and all(hits)}[word],
            "",
        )


def test_a_number_may_be_a_decimal_of_parquet(tmp_path):
    write_parquet(tmp_path / "a.parquet", [{"text": str(n), "n": Decimal(n)} for n in (1, 5)])
    found = read(tmp_path, source("parquet", paths="a.parquet", where={"n": {"min": 3}}))
    assert found == [Drop("where"), Document("a.parquet#1", "5", {})]


@pytest.mark.parametrize("kind", kinds("source"))
def test_sources_travel(kind):
    cls = component_class("source", kind)
    for example in cls.EXAMPLES:
        made = cls.model_validate(example)
        assert pickle.loads(pickle.dumps(made)) == made


def test_components_import_nothing_heavy():
    script = (
        "import sys; from codemix.recipe.language.component import component_class, kinds\n"
        "[component_class(f, k) for f in ('source', 'op') for k in kinds(f)]\n"
        "import codemix.data.inputs.frozen_inputs, codemix.data.inputs.opener\n"
        "print([m for m in ('numpy', 'pyarrow', 'datatrove', 'jax', 'grain', 'fsspec', 'orjson', 'zstandard') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_unreadable_travels():
    bad = Unreadable("bad_json", "a#1", "why", rest_lost=True)
    again = pickle.loads(pickle.dumps(bad))
    assert (again.reason, again.where, again.detail, again.rest_lost) == ("bad_json", "a#1", "why", True)
    assert str(again) == "a#1: bad_json (why)"


def test_huggingface_names_files_at_a_revision(monkeypatch, tmp_path):
    asked = []

    class Hub:
        def isfile(self, path):
            return False

        def glob(self, path, *, detail):
            asked.append(path)
            return {f"datasets/owner/name@abc/data/{i}.parquet": {"type": "file"} for i in (1, 0)}

    monkeypatch.setattr("fsspec.core.url_to_fs", lambda uri: (Hub(), uri.removeprefix("hf://")))
    made = source("huggingface", dataset="owner/name", revision="abc", paths="data/*.parquet")
    assert made.inputs(tmp_path) == [
        "hf://datasets/owner/name@abc/data/0.parquet",
        "hf://datasets/owner/name@abc/data/1.parquet",
    ]
    assert asked == ["datasets/owner/name@abc/data/*.parquet"]
    with pytest.raises(ValueError, match="String should match"):
        source("huggingface", dataset="owner/name", revision="a/../b")


def test_one_pass_reads_what_a_plain_loop_reads(tmp_path):
    """The reader against the plainest loop that could be written, over compressed rows of every size."""
    rows = [{"text": "é" * (i * i % 5000), "n": i} for i in range(600)]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(data))
    with zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO((tmp_path / "a.jsonl.zst").read_bytes())
    ) as stream:
        plain = [json.loads(line)["text"] for line in io.TextIOWrapper(stream, "utf-8")]
    assert [d.text for d in read(tmp_path, source("jsonl", paths="a.jsonl.zst"))] == plain


def test_metadata_of_parquet_is_written_as_json_however_deep(tmp_path):
    about = {
        "when": datetime(2020, 1, 2),
        "sizes": [Decimal("1.5")],
        "raw": {"bytes": b"caf\xc3\xa9", "none": None},
    }
    write_parquet(tmp_path / "a.parquet", [{"text": "x", "about": about, "day": date(2020, 1, 2)}])
    (doc,) = read(tmp_path, source("parquet", paths="a.parquet", metadata={"about": "about", "day": "day"}))
    assert doc.meta == {
        "about": {"when": "2020-01-02 00:00:00", "sizes": [1.5], "raw": {"bytes": "café", "none": None}},
        "day": "2020-01-02",
    }
    assert json.loads(json.dumps(doc.meta)) == doc.meta


def test_a_threshold_on_what_is_no_number_is_told(tmp_path):
    rows = [{"text": "a", "score": score} for score in (0.9, 0.1, "0.9", True, [1], None)]
    jsonl(tmp_path / "a.jsonl", rows)
    made = read(tmp_path, source("jsonl", paths="a.jsonl", where={"score": {"min": 0.5}}))
    assert made[0].text == "a" and made[1] == Drop("where")
    assert [item.reason for item in made[2:]] == ["not_a_number"] * 3 + ["missing_field"]
    assert made[2].where == "a.jsonl, row 3" and "found the text `0.9`" in made[2].detail
