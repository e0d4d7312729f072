"""The recipe that `codemix init` writes: small, commented, ready to run on data that every machine has."""

from __future__ import annotations

import re

from codemix.recipe.language.yaml_text import name_text

STARTING_RECIPE = """\
# yaml-language-server: $schema=recipe.schema.json
# For completion in your editor: `codemix schema > recipe.schema.json`. Check this file with
# `codemix validate`, see what it will do with `codemix plan`, do it with `codemix run`.
codemix: 1 # version of this format
name: {name}
description: text and code, then mostly text, then a cooldown

# A tokenizer trained on this recipe's own documents. For a ready one:
# {{kind: tokenizer_json, path: tokenizer.json}}
tokenizer:
  kind: bpe
  vocab_size: 4096
  train: {{bytes: 4MB, mixture: {{text: 50%, code: 50%}}}}

# Where documents come from. These two read what your Python came with; `codemix components source` lists
# other kinds, for example {{kind: jsonl, paths: my/*.jsonl.zst}}.
sources:
  text:
    read: {{kind: python_docs}}
    tags: {{kind: text}} # axes of your own, for limits and reports
    max_epochs: 8 # how often a token may be read over all stages; more is an error before anything runs
    held_out: 2% # documents that are never trained on, for bits per byte
  code:
    read: {{kind: python_stdlib}}
    tags: {{kind: code}}
    max_epochs: 4
    held_out: 2%

model: {{d_model: 64, n_layers: 4, n_heads: 4, d_ff: 192}}
training: {{seq_len: 256, batch_size: 16}} # 4,096 tokens per step

# Each stage has its tokens, its mixture and its learning rate. Each continues from the one before.
stages:
  - name: init
    tokens: 200k
    mixture: {{text: 50%, code: 50%}} # shares of tokens; they must sum to 100%
    learning_rate: {{kind: cosine, peak: 3e-3, floor: 3e-4, warmup: 5%}}

  - name: continue
    tokens: 200k
    mixture: {{text: 90%, code: rest}}
    learning_rate: {{kind: cosine, peak: 3e-3, floor: 3e-4, warmup: 5%, warmup_from: previous}}

  - name: cooldown
    tokens: 40k
    mixture: {{text: 80%, code: 20%}}
    learning_rate: {{kind: linear, start: previous, floor: 1e-6}}
"""


def starting_recipe(name: str = "my-recipe") -> str:
    """The text of a recipe called `name`, or the nearest name that a recipe may have."""
    plain = re.sub(r"[^a-z0-9_.+-]+", "-", name.lower())
    nearest = plain.strip("-._+")[:64]
    quoted = name_text(nearest or "my-recipe")
    return STARTING_RECIPE.format(name=quoted)
