"""Values of rows are kept exactly: ids are never rounded or cut,
metadata and both kinds of `where` see one and the same value.
"""

import json
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.source_files import jsonl, read, source, write_parquet

from codemix.data.document import Document, Drop, Unreadable
from codemix.data.inputs.decompression import Damaged
from codemix.data.inputs.values import MAX_DEPTH, Digits, id_text, plain
from codemix.recipe.language.component import component_class


def lines(path, *numbers):
    path.write_text("".join(f'{{"text": "x", "v": {number}}}\n' for number in numbers))


EXACT = {  # digits in the file -> as an id, as metadata
    "7": ("7", 7),
    "-9223372036854775808": ("-9223372036854775808", -(2**63)),
    "18446744073709551615": ("18446744073709551615", 2**64 - 1),
    "18446744073709551616": ("18446744073709551616", "18446744073709551616"),
    "18446744073709551617": ("18446744073709551617", "18446744073709551617"),
    "-9223372036854775809": ("-9223372036854775809", "-9223372036854775809"),
    "1.5": ("1.5", 1.5),
    "1.10": ("1.10", 1.1),
    "0.10000000000000000555": ("0.10000000000000000555", "0.10000000000000000555"),
    "9007199254740993.0": ("9007199254740993.0", "9007199254740993.0"),
    "1e5": ("1e5", 100000.0),
    "1e-999": ("1e-999", "1e-999"),
    "1e-99999999999999999999999": ("1e-99999999999999999999999", "1e-99999999999999999999999"),
}


@pytest.mark.parametrize("digits", EXACT)
def test_numbers_of_json_keep_every_digit(tmp_path, digits):
    lines(tmp_path / "a.jsonl", digits)
    (doc,) = read(tmp_path, source("jsonl", paths="a.jsonl", id="v", metadata={"v": "v", "inside": "v"}))
    assert (doc.id, doc.meta["v"]) == EXACT[digits] and type(doc.meta["v"]) is type(EXACT[digits][1])


@given(st.decimals(allow_nan=False, allow_infinity=False))
@settings(max_examples=200)
def test_a_number_is_kept_or_its_text_is(number):
    text = f"{number:f}" if abs(number.adjusted()) < 50 else str(number)
    kept = plain(Digits(text), "v")
    assert Decimal(kept if isinstance(kept, str) else repr(kept)) == number
    assert json.loads(json.dumps(kept)) == kept and id_text(Digits(text), "v") == text


def test_a_fast_and_an_exact_reading_agree(tmp_path):
    rows = [
        {"text": f"t{i}", "v": i if i % 2 else i / 2, "more": {"list": [i, {"deep": i / 4}], "none": None}}
        for i in range(50)
    ]
    jsonl(tmp_path / "a.jsonl", rows)
    found = read(tmp_path, source("jsonl", paths="a.jsonl", metadata={"v": "v", "more": "more"}))
    assert [d.meta for d in found] == [{"v": row["v"], "more": row["more"]} for row in rows]


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
def test_what_names_nothing_is_no_id(tmp_path, value):
    jsonl(tmp_path / "a.jsonl", [{"text": "x", "v": value}])
    (bad,) = read(tmp_path, source("jsonl", paths="a.jsonl", id="v"))
    assert (bad.reason, bad.where) == ("bad_id", "a.jsonl, row 1") and type(value).__name__ in bad.detail


@pytest.mark.parametrize("how", [{"metadata": {"v": "v"}}, {"where": {"v": {"not_in": [1]}}}, {"id": "v"}])
@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 900, 3000])
def test_deep_metadata_is_one_unreadable_row(tmp_path, how, depth):
    """Floats inside make the row be read twice, once by a reader with a limit of its own."""
    nested = "[" * depth + "0.5" + "]" * depth
    (tmp_path / "a.jsonl").write_text(f'{{"text": "x", "v": {nested}}}\n{{"text": "y", "v": 2}}\n')
    first, second = read(tmp_path, source("jsonl", paths="a.jsonl", **how))
    assert isinstance(second, Document)
    if depth == MAX_DEPTH and "id" not in how:
        assert isinstance(first, Document)
    else:
        assert isinstance(first, Unreadable) and first.where == "a.jsonl, row 1" and not first.rest_lost


DATES = {
    "day": date(2022, 1, 8),
    "at": datetime(2022, 1, 8, 1, 2, 3),
    "n": Decimal("1.5"),
    "raw": b"caf\xc3\xa9",
    "f": 0.25,
    "text": "x",
}


