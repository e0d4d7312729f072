"""Locks: what is pinned, and that every kind of difference is found and named."""

import copy
import hashlib
import json
from types import SimpleNamespace

import pytest

from codemix.data.review import lock_check
from codemix.data.store.store import Store
from codemix.errors import CodemixError
from codemix.recipe import lock as locks
from codemix.recipe.diffs import lock_diff
from codemix.recipe.language import recipe_file

RECIPE = """\
codemix: 1
name: small
tokenizer: {kind: tokenizer_json, path: t.json}
sources:
  text: {read: {kind: jsonl, paths: t.jsonl}, ops: [{kind: max_floats}]}
  code: {read: {kind: jsonl, paths: c.jsonl}}
model: {preset: 120M}
training: {seq_len: 64, batch_size: 2}
stages:
  - name: only
    steps: 10
    mixture: {text: 50%, code: 50%}
    learning_rate: {kind: constant, value: 1e-3}
"""


def manifest(name: str, folder):
    """A source as the store holds it: one shard file of 100 tokens, one input."""
    shards = folder / "shards"
    shards.mkdir(parents=True)
    content = name.encode() * 50
    (shards / "train-00000.ds").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    counts = {"tokens": 100, "documents": 3, "bytes": 400}
    shard = counts | {
        "path": "shards/train-00000.ds",
        "sha256": digest,
        "index_sha256": "i",
        "docs": "d",
        "docs_sha256": "d",
    }
    value = {
        "source": name,
        "fingerprint": folder.name.split("-")[1] * 6,
        "dtype": "uint16",
        "splits": {"train": counts | {"shards": [shard]}},
        "tokenizer": {"sha256": "tok", "vocab_size": 300, "eos_token": "<e>", "eos_id": 0, "probe": []},
        "inputs": [{"path": f"{name}.jsonl", "bytes": 5, "sha256": hashlib.sha256(b"input").hexdigest()}],
        "environment": {"tokenizers": "0.22"},
    }
    (folder / "manifest.json").write_text(json.dumps(value))
    return SimpleNamespace(**value)


@pytest.fixture
def built(tmp_path):
    store, root = Store(tmp_path / "store"), tmp_path / "data"
    root.mkdir()
    found = {}
    for name in ("text", "code"):
        (root / f"{name}.jsonl").write_bytes(b"input")
        print12 = hashlib.sha256(name.encode()).hexdigest()[:12]
        found[name] = SimpleNamespace(manifest=manifest(name, store.root / "data" / f"{name}-{print12}"))
    return SimpleNamespace(
        recipe=recipe_file.parse_recipe(RECIPE, "r.yaml").recipe, found=found, store=store, root=root
    )


def test_a_lock_pins_inputs_counts_tokenizer_and_versions_and_survives_its_file(built, tmp_path):
    lock = locks.make(built.recipe, built.found)
    assert lock["sources"]["text"]["inputs"][0]["path"] == "text.jsonl"
    assert lock["sources"]["code"]["splits"]["train"]["tokens"] == 100
    assert (
        lock["tokenizer"]["sha256"] == "tok"
        and lock["components"]["op max_floats"] >= 1
        and "source jsonl" in lock["components"]
    )
    assert str(tmp_path) not in json.dumps(lock)
    locks.write(tmp_path / "r.lock", lock)
    assert locks.read(tmp_path / "r.lock") == lock
    assert lock_diff.compare(lock, locks.make(built.recipe, built.found)) == []
    assert lock_check.check(lock, built.store, built.root) == []


def changed(built, change) -> dict:
    now = copy.deepcopy(built.found)
    change(now)
    return locks.make(built.recipe, now)


