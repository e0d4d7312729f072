"""Dedup: exact against a set, survivors in order of preference,
MinHash against what it should and should not find.
"""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dedup_runs import frozen, removed_ids
from support.small_recipes import recipe, words, write_jsonl

from codemix.data.build import dedup as dedup_module
from codemix.data.build import signatures
from codemix.data.build.build import build
from codemix.data.datatrove_adapter import minhash_dedup
from codemix.data.datatrove_adapter.words import Words, simplified
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.store import Store
from codemix.recipe.language import schema

pytestmark = pytest.mark.filterwarnings("ignore")


@settings(max_examples=8, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=12), min_size=1, max_size=3), st.integers(1, 5))
def test_exact_keeps_the_first_of_each_text(tmp_path_factory, numbers, file_rows):
    folder = tmp_path_factory.mktemp("exact")
    texts = {f"s{i}": [f"text {n}" for n in each] for i, each in enumerate(numbers)}
    found, _ = removed_ids(frozen(folder, texts, file_rows), folder, kind="exact")
    seen, expected = set(), set()
    for name, each in texts.items():
        for i, text in enumerate(each):
            (expected.add(f"{name}#{i}") if text in seen else seen.add(text))
    assert set(found) == expected


def test_the_source_named_first_keeps_its_copy(tmp_path):
    near = [words(i, 120) for i in range(6)]
    edited = [text.replace("stone", "rock", 1) for text in near]
    small = frozen(tmp_path, {"small": edited, "large": near + near[:2] + [words(99, 80)]})
    by_preference, _ = removed_ids(small, tmp_path, kind="minhash")
    assert set(by_preference) == {f"large#{i}" for i in range(8)}
    assert by_preference["large#3"] == {"source": "small", "file": "00000-000.jsonl.zst", "row": 3}
    other_way, _ = removed_ids(small[::-1], tmp_path, kind="minhash")
    assert set(other_way) == {"large#6", "large#7"} | {f"small#{i}" for i in range(6)}


def test_many_files_and_few_ranks_find_the_same(tmp_path, monkeypatch):
    texts = {
        "a": [words(i % 7, 30 + i % 7) for i in range(20)],
        "b": [words(i % 9, 30 + i % 9) for i in range(20)],
    }
    one, _ = removed_ids(frozen(tmp_path / "1", texts), tmp_path / "1", kind="minhash")
    monkeypatch.setattr(dedup_module, "MAX_RANKS", 3)
    many, _ = removed_ids(frozen(tmp_path / "2", texts, file_rows=3), tmp_path / "2", kind="minhash")
    assert set(one) == set(many) and len(one) > 20


def test_short_documents_are_compared_for_equality(tmp_path):
    documents = frozen(tmp_path, {"a": ["one two", "one two", "one too", "x", "x", "", ""]})
    found, _ = removed_ids(documents, tmp_path, kind="minhash")
    assert set(found) == {"a#1", "a#4", "a#6"}


def test_code_keeps_the_digits_that_prose_folds(tmp_path):
    programs = [
        " ".join(f"r{i} = {random.Random(i * 1000 + j).randrange(10**6)} ;" for j in range(60))
        for i in (1, 1, 2)
    ]
    numbers = [
        " ".join(str(random.Random(i * 1000 + j).randrange(10**6)) for j in range(60)) for i in range(4)
    ]
    documents = frozen(tmp_path, {"a": programs + numbers})
    as_prose, _ = removed_ids(documents, tmp_path, kind="minhash")
    as_code, _ = removed_ids(documents, tmp_path, kind="minhash", normalize="code")
    assert set(as_code) == {"a#1"} and {"a#4", "a#5", "a#6"} <= set(as_prose)


LICENCE = (
    "Copyright (c) The Authors. Permission is hereby granted, free of charge, to any person obtaining a copy of this software and "
    * 4
)


