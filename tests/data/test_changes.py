"""`plan` says why something is built or trained again, and what of it is re-used."""

import json
from pathlib import Path

import pytest
from support.small_recipes import words, write_jsonl

from codemix.data.build.build import build
from codemix.data.store.store import Store
from codemix.data.workspace import open_workspace
from codemix.recipe.language.recipe_file import parse_recipe

RECIPE = """\
codemix: 1
name: s
tokenizer: {kind: bpe, vocab_size: 300, train: {bytes: 100kB, mixture: {text: 100%}}}
sources:
  text: {read: {kind: jsonl, paths: t.jsonl}, max_epochs: 50, held_out: 10%}
  web: {read: {kind: jsonl, paths: c.jsonl}, max_epochs: 50, ops: [{kind: size, max_bytes: 100kB}]}
  other: {read: {kind: jsonl, paths: o.jsonl}, max_epochs: 50}
dedup: [{kind: exact, sources: [web, other]}]
model: {d_model: 16, n_layers: 1, n_heads: 2, d_ff: 16}
training: {seq_len: 32, batch_size: 4}
stages:
  - name: init
    steps: 10
    mixture: {text: 50%, web: 25%, other: 25%}
    learning_rate: {kind: cosine, peak: 1e-3, floor: 1e-4, warmup: 10%}
  - name: cool
    steps: 4
    mixture: {text: 50%, web: 50%}
    learning_rate: {kind: linear, floor: 1e-6}
"""


def context_of(root: Path, content: str):
    return open_workspace(parse_recipe(content, str(root / "r.yaml")), Store(root / "store"), root)


def save_stages(root: Path, context) -> None:
    """What `train` leaves of the stages of a plan, as far as `plan` reads it."""
    for stage in context.plan.stages:
        folder = context.stage_dir(stage)
        folder.mkdir(parents=True)
        parent = stage.parent and {"stage": stage.parent.name, "fingerprint": stage.parent.fingerprint}
        sources = {s.source: {"key": s.key, "start": s.start, "windows": s.windows} for s in stage.sources}
        lineage = {"parent": parent, "load": stage.load, "tokens": stage.tokens, "sources": sources}
        (folder / "lineage.json").write_text(json.dumps(lineage))
        (folder / "recipe.yaml").write_text(RECIPE)
        (folder / "done.json").write_text("{}")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("changes")
    for i, name in enumerate("tco"):
        write_jsonl(root / f"{name}.jsonl", [words(100 * i + n, 60) for n in range(30)])
    build(parse_recipe(RECIPE, "r.yaml").recipe, Store(root / "store"), data_root=root)
    save_stages(root, context_of(root, RECIPE))
    return root


def test_what_is_there_needs_no_reason(built):
    context = context_of(built, RECIPE)
    assert {f.reason for f in context.found.values()} == {"built"}
    assert [context.why_untrained(s) for s in context.plan.stages] == ["", ""]


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        (
            "max_bytes: 100kB",
            "max_bytes: 50kB",
            {
                "text": "built",
                "web": "changed: ops.size.max_bytes 100000 -> 50000",
                "other": "its documents are re-used; changed: of `web` in dedup: ops.size.max_bytes 100000 -> 50000",
                "init": "changed: the data of `other`; the data of `web`",
                "cool": "changed: it starts from a different `init`",
            },
        ),
        (
            "[{kind: size",
            "[{kind: pii}, {kind: size",
            {"web": "changed: ops.pii nothing -> pii even_on_code False"},
        ),
        (
            "paths: c.jsonl",
            "paths: o.jsonl",
            {"web": "changed: read.paths c.jsonl -> o.jsonl; input o.jsonl new; input c.jsonl gone"},
        ),
        (
            "held_out: 10%",
            "held_out: 20%",
            {
                "text": "its documents are re-used; changed: held_out 1/10 -> 1/5; the text that the tokenizer is trained on",
                "web": "its documents are re-used; changed: the text that the tokenizer is trained on",
            },
        ),
        (
            "vocab_size: 300",
            "vocab_size: 310",
            {"web": "its documents are re-used; changed: tokenizer.vocab_size 300 -> 310"},
        ),
        (
            "kind: exact",
            "kind: minhash",
            {"text": "built", "web": "its documents are re-used; changed: dedup[0].kind exact -> minhash"},
        ),
        (
            "peak: 1e-3",
            "peak: 2e-3",
            {
                "web": "built",
                "init": "changed: learning_rate.peak 0.001 -> 0.002",
                "cool": "changed: it starts from a different `init`",
            },
        ),
        ("steps: 4", "steps: 6", {"init": "", "cool": "changed: tokens 512 -> 768"}),
        (
            "{text: 50%, web: 50%}",
            "{text: 25%, web: 75%}",
            {"cool": "changed: windows of `text` 8 -> 4; windows of `web` 8 -> 12"},
        ),
        (
            "{text: 50%, web: 50%}",
            "{text: 50%, other: 50%}",
            {"cool": "changed: `other` is new; `web` is gone"},
        ),
        ("name: cool", "name: cold", {"init": "", "cold": "not in the store"}),
        ("d_ff: 16", "d_ff: 32", {"init": "changed: model.d_ff 16 -> 32"}),
        (
            "  web:",
            "  fresh: {read: {kind: jsonl, paths: o.jsonl}}\n  web:",
            {"fresh": "not built yet", "web": "built"},
        ),
    ],
)
def test_the_change_is_named(built, old, new, reasons):
    assert old in RECIPE
    context = context_of(built, RECIPE.replace(old, new))
    said = {name: f.reason for name, f in context.found.items()}
    said |= {s.name: context.why_untrained(s) for s in context.checked.plan.stages}
    for name, reason in reasons.items():
        assert said[name].startswith(reason) and (reason or not said[name]), (name, said[name])


def test_a_changed_input_is_named(built):
    path = built / "t.jsonl"
    before = path.read_text()
    try:
        path.write_text(before + '{"text": "one more"}\n')
        assert context_of(built, RECIPE).found["text"].reason.startswith("changed: input t.jsonl changed")
    finally:
        path.write_text(before)


def test_damaged_manifests_give_no_reason_and_no_traceback(built):
    for path in (built / "store" / "data").glob("web-*/manifest.json"):
        before = path.read_text()
        try:
            path.write_text("{")
            changed = context_of(built, RECIPE.replace("max_bytes: 100kB", "max_bytes: 1kB"))
            assert changed.found["web"].reason == "not built yet"
        finally:
            path.write_text(before)


def test_diff_takes_sizes_from_a_store_when_asked(built, monkeypatch, capsys):
    import codemix.cli as cli

    monkeypatch.chdir(built)
    Path("a.yaml").write_text(RECIPE)
    Path("b.yaml").write_text(RECIPE.replace("steps: 4", "steps: 6"))
    said = []
    for more in ([], ["--store", "store"]):
        with pytest.raises(SystemExit):
            cli.main(["diff", "a.yaml", "b.yaml", "--json", *more])
        said.append(json.loads(capsys.readouterr().out)["moves"][0]["epochs"])
    assert said[0] == [None, None] and all(e > 0 for e in said[1])