def _set(path: str, value):
    def change(found):
        target = found["text"].manifest
        *way, last = path.split(".")
        target.fingerprint = "other"
        for part in way:
            target = (
                target[int(part)]
                if part.isdigit()
                else (getattr(target, part) if hasattr(target, part) else target[part])
            )
        target[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda found: found.update(text=SimpleNamespace(manifest=None)), "lock-source-missing"),
        (_set("inputs.0.sha256", "x"), "lock-input-changed"),
        (_set("inputs.0.path", "y.jsonl"), "lock-input-missing"),
        (_set("tokenizer.sha256", "x"), "lock-tokenizer"),
        (_set("splits.train.tokens", 101), "lock-counts"),
        (_set("splits.train.shards.0.sha256", "x"), "lock-shards"),
        (_set("environment.tokenizers", "0.23"), "lock-fingerprint"),
    ],
)
def test_each_difference_has_a_name(built, change, rule):
    problems = lock_diff.compare(locks.make(built.recipe, built.found), changed(built, change))
    assert problems[0].rule == rule, problems
    assert all("`text`" in p.what for p in problems)


def test_another_recipe_or_another_version_of_a_component_is_found(built):
    lock = locks.make(built.recipe, built.found)
    other = recipe_file.parse_recipe(
        RECIPE.replace("{kind: max_floats}", "{kind: max_floats, max_floats: 3}"), "r.yaml"
    ).recipe
    assert [p.rule for p in lock_diff.compare(lock, locks.make(other, built.found))] == ["lock-recipe"]
    old = lock | {"components": lock["components"] | {"op max_floats": 99}}
    assert [p.rule for p in lock_diff.compare(old, lock)] == ["lock-version"]
    longer = recipe_file.parse_recipe(
        RECIPE.replace("steps: 10", "steps: 20").replace("name: small", "name: other"), "r.yaml"
    ).recipe
    assert lock_diff.compare(lock, locks.make(longer, built.found)) == [], "stages are not data"
    told = built.recipe.sources["text"].model_copy(
        update={"max_epochs": 7.0, "tags": {"kind": "prose"}, "tokens": 5}
    )
    relabelled = built.recipe.model_copy(update={"sources": built.recipe.sources | {"text": told}})
    assert lock_diff.compare(lock, locks.make(relabelled, built.found)) == [], (
        "caps, tags and declared sizes are not data"
    )


def test_check_reads_every_file_of_the_store(built):
    lock = locks.make(built.recipe, built.found)
    shard = next(built.store.root.glob("data/text-*/shards/*.ds"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"!")
    assert [p.rule for p in lock_check.check(lock, built.store)] == ["lock-file-changed"]
    shard.unlink()
    assert [p.rule for p in lock_check.check(lock, built.store)] == ["lock-file-missing"]
    shard.write_bytes(content)
    (built.root / "code.jsonl").write_bytes(b"other")
    assert [p.what for p in lock_check.check(lock, built.store, built.root)] == [
        "input code.jsonl of `code` has different content from what was locked"
    ]
    next(built.store.root.glob("data/code-*/manifest.json")).unlink()
    assert [p.rule for p in lock_check.check(lock, built.store)] == ["lock-source-missing"]


def test_verify_says_first_what_can_be_pointed_at(built):
    lock = locks.make(built.recipe, built.found)
    assert lock_check.verify(lock, lock, built.store, built.root) == []
    moved = changed(built, lambda found: found.update(text=SimpleNamespace(manifest=None)))
    (problem,) = lock_check.verify(lock, moved, built.store, built.root)
    assert problem.rule == "lock-inputs" and "`text` is in the store as locked" in problem.what
    (built.root / "text.jsonl").write_bytes(b"other")
    (problem,) = lock_check.verify(lock, moved, built.store, built.root)
    assert problem.what == "input text.jsonl of `text` has different content from what was locked"
    old = lock | {"components": lock["components"] | {"op max_floats": 99}}
    assert [p.rule for p in lock_check.verify(old, moved, built.store, built.root)] == [
        "lock-version",
        "lock-file-changed",
    ]


def test_an_unbuilt_source_is_locked_as_such(built):
    built.found["code"] = SimpleNamespace(manifest=None)
    lock = locks.make(built.recipe, built.found)
    assert lock["sources"]["code"] is None and lock_check.check(lock, built.store) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no lock"),
        ("{", "damaged"),
        ("[]", "format None"),
        ('{"lock": 9}', "format 9"),
        ('{"lock": 2}', "damaged"),
    ],
)
def test_a_file_that_is_no_lock(tmp_path, content, says):
    path = tmp_path / "r.lock"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CodemixError, match=says):
        locks.read(path)