@pytest.mark.parametrize(
    "head",
    ["/*\n * {}\n */\n", "// {}\n// more\n", "#!/bin/sh\n# {}\n#\n", "#ifndef X_H\n#define X_H\n/* {} */\n"],
)
def test_a_shared_licence_does_not_make_programs_alike(tmp_path, head):
    programs = [
        head.format(LICENCE) + "\n".join(f"f{i}_{j} ( a{j} + {i * j} ) ;" for j in range(5)) for i in range(4)
    ]
    documents = frozen(tmp_path, {"a": [*programs, programs[2].replace("The Authors", "Others")]})
    as_code, _ = removed_ids(documents, tmp_path, kind="minhash", normalize="code")
    assert set(as_code) == {"a#4"}  # another year or name in the licence is the same program
    as_prose, _ = removed_ids(documents, tmp_path, kind="minhash")
    assert {"a#1", "a#2", "a#3"} <= set(as_prose)


@pytest.mark.parametrize(
    "code", ["# what f does\nf(1)\n", "/* open for ever, Copyright", "", "#", "x = 1  # Copyright\n"]
)
def test_only_a_licence_at_the_head_is_left_out(code):
    assert signatures.without_licence(code) == code


def test_minhash_finds_most_near_copies_and_few_others(tmp_path):
    texts, near, far = [], set(), set()
    for i in range(40):
        base = [f"w{random.Random(i * 10_000 + j).randrange(3000)}" for j in range(200)]
        texts.append(" ".join(base))
        for edits, where in (
            (2, near),
            (60, far),
        ):  # 2 edits of 200 words: Jaccard of 5-grams ~ 0.9; 60: ~ 0.1
            copy = list(base)
            for at in random.Random(i).sample(range(200), edits):
                copy[at] = "edited"
            where.add(f"a#{len(texts)}")
            texts.append(" ".join(copy))
    found, _ = removed_ids(frozen(tmp_path, {"a": texts}), tmp_path, kind="minhash", normalize="code")
    assert len(near & set(found)) >= 0.95 * len(near) and not far & set(found)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=40)
    | st.text(alphabet="aÀé\u0301\u0308İ 12,3.\n\t!x東\U0001e000\U0001f98a", max_size=30),
    st.booleans(),
)
def test_simplified_text_is_datatroves(text, code):
    from datatrove.utils.text import simplify_text

    norm = minhash_dedup.minhash_config(
        schema.Dedup(kind="minhash", sources=("a",), normalize="code" if code else "prose")
    ).norm_config
    assert simplified(text, norm) == simplify_text(text, norm)


@pytest.mark.parametrize("normalize", ["code", "prose"])
def test_signatures_in_blocks_are_datatroves_signatures(tmp_path, monkeypatch, normalize):
    documents = frozen(tmp_path, {"a": [words(i, 40 + 13 * i) for i in range(12)] + ["short"]})
    monkeypatch.setattr(minhash_dedup, "BLOCK_SHINGLES", 7)  # many blocks
    entry = schema.Dedup(kind="minhash", sources=("a",), buckets=3, hashes_per_bucket=4, normalize=normalize)
    files = dedup_module.files_in_order(documents, [])
    signatures.SignatureTask(entry, 0, tuple(files), tmp_path / "ours").run()
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import MinhashDedupSignature

    stock = MinhashDedupSignature(
        str(tmp_path / "stock"), minhash_dedup.minhash_config(entry), language=Words()
    )
    stock.run((Document(row["text"], "x") for _, row in files[0].rows()), 0)
    for path in sorted((tmp_path / "stock").rglob("*.sig")):
        ours = tmp_path / "ours" / "minhash" / path.relative_to(tmp_path / "stock")
        assert path.stat().st_size and np.array_equal(np.fromfile(path, "u1"), np.fromfile(ours, "u1"))


def test_a_later_entry_sees_what_the_earlier_left(tmp_path):
    """With opposite preferences, two independent entries would remove both copies."""
    documents = frozen(tmp_path, {"a": [words(1, 50), words(2, 50)], "b": [words(1, 50), words(3, 50)]})
    first, folder = removed_ids(documents, tmp_path, kind="exact")
    second, _ = removed_ids(documents[::-1], tmp_path, before=[folder], kind="minhash")
    assert set(first) == {"b#0"} and set(second) == set()


