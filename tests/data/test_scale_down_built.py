"""A recipe and its proxy, really built: as much duplicated text as the whole, the same held-out documents,
the same epochs but for what documents of unequal length leave to chance.
"""

from fractions import Fraction

import pytest
from support.small_recipes import words, write_jsonl

from codemix.data.build.build import build
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.store import Store
from codemix.data.workspace import open_workspace
from codemix.recipe.language import yaml_text
from codemix.recipe.language.recipe_file import of_document
from codemix.recipe.scaling.proxy_values import Wanted
from codemix.recipe.scaling.scale_down import scale_down

TEXT = """\
codemix: 1
name: target
tokenizer: {kind: bpe, vocab_size: 300, train: {bytes: 20kB}}
sources:
  copied: # each text three times
    read: {kind: jsonl, paths: copied.jsonl}
    ops: [{kind: size, min_bytes: 60}]
    held_out: 5%
    max_epochs: 5
  plain: {read: {kind: jsonl, paths: plain.jsonl}, held_out: 5%, max_epochs: 5}
dedup: [{kind: exact, sources: [copied, plain]}]
model: {d_model: 8, n_layers: 1, n_heads: 1, d_ff: 8}
training: {seq_len: 16, batch_size: 8}
stages:
  - name: one
    tokens: 40k
    mixture: {copied: 80%, plain: 20%}
    learning_rate: {kind: constant, value: 1e-3}
  - name: two
    tokens: 20k
    mixture: {copied: 30%, plain: 70%}
    learning_rate: {kind: constant, value: previous}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaled")
    write_jsonl(folder / "copied.jsonl", [words(i % 500, 12 + i % 500 % 13) for i in range(1500)])
    write_jsonl(folder / "plain.jsonl", [words(1000 + i, 12 + i % 17) for i in range(900)])
    return folder


def opened(root, text):
    source = of_document(yaml_text.parse(text, str(root / "t.yaml")))
    store = Store(root / "store")
    build(source.recipe, store, data_root=root)
    return open_workspace(source, store, root)


def documents(manifest, split):
    shards = manifest.shards(split)
    return [line["id"] for shard in shards for line in read_lines(manifest.folder / shard.docs)]


def test_built_ledgers_agree(root):
    target = opened(root, TEXT)
    larger = None
    for n in (4, 8):
        wanted = Wanted(Fraction(1, n), f"proxy-{n}")
        proxy = scale_down(target.source, target.plan, target.pools, wanted)
        small = opened(root, proxy.text)
        for whole, part in zip(target.plan.stages, small.plan.stages, strict=True):
            assert abs(part.tokens * n - whole.tokens) <= 16 * n  # one window
            for of_target, of_proxy in zip(whole.sources, part.sources, strict=True):
                ratio = of_proxy.epochs_after / of_target.epochs_after
                assert 0.75 < ratio < 1.3, (
                    of_target.source,
                    float(ratio),
                )  # about 60 documents of unequal length
        for name, manifest in small.manifests.items():
            whole = target.manifests[name]
            assert documents(manifest, "held_out") == documents(whole, "held_out")
            assert set(documents(manifest, "train")) < set(documents(whole, "train"))
            assert manifest.tokenizer["sha256"] == whole.tokenizer["sha256"]
        kept = {name: set(documents(manifest, "train")) for name, manifest in small.manifests.items()}
        assert larger is None or all(kept[name] < larger[name] for name in kept)
        larger = kept
