"""`subsample:` of a source: a share of its tokens, nested, taken last, counted, and nothing of a large source is
read that nobody needs."""

import json
from fractions import Fraction

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.git_repository import GitRepository
from support.small_recipes import recipe, words, write_jsonl

from codemix.data.build import documents_job, tokens_job
from codemix.data.build.build import build
from codemix.data.build.inventory import take_inventory
from codemix.data.build.sample_cut import cut_of
from codemix.data.document import NOT_SAMPLED, Drop
from codemix.data.hash_rank import is_sampled, sample_rank
from codemix.data.inputs.frozen_inputs import freeze
from codemix.data.inputs.opener import Opener
from codemix.data.loader.shards import Shards
from codemix.data.review.why import sentence, why
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.store import Store
from codemix.recipe.language import subsample
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.language.subsample import read_shares, trained_share

READY = {"kind": "bpe", "vocab_size": 300, "train": {"bytes": 3000, "mixture": {"other": "100%"}}}
N = 400


def ids(manifest, split):
    """The ids of a split's documents, in order."""
    found = []
    for shard in manifest.shards(split):
        found += [line["id"] for line in read_lines(manifest.folder / shard.docs)]
    return found


@pytest.fixture
def large(monkeypatch):
    """Every source is large: the sample is taken at reading where nobody needs the whole."""
    monkeypatch.setattr(subsample, "READ_WHOLE", 0)


@pytest.fixture
def root(tmp_path):
    rows = [words(i, 5 + 90 * (i % 9 == 0)) for i in range(N)]
    rows += [words(7, 12)] * 3  # and three copies of one text
    write_jsonl(tmp_path / "a.jsonl", rows)
    write_jsonl(tmp_path / "other.jsonl", [words(1000 + i, 40) for i in range(80)])
    return tmp_path


def source(path="a.jsonl", **more):
    return {"read": {"kind": "jsonl", "paths": path}, **more}


def built(root, *, dedup=(), store=None, **fields):
    made = recipe({"a": source(**fields), "other": source("other.jsonl")}, tokenizer=READY, dedup=dedup)
    store = Store(store or root / "store")
    return made, store, build(made, store, data_root=root)["a"]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.fractions(0, 1), st.fractions(0, 1))
def test_a_smaller_sample_is_inside_a_larger_one(document_id, one, other):
    smaller, larger = sorted([one, other])
    assert is_sampled(document_id, larger) or not is_sampled(document_id, smaller)
    assert is_sampled(document_id, Fraction(1)) and not is_sampled(document_id, Fraction(0))


def test_a_sample_has_about_its_share():
    kept = sum(is_sampled(f"f#{i}", Fraction(1, 16)) for i in range(20_000))
    assert abs(kept - 1250) < 4 * 35  # four standard deviations


RANKS = st.integers(0, 40) | st.integers(0, 2**64 - 1)
DOCUMENTS = st.lists(st.tuples(RANKS, st.integers(1, 2000) | st.just(10**6)), max_size=30)


def tokens_below(documents, cut):
    return sum(tokens for rank, tokens in documents if rank < cut)


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, st.fractions(0, 1), st.fractions(0, 1))
def test_a_sample_is_the_beginning_that_is_nearest_to_its_share(documents, one, other):
    places = [np.array(documents[i::3], np.uint64).reshape(-1, 2).T for i in range(3)]
    shares = sorted([one, other])
    cuts = [cut_of(places, share) for share in shares]
    total = tokens_below(documents, 2**64)
    possible = [tokens_below(documents, cut) for cut in [0, *(rank + 1 for rank, _ in documents)]]
    for share, cut in zip(shares, cuts, strict=True):
        nearest = min(abs(tokens - share * total) for tokens in possible)
        assert abs(tokens_below(documents, cut) - share * total) == nearest
    assert tokens_below(documents, cuts[0]) <= tokens_below(documents, cuts[1])
    assert tokens_below(documents, cut_of(places, Fraction(1))) == total


def tokens_of(manifest, split="train"):
    """The tokens of each document of a split, by id, in order."""
    held = Shards(manifest, split, 1)
    found = {}
    for shard, part in enumerate(manifest.shards(split)):
        for document, line in enumerate(read_lines(manifest.folder / part.docs)):
            found[line["id"]] = held.document_tokens(shard, document)
    return found


