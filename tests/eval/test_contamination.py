"""Overlap with what a run read: found where it is, not found where it is not,
against sets of n-grams in plain Python.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import byte_store as made

from codemix.data.store.store import Store
from codemix.eval.measure import contamination

SEQ_LEN = 16


def stage(name, windows, pool, start=0, parent=None):
    source = SimpleNamespace(
        source=name, key=f"what {name} holds", windows=windows, pool_windows=pool, start=start
    )
    return SimpleNamespace(name="s", sources=(source,), seq_len=SEQ_LEN, seed=3, parent=parent)


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 5))
def test_hashes_are_equal_where_ngrams_are(tokens, n):
    found = contamination.hashes(np.asarray([tokens], np.int64), n)[0]
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    assert len(found) == len(grams)
    assert len(set(found.tolist())) == len(set(grams))


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(0, 100), st.integers(0, 60))
def test_windows_read_are_those_of_the_order(pool, windows, start):
    from codemix.data.loader import order, permutation

    [*found] = contamination.windows_read(stage("a", windows, pool, start))
    expected = {
        int(permutation.permute(order.key(3, "what a holds", c // pool), pool, np.array([c % pool]))[0])
        for c in range(start, start + windows)
    }
    assert {int(w) for reading in found for w in reading.windows} == expected


def test_overlap_is_what_sets_of_ngrams_say(tmp_path, byte_text, monkeypatch):
    store = Store(tmp_path)
    tokenizer = made.save_tokenizer(store, made.byte_tokenizer_json())
    rng = np.random.default_rng(0)
    documents = [
        {"id": str(i), "text": bytes(rng.integers(97, 123, 40).astype(np.uint8)).decode()} for i in range(20)
    ]
    manifest = made.save_source(
        store, "a", {"train": [documents[:10], documents[10:]]}, byte_text.encode, tokenizer
    )
    from codemix.data.loader.shards import Shards

    shards = Shards(manifest, "train", SEQ_LEN)
    read = stage("a", 20, len(shards))
    assert (
        contamination.ngram_tokens({"a": manifest}) == 52
    )  # 50 bytes at just over one token a byte: its EOS

    texts = {
        "in": [d["text"] for d in documents],
        "out": ["entirely different text, nowhere in there"],
        "short": ["abc"],
    }
    tokens = {name: [byte_text.encode(t) for t in items] for name, items in texts.items()}
    monkeypatch.setattr(contamination, "ngram_tokens", lambda manifests: 8)
    found = contamination.overlap(read, {"a": manifest}, tokens)

    rows = shards.gather(np.concatenate([r.windows for r in contamination.windows_read(read)])).tolist()
    seen = {tuple(r[i : i + 8]) for r in rows for i in range(len(r) - 7)}
    shares = [np.mean([tuple(t[i : i + 8]) in seen for i in range(len(t) - 7)]) for t in tokens["in"]]
    assert 0 < found["in"]["shared"] < 1
    assert found["in"]["shared"] == pytest.approx(np.mean(shares))
    assert found["in"]["shared_any"] == np.mean([s > 0 for s in shares]) and found["in"][
        "shared_half"
    ] == np.mean([s >= 0.5 for s in shares])
    assert (found["out"]["shared"], found["out"]["shared_any"]) == (0, 0)
    assert found["short"]["too_short"] == 1 and found["short"]["shared"] is None
    assert found["in"]["looked_at"] == 1 and not found["in"]["sources_not_looked_at"]


def test_parents_count_and_unknown_sources_are_named(tmp_path, byte_text):
    parent = stage("gone", 4, 10)
    assert [r.source for r in contamination.windows_read(stage("a", 2, 10, parent=parent))] == ["a", "gone"]
    found = contamination.overlap(parent, {}, {"x": [list(range(60))]})
    assert found["x"]["sources_not_looked_at"] == ["gone"] and found["x"]["shared"] == 0
