"""A key that another kind, or another tool, has for the same thing:
its hint is the right key, and nothing follows from its absence.
"""

import itertools

import pytest

from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.language import schema, yaml_text
from codemix.recipe.language.component import FAMILIES, component_class, kinds
from codemix.recipe.language.synonyms import _GROUPS, meant

RECIPE = """\
codemix: 1
name: x
tokenizer: {kind: tokenizer_json, path: t.json}
sources:
  a: {read: {kind: jsonl, paths: a.jsonl}, tokens: 1B, held_out: 1%, ops: [{kind: size, max_bytes: 9kB}]}
model: {d_model: 64, n_layers: 1, n_heads: 1, d_ff: 64}
training: {seq_len: 64, batch_size: 4}
stages:
  - name: only
    tokens: 1M
    mixture: {a: 100%}
    learning_rate: {kind: constant, value: 1e-3}
"""


def said(content: str) -> list[tuple[str, tuple[str, ...]]]:
    try:
        return [
            (p.what, p.hints) for p in validation.check_document(yaml_text.parse(content, "r.yaml")).errors
        ]
    except CodemixError as error:
        return [(p.what, p.hints) for p in error.problems]


RATES = {
    "constant": ("value", ""),
    "cosine": ("peak", ""),
    "wsd": ("peak", ", decay: 10%"),
    "linear": ("start", ""),
    "exponential": ("start", ", floor: 1e-6"),
}


@pytest.mark.parametrize(
    ("kind", "word"), itertools.product(RATES, ["value", "peak", "start", "lr", "max_lr"])
)
def test_a_sibling_schedules_name_for_the_rate(kind, word):
    right, more = RATES[kind]
    if word == right:
        return
    content = RECIPE.replace("{kind: constant, value: 1e-3}", f"{{kind: {kind}, {word}: 1e-3{more}}}")
    assert said(content) == [(f"`{word}` is not a key here", (f"did you mean `{right}`?",))]


@pytest.mark.parametrize(
    ("old", "new", "right"),
    [
        ("paths: a", "path: a", "paths"),
        ("paths: a", "files: a", "paths"),
        ("path: t.json", "file: t.json", "path"),
        ("max_bytes: 9kB", "max_size: 9kB", "max_bytes"),
        ("n_layers: 1", "num_hidden_layers: 1", "n_layers"),
        ("d_model: 64", "hidden_size: 64", "d_model"),
        ("seq_len: 64", "sequence_length: 64", "seq_len"),
        ("seq_len: 64", "seqlen: 64", "seq_len"),
        ("batch_size: 4", "global_batch_size: 4", "batch_size"),
        ("    tokens: 1M", "    budget: 1M", "tokens"),
        ("mixture: {a", "proportions: {a", "mixture"),
        ("learning_rate: {kind", "schedule: {kind", "learning_rate"),
        ("held_out: 1%", "holdout: 1%", "held_out"),
        ("ops: [", "filters: [", "ops"),
    ],
)
def test_other_tools_words(old, new, right):
    assert old in RECIPE
    word = new.split(":")[0].strip(" {[")
    found = said(RECIPE.replace(old, new))
    assert (f"`{word}` is not a key here", (f"did you mean `{right}`?",)) in found
    assert [what for what, _ in found if "is missing" in what] == []


def test_a_key_without_a_meaning_implies_nothing_about_its_mapping():
    content = RECIPE.replace("{kind: constant, value: 1e-3}", "{kind: constant, frobnicate: 1e-3}")
    assert [what for what, _ in said(content)] == ["`frobnicate` is not a key here"]
    content = content.replace("a: 100%", "a: 90%")  # what is elsewhere is still told
    assert [what for what, _ in said(content)] == [
        "the shares sum to 90%, not 100%",
        "`frobnicate` is not a key here",
    ]


def test_a_misspelling_comes_before_a_wild_guess():
    assert meant("flor", ["peak", "floor"]) == ["floor"] and meant("xyzzy", ["peak", "floor"]) == []


def test_every_group_has_a_word_of_ours():
    specs = [
        schema.Recipe,
        schema.SourceSpec,
        schema.Stage,
        schema.Training,
        schema.Model,
        schema.Optimizer,
        schema.Evaluation,
    ]
    ours = {n for spec in specs for n in spec.model_fields}
    ours |= {n for f in FAMILIES for k in kinds(f) for n in component_class(f, k).model_fields}
    assert [group for group in _GROUPS if not group & ours] == []