@pytest.mark.parametrize("ways", [{}, {"held_out": "10%"}, {"held_out": "10%", "dedup": ("a",)}])
def test_what_is_trained_on_is_a_share_of_the_tokens_of_the_whole(root, ways):
    dedup = [{"kind": "exact", "sources": list(names)} for names in [ways.pop("dedup", ())] if names]
    _, _, whole = built(root, dedup=dedup, **ways)
    everything = tokens_of(whole)
    smaller = {}
    for divisor in (16, 8, 4, 2):
        _, _, sample = built(root, dedup=dedup, subsample=f"1/{divisor}", **ways)
        taken = tokens_of(sample)
        assert taken.items() <= everything.items() and smaller.items() <= taken.items()
        smaller = taken
        last = max(taken, key=sample_rank)
        assert list(taken) == [name for name in everything if sample_rank(name) <= sample_rank(last)]
        assert abs(sum(taken.values()) - sum(everything.values()) / divisor) <= max(everything.values()) / 2
        assert ids(sample, "held_out") == ids(whole, "held_out")
        assert sample.fingerprint != whole.fingerprint
        funnel = sample.funnel
        assert funnel["read"] == N + 3
        assert funnel["read"] == funnel["kept"] + sum(funnel["dropped"].values()) + funnel["unreadable"]
        assert funnel["dropped"]["subsample/not_sampled"] == len(everything) - len(taken)
        # reading, ops and dedup are those of the whole, and are not done again
        assert sample.identity["documents"] == whole.identity["documents"]
        assert sample.identity["dedup"] == whole.identity["dedup"]


def test_a_large_source_is_sampled_at_reading(root, large):
    _, _, whole = built(root)
    _, _, sample = built(root, subsample="1/4")
    expected = [name for name in ids(whole, "train") if is_sampled(name, Fraction(1, 4))]
    assert ids(sample, "train") == expected and 60 < len(expected) < 140
    assert sample.funnel["dropped"] == {"00-read/not_sampled": N + 3 - len(expected)}


def test_a_sample_does_not_depend_on_workers_and_is_found_once_for_all_shares(root, monkeypatch):
    monkeypatch.setattr(documents_job, "MIN_TASK_BYTES", 4000)
    monkeypatch.setattr(documents_job, "MIN_FILE_BYTES", 3000)
    monkeypatch.setattr(tokens_job, "MIN_TASK_BYTES", 4000)
    one, other = Store(root / "one"), Store(root / "other")
    sources = {"a": source(subsample="1/3", held_out="2%"), "other": source("other.jsonl")}
    made = recipe(sources, tokenizer=READY)
    alone = build(made, one, data_root=root, workers=1)["a"].shards("train")
    together = build(made, other, data_root=root, workers=2)["a"].shards("train")
    assert [shard.sha256 for shard in alone] == [shard.sha256 for shard in together] and len(alone) > 1
    places = list(one.root.glob("scores/a-subsample-*/places/*.npy"))
    assert len(places) == len(alone)
    sources["a"]["subsample"] = "1/5"
    smaller = build(recipe(sources, tokenizer=READY), one, data_root=root)["a"]
    assert list(one.root.glob("scores/a-subsample-*/places/*.npy")) == places
    assert 0 < smaller.tokens("train") < sum(shard.tokens for shard in alone)


def test_rows_that_nobody_needs_are_not_decoded(root, large):
    lines = [json.dumps({"text": words(i, 6)}) for i in range(50)]
    wanted = [i for i in range(50) if is_sampled(f"a.jsonl#{i}", Fraction(1, 5))]
    broken = max(set(range(50)) - set(wanted))  # the first row of a file is looked at before all
    lines[broken] = "{not json"
    (root / "a.jsonl").write_text("\n".join(lines) + "\n")
    _, _, manifest = built(root, subsample="20%")
    assert ids(manifest, "train") == [f"a.jsonl#{i}" for i in wanted]
    assert manifest.funnel["dropped"] == {"00-read/not_sampled": 50 - len(wanted)}


@pytest.mark.parametrize("limit", [0, 2**30])
def test_why_says_that_a_document_is_not_in_the_sample(root, limit, monkeypatch):
    monkeypatch.setattr(subsample, "READ_WHOLE", limit)
    for fields in ({"held_out": "5%"}, {}):
        made, store, manifest = built(root, subsample="1/8", **fields)
        present = {*ids(manifest, "train"), *ids(manifest, "held_out")}
        missing = next(name for name in (f"a.jsonl#{i}" for i in range(N)) if name not in present)
        found = why(made, store, take_inventory(made, store, root), root, missing)
        assert [sentence(fate) for fate in found] == ["a: left out by `subsample:`"]


