"""Stages go by what they read, not by how that was made:
a change that comes to the same tokens trains nothing again.
"""

import json
import random
import re

import pytest
from support import tiny

from codemix.cli.context import load
from codemix.data.build.build import build
from codemix.data.store.stages import read_ledger, renamed_since
from codemix.data.store.store import Store
from codemix.eval.pages.run_folders import run_facts
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


def contexts_and_folders(root, text, place="store", **options):
    (root / "recipe.yaml").write_text(text)
    store = Store(root / place)
    build(load(root / "recipe.yaml", store.root, root).source.recipe, store, data_root=root)
    context = load(root / "recipe.yaml", store.root, root)
    return context, train(context.plan, store, context.manifests, options=tiny.options(**options))


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


RENAMES = {
    "one renamed": {"code": "programs"},
    "two exchanged": {"code": "web", "web": "code"},
    "all, sorting in another order": {"code": "z", "web": "y", "spare": "a"},
}


def called(names: dict[str, str], text: str = RECIPE) -> str:
    """The recipe with other names for its sources, the same files."""
    return re.sub(r"\b(code|web|spare)\b(?!\.jsonl)", lambda found: names.get(found[0], found[0]), text)


def reordered(text: str) -> str:
    """The recipe with its sources listed the other way round."""
    lines = text.splitlines()
    first = lines.index("sources:") + 1
    lines[first : first + 3] = reversed(lines[first : first + 3])
    return "\n".join(lines)


@pytest.mark.parametrize("change", RENAMES)
@pytest.mark.parametrize("order", [str, reordered])
def test_a_name_trains_nothing_again(straight, change, order):
    root, before, folders = straight
    names = RENAMES[change]
    after, now = contexts_and_folders(root, order(called(names)))
    assert now == folders
    tokens = before.plan.stages[0].planned_tokens()
    renamed = {names.get(name, name): n for name, n in tokens.items()}
    assert read_ledger(now[0], after.plan.stages[0])["consumed"] == renamed
    said = after.renamed_since(after.plan.stages[0])
    assert all(f"{new} (trained as {old})" in said for old, new in names.items() if old != "spare")
    facts = run_facts(after.plan, after.manifests, now, [])
    was = run_facts(before.plan, before.manifests, folders, [])
    for stage, old in zip(facts.stages, was.stages, strict=True):
        assert stage.training.ledger_equal and stage.training.renamed
        losses = {names.get(name, name): column for name, column in old.training.curves.losses.items()}
        assert stage.training.curves.losses == losses


@pytest.mark.parametrize("change", RENAMES)
def test_a_stage_stopped_half_way_goes_on_under_a_new_name(straight, change, capfd):
    root, _, folders = straight
    place = f"resumed {change}"
    contexts_and_folders(root, RECIPE, place, until=4)
    names = RENAMES[change]
    after, now = contexts_and_folders(root, called(names), place)
    assert "begins at step 0" not in capfd.readouterr().err
    assert [folder.name for folder in now] == [folder.name for folder in folders]
    for folder, other in zip(now, folders, strict=True):
        assert tiny.same_bits(tiny.weights(folder), tiny.weights(other))
    first, second = now
    assert json.loads((first / "ledger.json").read_text())["consumed"].keys() == {"code", "web"}
    lines = [json.loads(line) for line in (first / "metrics.jsonl").read_text().splitlines()]
    assert all("train/code/loss_nats_per_token" in line for line in lines)
    assert renamed_since(first, after.plan.stages[0]) and not renamed_since(second, after.plan.stages[1])


def test_what_differs_from_a_trained_stage_is_not_its_data(straight):
    root, _, _ = straight
    (root / "recipe.yaml").write_text(RECIPE.replace("peak: 3e-3", "peak: 2e-3"))
    context = load(root / "recipe.yaml", root / "store", root)
    assert context.why_untrained(context.plan.stages[0]) == "changed: learning_rate.peak 0.003 -> 0.002"
