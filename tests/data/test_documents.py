"""Phase 1: every document is counted once, samples do not depend on order,
tasks on nothing but the inputs.
"""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.data.build.apply_ops import READ, Step, apply_ops
from codemix.data.build.documents import by_size
from codemix.data.build.funnel import Funnel, after_dedup, total
from codemix.data.build.samples import SAMPLE_CHARS, SAMPLES, Samples
from codemix.data.document import Document, Drop, Unreadable, one_by_one
from codemix.data.store.jsonl_zst import LineWriter, read_lines
from codemix.errors import CodemixError


def run(read, steps=(), strict=False):
    funnel, dropped = Funnel(), Samples()
    steps = [Step(name, one_by_one(apply)) for name, apply in steps]
    kept = list(apply_ops(read, steps, funnel, dropped, strict=strict))
    funnel.check()
    assert sum(size for _, size in kept) == funnel.kept_bytes
    return [doc for doc, _ in kept], funnel, dropped


STEPS = [
    ("01-shorten", lambda doc: doc if len(doc.text) < 8 else doc.with_text(doc.text[:4])),
    (
        "02-filter",
        lambda doc: Drop("has_z") if "z" in doc.text else Drop("has_q") if "q" in doc.text else doc,
    ),
    ("03-strip", lambda doc: doc.with_text(doc.text.replace("w", ""))),
]
ITEM = st.one_of(
    st.builds(
        Document,
        id=st.uuids().map(str),
        text=st.text(alphabet="azqw é", max_size=12),
        meta=st.sampled_from([{}, {"language": "X"}]),
    ),
    st.builds(Unreadable, st.sampled_from(["bad_json", "bad_utf8"]), st.just("f#1")),
    st.just(Drop("where")),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ITEM, max_size=30))
def test_read_is_kept_dropped_and_unreadable(items):
    kept, funnel, dropped = run(items, STEPS)
    expected = []
    for item in items:  # the same, one document at a time
        if isinstance(item, Document):
            text = item.text if len(item.text) < 8 else item.text[:4]
            if (
                item.text.strip()
                and text.strip()
                and not set(text) & set("zq")
                and text.replace("w", "").strip()
            ):
                expected.append((item.id, text.replace("w", "")))
    assert [(doc.id, doc.text) for doc in kept] == expected
    assert (
        funnel.read == len(items)
        and funnel.kept == len(kept)
        and funnel.unreadable.total() == sum(isinstance(i, Unreadable) for i in items)
    )
    assert funnel.dropped[f"{READ}/where"] == sum(isinstance(i, Drop) for i in items)
    assert funnel.read_bytes == sum(len(i.text.encode()) for i in items if isinstance(i, Document))
    assert funnel.kept_bytes == sum(len(doc.text.encode()) for doc in kept)
    assert sum(c["read"] for c in funnel.languages.values()) == funnel.read - funnel.unreadable.total()
    for counts in funnel.languages.values():
        assert counts["read"] == sum(counts.values()) - counts["read"]
    assert Funnel.from_json(funnel.as_json()) == funnel


@settings(max_examples=50, deadline=None)
@given(st.lists(ITEM, max_size=30), st.integers(0, 30))
def test_a_funnel_is_a_sum(items, cut):
    assert total([run(items[:cut], STEPS)[1], run(items[cut:], STEPS)[1]]) == run(items, STEPS)[1]


def test_a_lost_document_is_a_bug():
    with pytest.raises(AssertionError, match="2 documents read, 1 accounted for"):
        Funnel(read=2, kept=1).as_json()


def test_after_dedup_moves_documents_from_kept_to_dropped():
    documents, removed = Funnel(), Funnel()
    for n in (3, 5, 7):
        documents.add_kept("C", n, n)
    documents.add_dropped("C", 9, "01-x", "y")
    removed.add_dropped("C", 5, "dedup1-exact", "duplicate")
    after = after_dedup(documents, removed)
    after.check()
    assert (after.read, after.kept, after.kept_bytes, after.read_bytes) == (4, 2, 10, 24)
    assert (
        after.languages["C"] == {"read": 4, "kept": 2, "01-x/y": 1, "dedup1-exact/duplicate": 1}
        and documents.kept == 3
    )


def test_strict_reading_names_the_document():
    with pytest.raises(CodemixError, match=r"f\.jsonl#7: bad_json \(no comma\)") as error:
        run([Document("a", "x"), Unreadable("bad_json", "f.jsonl#7", "no comma")], strict=True)
    assert "on_bad: skip" in str(error.value)
    with pytest.raises(CodemixError, match="lone_surrogate"):
        run([Document("a", "x\ud800")], strict=True)
    assert run([Document("a", "x\ud800")])[1].unreadable == {"lone_surrogate": 1}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 200), st.integers(1, 5), st.randoms(use_true_random=False))
def test_samples_do_not_depend_on_order_or_tasks(n, tasks, shuffler):
    docs = [
        Document(f"d{i // 3}", "x" * i) for i in range(n)
    ]  # an id of the data's own may occur several times
    one = Samples()
    for doc in docs:
        one.add("r", doc)
    shuffler.shuffle(docs)
    merged = Samples()
    for t in range(tasks):
        part = Samples()
        for doc in docs[t::tasks]:
            part.add("r", doc)
        merged.merge(part.as_json())
    assert merged.as_json() == one.as_json() and len(one.as_json().get("r", [])) == min(n, SAMPLES)


def test_documents_count_under_the_language_that_an_op_noted():
    notes = [
        ("01-languages", lambda doc: Document(doc.id, doc.text, doc.meta | {"language": "C"})),
        ("02-filter", STEPS[1][1]),
    ]
    (kept,), funnel, _ = run([Document("a", "x"), Document("b", "z")], notes)
    assert kept.meta == {"language": "C"} and funnel.languages == {
        "C": {"read": 2, "kept": 1, "02-filter/has_z": 1}
    }
    removed = Funnel()
    removed.add_dropped("C", 1, "dedup1-exact", "duplicate")
    assert after_dedup(funnel, removed).languages["C"]["kept"] == 0


def test_a_sample_of_a_huge_document_is_cut_and_says_so():
    samples = Samples()
    samples.add("r", Document("big", "y" * (SAMPLE_CHARS + 1)))
    ((_, line),) = samples.as_json()["r"]
    row = json.loads(line)
    assert row["cut"] and row["chars"] == SAMPLE_CHARS + 1 and len(row["text"]) == SAMPLE_CHARS


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 60))
def test_groups_by_size_are_consecutive_and_even(sizes, limit):
    groups = by_size(range(len(sizes)), limit, sizes.__getitem__)
    assert [i for group in groups for i in group] == list(range(len(sizes))) and all(groups)
    for group in groups[:-1]:
        assert sum(sizes[i] for i in group) >= limit > sum(sizes[i] for i in group[:-1])


def test_lines_are_written_whole_or_not_at_all(tmp_path):
    path, rows = (
        tmp_path / "x.jsonl.zst",
        [{"id": str(i), "text": "é\n" * random.Random(i).randrange(2000)} for i in range(300)],
    )
    writer = LineWriter(path)
    for row in rows:
        writer.write(row)
    assert not path.exists()
    writer.close()
    assert list(read_lines(path)) == rows
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], data[:-7], b"junk" + data):
        path.write_bytes(damaged)
        with pytest.raises(CodemixError, match=r"x\.jsonl\.zst is damaged"):
            list(read_lines(path))