@pytest.mark.parametrize("field", [f for f in DATES if f != "text"])
def test_both_kinds_of_where_see_what_metadata_keeps(tmp_path, field):
    write_parquet(tmp_path / "a.parquet", [DATES, DATES | {field: None}])
    kept, without = read(tmp_path, source("parquet", paths="a.parquet", metadata={"v": field}))
    assert (
        kept.meta
        == {
            "v": {"day": "2022-01-08", "at": "2022-01-08 01:02:03", "n": 1.5, "raw": "café", "f": 0.25}[field]
        }
        and without.meta == {}
    )
    for missing, after in (("keep", True), ("drop", False)):
        for value, same in ((kept.meta["v"], True), ("other", False)):
            condition = {"in": [value], "missing": missing}
            of_source = read(tmp_path, source("parquet", paths="a.parquet", where={field: condition}))
            op = component_class("op", "where").model_validate({"kind": "where", "fields": {"v": condition}})
            of_op = [op.start(None)(kept), op.start(None)(without)]
            for found in (of_source, of_op):
                assert [isinstance(item, Document) for item in found] == [same, after]
                assert all(isinstance(item, Document) or item == Drop("where") for item in found)


def test_null_is_missing_and_said_so(tmp_path):
    for name, rows in (("a.jsonl", [{"text": "x", "v": None}]), ("b.jsonl", [{"text": "x"}])):
        jsonl(tmp_path / name, rows)
        (bad,) = read(tmp_path, source("jsonl", paths=name, where={"v": {"min": 1}}))
        assert bad.reason == "missing_field" and "missing or null" in bad.detail
    for null in (None, [None, "a"], {"not_in": [None]}):
        with pytest.raises(ValueError, match="counts as missing"):
            source("jsonl", paths="a.jsonl", where={"v": null})


def test_a_parquet_file_need_not_have_a_column_that_may_be_missing(tmp_path):
    write_parquet(tmp_path / "a.parquet", [{"text": "x", "in": {"b": 1}}])
    for field in ("stars", "in.stars"):
        (strict,) = read(tmp_path, source("parquet", paths="a.parquet", where={field: {"min": 1}}))
        assert (
            strict.reason == "missing_column"
            and f"`{field}`" in strict.detail
            and "in.b" in strict.detail
            and strict.where == "a.parquet"
        )
        assert (
            read(
                tmp_path, source("parquet", paths="a.parquet", where={field: {"min": 1, "missing": "keep"}})
            )[0].text
            == "x"
        )


def parquet(path, **columns):
    pa = pytest.importorskip("pyarrow", reason="reads Parquet")
    import pyarrow.parquet as pq

    table = pa.table({"text": ["a", "b", "c"]} | columns)
    pq.write_table(table, path)
    return pa


ID = UUID(int=5)


def test_values_of_parquet_that_python_cannot_hold(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="reads Parquet")
    ns = [1_700_000_000_123_456_000, 1_700_000_000_123_456_789, -1]
    far = pa.array([0, 253_402_300_800_000_000, None], pa.timestamp("us"))
    parquet(
        tmp_path / "a.parquet",
        ns=pa.array(ns, pa.timestamp("ns")),
        zone=pa.array(ns, pa.timestamp("ns", "+01:00")),
        far=far,
        time=pa.array([1000, 1001, None], pa.time64("ns")),
        took=pa.array([1000, 1001, None], pa.duration("ns")),
        inside=pa.array([{"at": [n]} for n in ns], pa.struct([("at", pa.list_(pa.timestamp("ns")))])),
        raw=pa.array([b"a", b"\xff", None]),
        code=pa.array(["x", "y", "x"]).dictionary_encode(),
    )

    def kept(field):
        found = read(tmp_path, source("parquet", paths="a.parquet", metadata={"v": field}))
        return [
            item.meta.get("v") if isinstance(item, Document) else (item.reason, item.where, item.rest_lost)
            for item in found
        ]

    whole, nines, before = (
        "2023-11-14 22:13:20.123456",
        "2023-11-14 22:13:20.123456789",
        "1969-12-31 23:59:59.999999999",
    )
    assert kept("ns") == [whole, nines, before] and kept("inside") == [
        {"at": [whole]},
        {"at": [nines]},
        {"at": [before]},
    ]
    assert kept("zone") == [
        "2023-11-14 23:13:20.123456+01:00",
        "2023-11-14 23:13:20.123456789+01:00",
        "1970-01-01 00:59:59.999999999+01:00",
    ]
    assert kept("time") == ["00:00:00.000001", "00:00:00.000001001", None] and kept("took") == [
        "0:00:00.000001",
        "1001 ns",
        None,
    ]
    assert kept("far") == ["1970-01-01 00:00:00", ("bad_value", "a.parquet, row 2", False), None]
    assert kept("raw") == ["a", ("bad_utf8", "a.parquet, row 2", False), None] and kept("code") == [
        "x",
        "y",
        "x",
    ]
    assert [
        item.id if isinstance(item, Document) else item.reason
        for item in read(tmp_path, source("parquet", paths="a.parquet", id="ns"))
    ] == [whole, nines, before]
    assert [type(item) for item in read(tmp_path, source("parquet", paths="a.parquet"))] == [
        Document
    ] * 3  # nobody asked for them


