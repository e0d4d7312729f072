"""`show` and `seen` against batches that were really read."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from support.small_recipes import recipe, words, write_jsonl
from support.stage_plans import make_manifest, share_stage

from codemix import progress
from codemix.cli.documents import _licences
from codemix.data.build.build import build
from codemix.data.loader import fill_in_the_middle
from codemix.data.loader.batches import batches
from codemix.data.loader.shards import Shards
from codemix.data.review.document_trace import seen
from codemix.data.review.step_trace import show
from codemix.data.store.store import Store
from codemix.errors import CodemixError

T = 12
SPECIAL = {token: 990 + i for i, token in enumerate(fill_in_the_middle.SENTINELS)}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("shards"), np.random.default_rng(3)
    return {
        n: make_manifest(root / n, n, [rng.geometric(1 / m, 25).tolist() for _ in range(3)], special=SPECIAL)
        for n, m in (("code", 9), ("web", 30))
    }


@pytest.fixture(scope="module", autouse=True)
def quiet():
    progress.QUIET = True
    yield
    progress.QUIET = False


@pytest.fixture(scope="module")
def plan(manifests):
    pools = [Shards(m, "train", T).windows for m in manifests.values()]
    names = list(manifests)
    one = share_stage(90, (2, 1), pools, names=names, seq_len=T, batches=((0, 2), (15, 6)), name="one")
    two = share_stage(
        60,
        (1, 1),
        pools,
        names=names,
        seq_len=T,
        starts=[s.windows for s in one.sources],
        batch_size=5,
        name="two",
    )
    other = share_stage(
        20,
        (1, 3),
        pools,
        names=names,
        seq_len=T,
        starts=[s.windows for s in one.sources],
        batch_size=5,
        name="other",
    )
    two, other = (dataclasses.replace(s, parent=one) for s in (two, other))
    return SimpleNamespace(stages=(one, two, other))


def test_show_names_the_documents_of_each_row(plan, manifests):
    one, two, _ = plan.stages
    for stage, before in ((one, 0), (two, one.steps)):
        shards = {n: Shards(m, "train", T) for n, m in manifests.items()}
        for step, batch in batches(stage, shards):
            shown = show(plan, before + step, manifests, stage=stage.name)
            assert [s["row"] for s in shown] == list(range(len(batch["source"])))
            for row, entry in enumerate(shown):
                name = stage.sources[batch["source"][row]].source
                number = int(entry["shard"][-8:-3])
                tokens = np.fromfile(manifests[name].folder / entry["shard"], "<u2")
                assert entry["source"] == name
                assert (tokens[entry["offset"] : entry["offset"] + T] == batch["inputs"][row]).all()
                ends = np.fromfile(manifests[name].folder / (entry["shard"] + ".index"), "<u8").astype(int)
                owners = np.searchsorted(ends, entry["offset"] + np.arange(T + 1), "right")
                documents = entry["documents"]
                assert [d["id"] for d in documents] == [
                    f"{name}/{number}.py#{o}" for o in dict.fromkeys(owners.tolist())
                ]
                assert {d["licence"] for d in documents} == {"MIT"} and {
                    d["language"] for d in documents
                } == {"python"}
                numbers = [int(d["id"].rpartition("#")[2]) for d in documents]
                assert (
                    np.repeat(numbers, [d["to"] - d["from"] for d in documents]).tolist() == owners.tolist()
                )
                begins = np.concatenate(([0], ends))[numbers]
                assert [entry["offset"] + d["from"] for d in documents] == [
                    b + d["at"] for b, d in zip(begins, documents, strict=True)
                ]
    json.dumps(shown)


def test_seen_is_show_backwards(plan, manifests):
    one = plan.stages[0]
    read: dict[str, set] = {}
    for stage in plan.stages:
        before = 0 if stage is one else one.steps
        for step in range(stage.steps):
            for entry in show(plan, before + step, manifests, stage=stage.name):
                for d in entry["documents"]:
                    read.setdefault(d["id"], set()).add(
                        (
                            stage.name,
                            before + step,
                            entry["row"],
                            entry["epoch"],
                            entry["window"],
                            d["from"],
                            d["to"],
                        )
                    )
    never = 0
    for name, manifest in manifests.items():
        for shard, entry in enumerate(manifest.shards("train")):
            for document in range(0, entry.documents, 3):
                document_id = f"{name}/{shard}.py#{document}"
                found = seen(plan, manifests, document_id)
                got = {
                    (r["stage"], r["run_step"], r["row"], r["epoch"], r["window"], r["from"], r["to"])
                    for r in found.reads
                }
                assert got == read.get(document_id, set()) and len(found.reads) == len(got)
                assert (
                    found.steps == sorted({(r[0], r[1]) for r in got}, key=lambda s: (s[1], s[0]))
                    and len(found.places) == 1
                )
                never += not got
    assert never < 30


def test_fill_in_the_middle_is_counted(plan, manifests):
    asked = dataclasses.replace(plan.stages[0], fim={"web": Fraction(1)})
    plain = plan.stages[0]
    shards = {n: Shards(m, "train", T) for n, m in manifests.items()}
    pieces = 0
    for (step, a), (_, b) in zip(
        batches(plain, shards), batches(asked, shards, sentinels=(990, 991, 992)), strict=True
    ):
        for row, entry in enumerate(show(SimpleNamespace(stages=(asked,)), step, manifests)):
            assert entry.get("fim_pieces", 0) == int((a["inputs"][row] != b["inputs"][row]).any())
            pieces += entry.get("fim_pieces", 0)
    assert pieces > 10


def test_what_cannot_be_found_is_said(plan, manifests):
    with pytest.raises(CodemixError, match=r"no stage .* has step 1,000[\s\S]*`two` has steps 25 to 36"):
        show(plan, 1000, manifests)
    with pytest.raises(CodemixError, match="--stage NAME"):
        show(plan, plan.stages[0].steps, manifests)
    with pytest.raises(CodemixError, match=r"holds a document `x#1`[\s\S]*ids look like `code/0.py#0` in"):
        seen(plan, manifests, "x#1")
    with pytest.raises(CodemixError, match=r"did you mean `code/0.py#0`\?"):
        seen(plan, manifests, "code/0.py")
    with pytest.raises(CodemixError, match="build-data"):
        show(plan, 0, {"web": manifests["web"]})


def test_licences_are_shown_as_names():
    assert (
        _licences(["MIT", "ISC"]) == " [MIT, ISC]"
        and _licences("MIT") == " [MIT]"
        and _licences(None) == _licences([]) == ""
    )


def test_an_id_is_looked_up_without_reading_what_is_known_of_every_document(tmp_path):
    write_jsonl(tmp_path / "web.jsonl", [words(i, 20) for i in range(40)])
    source = {"read": {"kind": "jsonl", "paths": "web.jsonl"}, "held_out": "30%"}
    manifest = build(recipe({"web": source}), Store(tmp_path / "store"), data_root=tmp_path)["web"]
    for split in ("train", "held_out"):
        held = Shards(manifest, split, 1)
        for shard in range(len(held.shards)):
            for about in held.metadata(shard, set(range(held.shards[shard].documents))).values():
                assert shard in held.holding(about["id"])
        assert held.holding("no such document") == []
