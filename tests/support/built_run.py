"""A small recipe of two sources and two stages, built: for tests of what reads its data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import codemix
from codemix.data.export.exporter import write_export
from codemix.data.loader.shards import Shards

RECIPE = """\
codemix: 1
name: small
tokenizer: {kind: bpe, vocab_size: 300, train: {bytes: 10kB}}
sources:
  code: {read: {kind: jsonl, paths: code.jsonl}, tags: {kind: code}, held_out: 10%, max_epochs: 50}
  docs: {read: {kind: jsonl, paths: docs.jsonl}, tags: {kind: text}, held_out: 10%, max_epochs: 50}
model: {d_model: 8, n_layers: 1, n_heads: 1, d_ff: 8}
training:
  seq_len: 16
  batch_size: BATCH_SIZE
  doc_mask: segment
  reset_positions: true
stages:
  - {name: init, steps: 8, mixture: {code: 60%, docs: 40%}, learning_rate: {kind: constant, value: 1e-3}}
  - {name: cooldown, steps: 2, mixture: {code: 100%}, learning_rate: {kind: linear, start: previous, floor: 0}}
evaluation: {max_bytes: 2kB}
"""
TEXTS = {
    "code": "def f{0}(x):\n    return x + {0}\n",
    "docs": "Text number {0} is about {0}.\n",
}


def built_run(folder: Path, batch_size: str = "{from: 2, to: 6, over: 100%, n_steps: 2}") -> codemix.Run:
    """The recipe in `folder`, built."""
    path = folder / "small.yaml"
    path.write_text(RECIPE.replace("BATCH_SIZE", batch_size))
    for source, text in TEXTS.items():
        rows = [json.dumps({"text": text.format(n) * (1 + n % 4)}) for n in range(60)]
        (folder / f"{source}.jsonl").write_text("\n".join(rows) + "\n")
    run = codemix.open(path, store=folder / "store", data_root=folder)
    run.build()
    return run


def documents(run: codemix.Run, source: str, split: str = "train") -> list[np.ndarray]:
    """The tokens of every document of a split."""
    shards = Shards(run.workspace.manifests[source], split, 1)
    counts = [shard.documents for shard in shards.shards]
    return [np.array(shards.document(n, d)) for n, count in enumerate(counts) for d in range(count)]


def windows(run: codemix.Run) -> np.ndarray:
    """The rows of stage `init` with their last targets: [rows, T + 1]."""
    rows = run.stage("init")[:]
    return np.concatenate([rows["inputs"][:, :1], rows["targets"]], axis=1)


def exported(run: codemix.Run, format: str, folder: Path, **more: str) -> Path:
    """The folder, with an export of the run in it."""
    write_export(run.plan_export(format, **more), folder)
    return folder