def test_columns_of_one_name(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="reads Parquet")
    import pyarrow.parquet as pq

    pq.write_table(
        pa.Table.from_arrays([pa.array(["a"]), pa.array([1]), pa.array([2])], names=["text", "n", "n"]),
        tmp_path / "a.parquet",
    )
    assert read(tmp_path, source("parquet", paths="a.parquet"))[0].text == "a"
    (bad,) = read(tmp_path, source("parquet", paths="a.parquet", metadata={"n": "n"}))
    assert (bad.reason, bad.rest_lost) == ("duplicate_column", True) and "`n`" in bad.detail


def test_a_dictionary_that_stands_for_far_more_than_it_is(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="reads Parquet")
    import pyarrow.parquet as pq

    page = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array(["x" * 50_000]))
    pq.write_table(pa.table({"text": page}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    found = read(tmp_path, source("parquet", paths="a.parquet"))
    assert (
        found[-1].reason == "expands_too_much"
        and found[-1].rest_lost
        and found[-1].where == f"a.parquet, row {len(found):,}"
    )
    assert len(read(tmp_path, source("parquet", paths="a.parquet", max_expansion=1e6))) == 3000


def test_ids_from_bytes_and_uuids():
    assert (
        id_text(b"caf\xc3\xa9", "v") == "café"
        and id_text(ID, "v") == str(ID)
        and id_text(date(2020, 1, 2), "v") == "2020-01-02"
    )
    for bad in (b"\xff", None, float("nan"), Damaged("bad_value", "x")):
        with pytest.raises(Damaged):
            id_text(bad, "v")
    assert plain(float("nan"), "v") == "nan" and plain([b"x", (1, 2)], "v") == ["x", [1, 2]]


LIMITS = {  # the condition, digits in the file -> whether the row is kept
    ("min", 5, "1180591620717411303424"): True,
    ("max", 5, "1180591620717411303424"): False,
    ("min", 0.2, "0.30000000000000000001"): True,
    ("min", 9007199254740993, "9007199254740992"): False,
    ("min", 9007199254740993, "9007199254740993"): True,
    ("max", 9007199254740992, "9007199254740993.0"): False,
    ("in", 2**70, str(2**70)): True,
    ("in", 2**70, str(2**70 + 1)): False,
    ("not_in", 2**70, str(2**70)): False,
    ("in", 2**64 - 1, str(2**64 - 1)): True,
}


@pytest.mark.parametrize(("name", "limit", "digits"), LIMITS)
def test_conditions_compare_every_digit_in_rows_and_in_metadata(tmp_path, name, limit, digits):
    lines(tmp_path / "a.jsonl", digits)
    where = {"v": {name: limit if name in ("min", "max") else [limit]}}
    (row,) = read(tmp_path, source("jsonl", paths="a.jsonl", where=where))
    op = component_class("op", "where").model_validate({"kind": "where", "fields": where})
    (doc,) = read(tmp_path, source("jsonl", paths="a.jsonl", metadata={"v": "v"}))
    kept = LIMITS[name, limit, digits]
    assert isinstance(row, Document) == kept and isinstance(op.start(None)(doc), Document) == kept


@pytest.mark.parametrize("value", ["5", "nan", "1e-99999999999999999999999", "٣٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠", ""])
def test_a_text_is_no_number(tmp_path, value):
    jsonl(tmp_path / "a.jsonl", [{"text": "x", "v": value}])
    (bad,) = read(tmp_path, source("jsonl", paths="a.jsonl", where={"v": {"min": 1}}))
    assert bad.reason == "not_a_number" and f"found the text `{value}`" in bad.detail


def test_decimals_and_unknown_time_zones_of_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    amounts = pa.array([Decimal("12345678901234567890123456789.5"), Decimal("1.5")], pa.decimal128(38, 9))
    zone = pa.array([0, None], pa.timestamp("us", tz="Mars/Olympus"))
    columns = pa.table({"text": ["x", "y"], "v": amounts, "at": zone})
    pq.write_table(columns, tmp_path / "a.parquet")
    found = read(tmp_path, source("parquet", paths="a.parquet", where={"v": {"min": 2}}))
    assert [type(item) for item in found] == [Document, Drop]
    bad, good = read(tmp_path, source("parquet", paths="a.parquet", metadata={"at": "at"}))
    assert "time zone of timestamp[us, tz=Mars/Olympus] is unknown" in bad.detail and isinstance(
        good, Document
    )