def test_an_op_that_samples_is_not_taken_for_it(root):
    op = {"kind": "hash_sample", "keep": "50%"}
    made, store, manifest = built(root, subsample="1/2", ops=[op], held_out="5%")
    present = {*ids(manifest, "train"), *ids(manifest, "held_out")}
    inventory = take_inventory(made, store, root)
    missing = [f"a.jsonl#{i}" for i in range(40) if f"a.jsonl#{i}" not in present]
    said = {sentence(fate) for name in missing for fate in why(made, store, inventory, root, name)}
    by_op = "a: dropped by 01-hash_sample: not_sampled (keep: 50%, by: id, salt: )"
    assert said == {"a: left out by `subsample:`", by_op}


SHARED = {"raw": source(), "a": {"read": {"kind": "source", "name": "raw"}}}
GRAPHS = [  # sources, more, the share of `raw` and of `a` that is read if large, that of `a` that is trained on
    ({"raw": source(subsample="1/8"), "a": {**SHARED["a"], "held_out": "1%"}}, {}, "1/8", "1", "1/8"),
    ({"raw": source(), "a": {**SHARED["a"], "subsample": "1/4"}}, {}, "1/4", "1/4", "1/4"),
    ({"raw": source(), "a": {**SHARED["a"], "subsample": "1/4", "held_out": "1%"}}, {}, "1", "1", "1/4"),
    (
        {"raw": source(subsample="1/2"), "a": {**SHARED["a"], "subsample": "1/4"}},
        {"dedup": [{"kind": "exact", "sources": ["a"]}]},
        "1/2",
        "1",
        "1/4",
    ),
]


@pytest.mark.parametrize(("sources", "more", "raw", "read", "trained"), GRAPHS)
def test_shares_of_sources_that_read_each_other(sources, more, raw, read, trained):
    mixture = {"name": "s", "steps": 1, "mixture": {"a": "50%", "other": "50%"}}
    stages = [{**mixture, "learning_rate": {"kind": "constant", "value": 0.1}}]
    sources = {**sources, "other": source("other.jsonl")}
    graph = SourceGraph(recipe(sources, tokenizer=READY, stages=stages, **more))
    shares = read_shares(graph)
    assert [str(shares.of(name, 2**30)) for name in ("raw", "a", "other")] == [raw, read, "1"]
    own = str(
        sources["raw"].get("subsample", 1)
    )  # what a source that only others read says is the reader's wish
    assert [str(shares.of(name, 2**30 - 1)) for name in ("raw", "a", "other")] == [own, "1", "1"]
    assert str(trained_share(graph, "a")) == trained


def documents_of(read, root, method, *share):
    found, left_out, opener = [], [], Opener(root)
    inputs = freeze(read.inputs(root), Store(root / "store"), root)
    for one in inputs:
        for part in read.parts(one, opener, 2000):
            for item in getattr(read, method)(part, opener, *share):
                kind = left_out if isinstance(item, Drop) and item.reason == NOT_SAMPLED else found
                kind.append(item)
    return found, left_out


def readers(root):
    rows = [{"text": words(i, 20), "n": i, "key": f"k{i}"} for i in range(300)]
    write_jsonl(root / "rows.jsonl", rows)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / "rows.parquet", row_group_size=70)
    files = {f"m{i}.py": f"x = {i}\n" for i in range(40)}
    GitRepository(root / "tree").commit(files)
    return [
        {"kind": "jsonl", "paths": "rows.jsonl"},
        {"kind": "jsonl", "paths": "rows.jsonl", "id": "key"},
        {"kind": "parquet", "paths": "rows.parquet", "where": {"n": {"max": 250}}},
        {"kind": "text", "paths": "tree/*.py"},
        {"kind": "source_tree", "path": "tree"},
        {"kind": "git", "path": "tree"},
    ]


def test_every_way_of_reading_has_the_same_sample(tmp_path):
    share = Fraction(1, 3)
    for spec in readers(tmp_path):
        read = recipe({"a": {"read": spec}}).sources["a"].read
        everything, _ = documents_of(read, tmp_path, "read")
        sample, left_out = documents_of(read, tmp_path, "sampled", share)
        in_sample = [item for item in everything if is_sampled(item.id, share)]
        assert sample == in_sample, spec
        assert len(sample) + len(left_out) == len(everything) > len(sample) > 0, spec