def test_a_build_counts_what_each_entry_removed(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [words(i, 60) for i in range(10)] + [words(3, 60)])
    write_jsonl(
        tmp_path / "b.jsonl",
        [words(i, 60) + "the end of it\n" for i in range(5)] + [words(50 + i, 60) for i in range(5)],
    )
    entries = [{"kind": "exact", "sources": ["a"]}, {"kind": "minhash", "sources": ["b", "a"]}]
    built = build(
        recipe({"a": "a.jsonl", "b": "b.jsonl"}, dedup=entries), Store(tmp_path / "store"), data_root=tmp_path
    )
    assert built["a"].funnel["dropped"] == {"dedup1-exact/duplicate": 1, "dedup2-minhash/duplicate": 5}
    assert (
        built["a"].funnel["kept"] == 5
        and built["b"].funnel["dropped"] == {}
        and built["b"].funnel["kept"] == 10
    )
    assert built["a"].funnel["languages"]["(unknown)"] == {
        "read": 11,
        "kept": 5,
        "dedup1-exact/duplicate": 1,
        "dedup2-minhash/duplicate": 5,
    }


@pytest.mark.optional("needs the corpus; a minute")
def test_planted_duplicates_of_the_corpus(tmp_path, corpus):
    """All planted exact copies, and at least 95% of the near-copies whose Jaccard similarity of 5-grams is
    0.8 or more.
    """
    import json

    sources = {
        "text": {"read": {"kind": "jsonl", "paths": "text/*.jsonl.zst"}},
        "more": {"read": {"kind": "jsonl", "paths": "code/*.jsonl.gz", "text": "content"}},
        "code": {"read": {"kind": "parquet", "paths": "code/*.parquet", "text": "content"}},
    }
    entries = [
        {"kind": "minhash", "sources": ["text"]},
        {"kind": "minhash", "sources": ["code", "more"], "normalize": "code"},
    ]
    store = Store(tmp_path / "store")
    built = build(recipe(sources, dedup=entries), store, data_root=corpus)
    ids, removed, kept_as = {}, set(), {}
    for name, manifest in built.items():
        for path in store.path("documents", name, manifest.identity["documents"]).glob("docs/*"):
            ids |= {(name, path.name, i): row["id"] for i, row in enumerate(read_lines(path))}
    for path in store.root.glob("dedup/*/removed/*/*"):
        for row in read_lines(path):
            removed.add(row["id"])
            kept_as[row["id"]] = (
                row["kept"] and ids[row["kept"]["source"], row["kept"]["file"], row["kept"]["row"]]
            )
    planted = [json.loads(line) for line in (corpus / "planted.jsonl").read_text().splitlines()]
    place = lambda row, of="": f"{row[f'{of}file']}#{row[f'{of}row']}"  # noqa: E731
    found = lambda row: place(row) in removed or place(row, "of_") in removed  # noqa: E731
    exact = [row for row in planted if row["kind"] == "exact_dup"]
    near = [row for row in planted if row["kind"].startswith("near_dup_edit")]
    high = [row for row in near if row["jaccard5"] >= 0.8]
    print(
        f"\nexact {sum(map(found, exact))}/{len(exact)}, near >= 0.8 {sum(map(found, high))}/{len(high)}, below {sum(found(r) for r in near if r not in high)}/{len(near) - len(high)}"
    )
    named = {place(row) for row in planted} | {place(row, "of_") for row in planted if "of_row" in row}
    print(f"removed beside the planted: {len(removed - named)} of {len(removed)}")
    assert all(map(found, exact)) and sum(map(found, high)) >= 0.95 * len(high)
    empty = [row for row in planted if row["kind"] == "empty"]
    dropped_empty = {
        row["id"]
        for m in built.values()
        for path in store.path("documents", m.source, m.identity["documents"]).glob("dropped/00-read/*")
        for row in read_lines(path)
    }
    assert (
        dropped_empty >= set(map(place, empty)) and len(dropped_empty) <= len(empty) + 2
    )  # the data has an empty file of its own
