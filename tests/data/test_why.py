"""`why`: the fate of every document that a build has read adds up to its funnels."""

import json
from collections import Counter

import pytest
from support.small_recipes import recipe, words, write_jsonl

from codemix.data.build.build import build
from codemix.data.build.inventory import take_inventory
from codemix.data.build.read_ids import NAME, ReadIds, may_have_read, places
from codemix.data.document import Document, Drop, Unreadable, row_of
from codemix.data.review.why import _lost_with, sentence, why
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.recipe.language.component import component_class


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("why")
    named = [{"id": f"doc-{i}", "text": words(i, 40 + i), "stars": i % 4} for i in range(12)]
    named += [
        {"id": "doc-12", "text": "tiny", "stars": 1},
        {"id": "doc-13", "text": "", "stars": 1},
        {"id": "doc-14", "text": 5, "stars": 1},
    ]
    write_jsonl(root / "a.jsonl", named)
    rows = [words(3, 43), words(5, 45) + "more", *(words(100 + i, 60) for i in range(30))]
    (root / "b.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows) + "{")
    (root / "tree").mkdir()
    for name, data in {
        "x.py": b"x = 1\n" * 40,
        "y.py": b"\0" * 9,
        "z.py": b"\xff",
        "big.py": b"x" * 5000,
        "p.json": b"{}",
    }.items():
        (root / "tree" / name).write_bytes(data)
    write_jsonl(root / "raw.jsonl", [words(200 + i, 20 + 10 * i) for i in range(6)])
    sources = {
        "a": {
            "read": {"kind": "jsonl", "paths": "a.jsonl", "id": "id", "where": {"stars": {"min": 1}}},
            "ops": [{"kind": "size", "min_bytes": 20}],
            "on_bad": "skip",
            "max_bad": "50%",
        },
        "b": {
            "read": {"kind": "jsonl", "paths": "b.jsonl"},
            "held_out": "20%",
            "on_bad": "skip",
            "max_bad": "50%",
        },
        "tree": {"read": {"kind": "source_tree", "path": "tree", "max_bytes": 1000, "not_utf8": "drop"}},
        "raw": {"read": {"kind": "jsonl", "paths": "raw.jsonl"}, "ops": [{"kind": "size", "min_bytes": 130}]},
        "part": {"read": {"kind": "source", "name": "raw"}, "ops": [{"kind": "size", "min_bytes": 250}]},
    }
    dedup = [{"kind": "exact", "sources": ["a", "b"]}, {"kind": "minhash", "sources": ["a", "b"]}]
    stage = {
        "name": "s",
        "steps": 1,
        "mixture": dict.fromkeys(["a", "b", "tree", "part"], "25%"),
        "learning_rate": {"kind": "constant", "value": 0.1},
    }
    r, store = recipe(sources, dedup=dedup, stages=[stage]), Store(root / "store")
    build(r, store, data_root=root)
    return r, store, take_inventory(r, store, root), root


IDS = {
    "a": [f"doc-{i}" for i in range(14)] + ["a.jsonl#14"],
    "b": [f"b.jsonl#{i}" for i in range(33)],
    "tree": [f"tree/{name}#0" for name in ("x.py", "y.py", "z.py", "big.py", "p.json")],
    "raw": [f"raw.jsonl#{i}" for i in range(6)],
}


def fates(made, source):
    """source -> outcomes of all documents that `source` has read, by the funnel's names."""
    counted = {}
    for document_id in IDS[source]:
        for fate in why(*made, document_id):
            assert sentence(fate).startswith(f"{fate.source}: ")
            key = {"dropped": f"{fate.facts.get('step')}/{fate.facts.get('reason')}"}.get(
                fate.outcome, fate.outcome
            )
            counted.setdefault(fate.source, Counter())[key] += 1
    return counted


def expected(funnel):
    """The same from a funnel: what dedup dropped is named by it there."""
    dropped = Counter(funnel["dropped"])
    duplicates = sum(dropped.pop(key) for key in list(dropped) if key.startswith("dedup"))
    return dropped + Counter(kept=funnel["kept"], duplicate=duplicates, unreadable=funnel["unreadable"])


@pytest.mark.parametrize("source", ["a", "tree"])
def test_every_document_has_the_fate_that_its_funnel_counts(made, source):
    assert fates(made, source) == {source: expected(made[2][source].funnel)}


def test_a_source_of_a_source(made):
    counted = fates(made, "raw")
    assert counted == {name: expected(made[2][name].funnel) for name in ("raw", "part")}
    assert (
        counted["part"].total() < counted["raw"].total() == 6
    )  # what the first drops, the second never reads


def test_held_out_duplicates_and_what_was_lost(made):
    counted = fates(made, "b")["b"]
    funnel = made[2]["b"].funnel
    assert counted["kept"] + counted["held_out"] == funnel["kept"] and counted["held_out"] > 0
    assert counted["duplicate"] == 2 and counted["unreadable"] == 1 and counted.total() == 33
    (exact,), (near,) = why(*made, "b.jsonl#0"), why(*made, "b.jsonl#1")
    assert exact.facts == {"dedup": "exact", "of": "doc-3", "of_source": "a"}
    assert near.facts == {"dedup": "minhash", "of": "doc-5", "of_source": "a"}
    assert sentence(exact) == "b: removed by `dedup:` (exact) as a duplicate of doc-3 in a"


def test_what_an_op_says(made):
    (fate,) = why(*made, "doc-12")
    assert fate.as_json() == {
        "source": "a",
        "outcome": "dropped",
        "step": "01-size",
        "reason": "too_small",
        "op": {"kind": "size", "min_bytes": 20, "max_bytes": None},
        "measured": "4 bytes",
        "limit": "min_bytes",
    }
    assert sentence(fate) == "a: dropped by 01-size: too_small: 4 bytes, min_bytes 20"
    assert sentence(why(*made, "doc-4")[0]) == "a: dropped by 00-read: where"
    assert sentence(why(*made, "a.jsonl#14")[0]) == "a: unreadable: bad_text (`text` holds int, not a text)"


def test_what_is_lost_with_the_rest_of_an_input():
    lost = Unreadable("truncated", row_of("a.gz", 1_000), "it ends too early", rest_lost=True)
    for row, expected in ((999, False), (1_000, True), (2_000_000, True)):
        assert _lost_with(lost, places(f"a.gz#{row}")) == expected
    assert not _lost_with(lost, places("b.gz#1000")) and not _lost_with(lost, places("doc-1"))
    assert not _lost_with(Drop("where", "a.gz#1000"), places("a.gz#1000"))
    assert _lost_with(Unreadable("truncated", "a.gz", rest_lost=True), places("a.gz#3"))


@pytest.mark.parametrize("unknown", ["doc-99", "b.jsonl", "b.jsonl#x", "tree/x.py#1", "#0", ""])
def test_a_document_that_nothing_has_read(made, unknown, monkeypatch):
    def read_again(self):
        raise AssertionError("the inputs are read again")

    monkeypatch.setattr("codemix.data.review.why._Rereading.fates", read_again)
    with pytest.raises(CodemixError) as caught:
        why(*made, unknown)
    assert caught.value.problems[0].rule == "unknown-document"


def test_a_source_that_is_not_built(made, tmp_path):
    r, _, _, root = made
    store = Store(tmp_path / "store")
    with pytest.raises(CodemixError, match="not built yet: a, b, tree, raw, part"):
        why(r, store, take_inventory(r, store, root), root, "doc-1")


MEASURED = [
    ({"kind": "size", "max_bytes": 10}, "twelve bytes", "12 bytes", "max_bytes"),
    ({"kind": "line_lengths"}, "x" * 1001, "1,001 characters", "max_line_chars"),
    ({"kind": "line_lengths", "max_mean_chars": 2}, "xx\nxxxx\n", "3 characters", "max_mean_chars"),
    ({"kind": "alphabetic"}, "abc1234567" * 2 + "8" * 80, "0.06 of the characters", "min_frac"),
    ({"kind": "alphanum"}, "abc" + "!?" * 30, "0.04762 of the characters", "min_frac"),
    ({"kind": "max_floats", "max_floats": 2}, "1.5 2.5 3.5 4.5", "4 floats", "max_floats"),
]


def test_ids_of_all_that_was_read_are_kept_eight_bytes_each(made):
    for name, state in made[2].items():
        folder = state.documents_folder(made[1], name)
        ids = (folder / NAME).stat().st_size // 8
        lost = 1 if name == "b" else 0  # its last line may be the rest of its file
        assert state.funnel["read"] <= ids <= state.funnel["read"] + lost
    (made_of_b,) = [s.documents_folder(made[1], n) for n, s in made[2].items() if n == "b"]
    assert not may_have_read(made_of_b, "b.jsonl#33")


def test_what_was_lost_with_the_rest_may_have_been_read(tmp_path):
    ids = ReadIds()
    list(ids.noting([Unreadable("truncated", row_of("a.gz", 1_000), "", rest_lost=True), Drop("where", "x")]))
    ids.write(tmp_path / NAME)
    for document_id, expected in (
        ("a.gz#1000", True),
        ("a.gz#2000000", True),
        ("b.gz#1000", False),
        ("x", True),
    ):
        assert may_have_read(tmp_path, document_id) == expected
    (tmp_path / NAME).unlink()
    with pytest.raises(CodemixError, match="read.ids cannot be read"):
        may_have_read(tmp_path, "x")


@pytest.mark.parametrize(("op", "text", "measured", "limit"), MEASURED)
def test_a_drop_says_what_was_measured_against_which_field(op, text, measured, limit):
    made_op = component_class("op", op["kind"])(**{k: v for k, v in op.items() if k != "kind"})
    drop = made_op.start(made_op.prepare(None))(Document("d", text, {}))
    assert (drop.measured, drop.limit) == (measured, limit)
    assert limit in type(made_op).model_fields


def test_a_source_that_dropped_nothing_is_not_read_again(tmp_path, monkeypatch):
    write_jsonl(tmp_path / "a.jsonl", [{"id": f"doc-{i % 9}", "text": words(i % 9, 40)} for i in range(10)])
    sources = {"a": {"read": {"kind": "jsonl", "paths": "a.jsonl", "id": "id"}, "held_out": "20%"}}
    r, store = recipe(sources, dedup=[{"kind": "exact", "sources": ["a"]}]), Store(tmp_path / "store")
    build(r, store, data_root=tmp_path)
    inventory = take_inventory(r, store, tmp_path)
    assert sum(inventory["a"].funnel["dropped"].values()) == 1

    def read_again(self):
        raise AssertionError("the inputs are read again")

    monkeypatch.setattr("codemix.data.review.why._Rereading.fates", read_again)
    with pytest.raises(CodemixError, match="no source of this recipe has read a document `nobody`"):
        why(r, store, inventory, tmp_path, "nobody")
    assert {fate.outcome for fate in why(r, store, inventory, tmp_path, "doc-3")} <= {"kept", "held_out"}
