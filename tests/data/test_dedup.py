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
from codemix.data.datatrove_adapter.words import simplified
from codemix.data.dedup import key_files
from codemix.data.dedup.clusters import survivors
from codemix.data.dedup.minhash import MinHash
from codemix.data.dedup.signature_writer import SignatureWriter
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
    from datatrove.utils.text import TextNormConfig, simplify_text

    norm = TextNormConfig(lowercase=not code, norm_numbers=not code, remove_punctuation=not code)
    assert simplified(text, norm) == simplify_text(text, norm)


def some_texts():
    texts = [words(i % 30, 40 + i % 30) for i in range(60)]
    edited = [text.replace("stone", "rock", 1) for text in texts[:20]]
    return [*texts, *edited, "short", "", "short"]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.sampled_from(["code", "prose"]), st.integers(1, 40))
def test_clusters_are_datatroves_on_the_same_signatures(
    tmp_path_factory, buckets, hashes, normalize, together
):
    """datatrove's own stages over files of the same least hashes, in its format."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets, MinhashDedupCluster
    from datatrove.utils.hashing import HashConfig

    folder = tmp_path_factory.mktemp("clusters")
    entry = schema.Dedup(
        kind="minhash", sources=("a",), buckets=buckets, hashes_per_bucket=hashes, normalize=normalize
    )
    minhash, texts = MinHash(entry), some_texts()
    least = {i: row for i, text in enumerate(texts) if (row := minhash.least_hashes(text)) is not None}
    record = np.dtype([(f"h{i}", "<u4") for i in range(hashes)] + [("doc", "<u4")])
    for bucket in range(buckets):
        path = folder / "stock" / f"bucket_{bucket:03d}" / "00000.minhash.sig"
        path.parent.mkdir(parents=True)
        own = slice(bucket * hashes, (bucket + 1) * hashes)
        np.array(sorted((*row[own].tolist(), i) for i, row in least.items()), record).tofile(path)
    config = MinhashConfig(
        num_buckets=buckets, hashes_per_bucket=hashes, hash_config=HashConfig(precision=32)
    )
    for bucket in range(buckets):
        MinhashDedupBuckets(str(folder / "stock"), str(folder / "dups"), config=config).run(
            None, bucket, buckets
        )
    MinhashDedupCluster(str(folder / "dups"), str(folder / "clusters"), config, save_cluster_id=True).run(
        None, 0, 1
    )
    stock = {}
    for path in (folder / "clusters").glob("*.clusters"):
        for doc, cluster in np.fromfile(path, "<u4").reshape(-1, 2).tolist():
            stock.setdefault(cluster, set()).add(doc)

    writer = SignatureWriter(entry, str)
    for i, text in enumerate(texts):
        writer.add(i, text)
    writer.save(folder / "keys", 0)
    pairs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_files, "TOGETHER", together)  # in many stretches
        for bucket in range(buckets):
            key_files.write_matches(folder / "keys" / f"{bucket:03d}", folder / "pairs")
            pairs.append(key_files.read_matches(folder / "pairs"))
    ours = {}
    for later, first in survivors(pairs).items():
        ours.setdefault(first.position, {first.position}).add(later.position)
    assert sorted(map(sorted, ours.values())) == sorted(map(sorted, stock.values())) and ours


def test_buckets_match_as_often_as_the_theory_says():
    """The share of equal least hashes is the share of common shingles, in every bucket alike."""
    entry = schema.Dedup(kind="minhash", sources=("a",), n_grams=1, buckets=50, hashes_per_bucket=20)
    minhash = MinHash(entry)
    for n_common, expected in ((180, 0.818), (100, 1 / 3), (20, 0.053)):  # of 200 each
        shares = []
        for seed in range(20):
            names = [f"w{chr(97 + i % 26)}{seed}x{i}" for i in range(400 - n_common)]
            names = [name.translate(str.maketrans("0123456789", "abcdefghij")) for name in names]
            both = [minhash.least_hashes(" ".join(part)) for part in (names[:200], names[-200:])]
            shares.append(np.mean(both[0] == both[1]))
        assert abs(np.mean(shares) - expected) < 0.02


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40), st.integers(1, 5))
def test_clusters_are_connected_components(edges, n_parts):
    pairs = np.array(edges, np.int64).reshape(-1, 2)
    found = survivors(np.array_split(pairs, n_parts))
    clusters = {i: {i} for i in range(31)}
    for a, b in edges:
        union = clusters[a] | clusters[b]
        clusters |= dict.fromkeys(union, union)
    expected = {i: min(c) for i, c in clusters.items() if i != min(c)}
    assert {later.position: first.position for later, first in found.items()} == expected


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
