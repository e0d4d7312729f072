"""Small recipes that every test may bend."""

BASE = """\
codemix: 1
name: base
tokenizer: {kind: bpe, vocab_size: 4096, train: {bytes: 1MB}}
sources:
  prose: {read: {kind: jsonl, paths: [prose.jsonl]}, tokens: 10M, documents: 10000, tags: {kind: text, licence: cc0}, held_out: 1%}
  web: {read: {kind: jsonl, paths: [web.jsonl]}, tokens: 4M, documents: 1000, tags: {kind: code, licence: mit}, held_out: 1%}
  markup: {read: {kind: jsonl, paths: [markup.jsonl]}, tokens: 1M, documents: 500, tags: {kind: markup, licence: gpl}, held_out: 1%}
groups:
  code: {web: 80%, markup: 20%}
model: {d_model: 64, n_layers: 2, n_heads: 4, d_ff: 128}
training: {seq_len: 128, batch_size: 8}
stages:
  - name: init
    tokens: 2M
    mixture: {prose: 50%, code: 50%}
    learning_rate: {kind: cosine, peak: 1e-3, floor: 1e-4, warmup: 10 steps}
  - name: cooldown
    tokens: 400k
    mixture: {prose: 80%, code: 20%}
    learning_rate: {kind: linear, start: previous, floor: 1e-6}
"""

TWO_STAGES = """\
codemix: 1
name: base
tokenizer: {kind: tokenizer_json, path: t.json}
sources:
  text: {read: {kind: jsonl, paths: t.jsonl}, tokens: 100M, held_out: 1%}
  web: {read: {kind: jsonl, paths: c.jsonl}, tokens: 50M, ops: [{kind: max_floats}]}
model: {preset: 120M}
training: {seq_len: 1024, batch_size: 8}
stages:
  - name: init
    steps: 1000
    mixture: {text: 50%, web: 50%}
    learning_rate: {kind: cosine, peak: 1e-3, floor: 1e-4, warmup: 1%}
  - name: cooldown
    steps: 100
    mixture: {text: 80%, web: 20%}
    learning_rate: {kind: linear, start: 4e-4, floor: 1e-6}
"""


def recipe_text(changes=None, **_):
    """The base recipe with each `old` replaced by `new`;
    a change that finds nothing is a mistake of the test.
    """
    text = BASE
    for old, new in (changes or {}).items():
        assert old in text, f"{old!r} is not in the base recipe"
        text = text.replace(old, new, 1)
    return text


def checked(changes=None, pools=None):
    """`rules.check` of the bent base recipe."""
    from codemix.recipe.checks import validation
    from codemix.recipe.language import recipe_file

    return validation.check(recipe_file.parse_recipe(recipe_text(changes), "recipe.yaml"), pools)
