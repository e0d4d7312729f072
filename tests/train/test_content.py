"""Stages go by what they read, not by how that was made:
a change that comes to the same tokens trains nothing again.
"""

import json
import random

import pytest

from codemix.cli.context import load
from codemix.data.build.build import build
from codemix.data.store.store import Store
from codemix.train.run.session import train

RECIPE = """
codemix: 1
name: content
tokenizer: {kind: bpe, vocab_size: 300, train: {bytes: 20kB}}
sources:
  code: {read: {kind: jsonl, paths: code.jsonl}, max_epochs: 9, held_out: 5%}
  web: {read: {kind: jsonl, paths: web.jsonl}, max_epochs: 9, held_out: 5%}
  spare: {read: {kind: jsonl, paths: spare.jsonl}}
dedup:
  - {kind: exact, sources: [code, web]}
model: {d_model: 16, n_layers: 1, n_heads: 2, d_ff: 16}
training: {seq_len: 16, batch_size: 4}
stages:
  - {name: main, steps: 6, mixture: {code: 60%, web: 40%}, learning_rate: {kind: cosine, peak: 3e-3, floor: 1e-4, warmup: 1 steps}}
  - {name: cool, steps: 3, mixture: {code: 100%}, learning_rate: {kind: linear, start: previous, floor: 1e-6}}
"""
# what is changed -> whether code's and web's data are made again (all of them: yes), whether stages are
CHANGES = {
    "a source is added last in dedup": (lambda t: t.replace("[code, web]", "[code, web, spare]"), False),
    "a source that no stage reads gets another name": (
        lambda t: (
            t.replace("[code, web]", "[code, web, spare]")
            .replace("spare:", "rest:")
            .replace("web, spare", "web, rest")
        ),
        False,
    ),
    "a held-out share that moves no document": (
        lambda t: t.replace(
            "web.jsonl}, max_epochs: 9, held_out: 5%", "web.jsonl}, max_epochs: 9, held_out: 5.000001%"
        ),
        False,
    ),
    "an op that drops nothing": (
        lambda t: t.replace("web.jsonl}", "web.jsonl}, ops: [{kind: size, max_bytes: 1MB}]"),
        False,
    ),
    "a held-out share that moves documents": (
        lambda t: t.replace(
            "web.jsonl}, max_epochs: 9, held_out: 5%", "web.jsonl}, max_epochs: 9, held_out: 30%"
        ),
        True,
    ),
    "a dedup that removes documents": (
        lambda t: (
            t.replace("kind: exact, sources: [code, web]", "kind: exact, sources: [twin, code, web]")
            .replace("spare:", "twin:")
            .replace("spare.jsonl", "twin.jsonl")
        ),
        True,
    ),
}


def contexts_and_folders(root, text):
    (root / "recipe.yaml").write_text(text)
    store = Store(root / "store")
    build(load(root / "recipe.yaml", store.root, root).source.recipe, store, data_root=root)
    context = load(root / "recipe.yaml", store.root, root)
    return context, train(context.plan, store, context.manifests)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("content"), random.Random(1)
    for name in ("code", "web", "spare"):
        texts = [
            f"{name} {i} "
            + " ".join(rng.choice(["the", "def", "of", "x", "return", "sea", "list"]) for _ in range(40))
            for i in range(40)
        ]
        (root / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (root / "twin.jsonl").write_text("".join((root / "web.jsonl").read_text().splitlines(keepends=True)[:10]))
    return root, *contexts_and_folders(root, RECIPE)


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_reads_other_tokens_is_trained_again(straight, change):
    root, before, folders = straight
    edit, again = CHANGES[change]
    assert edit(RECIPE) != RECIPE
    after, now = contexts_and_folders(root, edit(RECIPE))
    prints = [{n: context.found[n].fingerprint for n in ("code", "web")} for context in (before, after)]
    assert prints[0]["web"] != prints[1]["web"]  # the data was made by another pipeline
    assert (now != folders) == again
    assert (
        again
        or [m.content for m in after.manifests.values()][:2]
        == [m.content for m in before.manifests.values()][:2]
    )


def test_a_plan_before_anything_is_built_goes_by_the_recipe(straight, tmp_path):
    root, before, _ = straight
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("held_out: 5%}", "held_out: 5%, tokens: 20k}"))
    first, other = (
        load(tmp_path / "recipe.yaml", tmp_path / name, root).checked.plan.stages
        for name in ("none", "none either")
    )
    assert [s.fingerprint for s in first] == [s.fingerprint for s in other]
    assert not {s.fingerprint for s in first} & {s.fingerprint for s in before.plan.stages}
    assert all(source.pool_fingerprint.startswith("spec:") for stage in first for source in stage.sources)
