"""Identity is opt-out: changing any leaf of a recipe changes its fingerprint,
unless the leaf is a name or a note.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.base_recipe import BASE, checked, recipe_text

from codemix.recipe.language import recipe_file, schema
from codemix.recipe.language.component import Component, identity
from codemix.recipe.language.fingerprint import fingerprint

FULL = recipe_text(
    {
        "    tokens: 400k\n": "    tokens: 400k\n    replace: [{share: 10%, of: code, by: prose}]\n    cursor: restart\n    seed: 3\n    fim: {web: 10%}\n    average_seeds: [1, 2]\n    limits: [{where: {kind: code}, max: 90%}]\n    init_from: {stage: init, load: weights}\n",
        "[web.jsonl]}": "[web.jsonl]}, ops: [{kind: line_lengths}, {kind: generated_by}], notes: why",
        "model: {": "dedup: [{kind: minhash, sources: [web, markup]}]\nlimits: [{where: {kind: code}, max: 99%}]\nsilence: {many-epochs: x}\nmodel: {",
        "learning_rate: {kind: cosine": "batch_size: {from: 2, to: 8, over: 100k tokens}\n    learning_rate: {kind: cosine",
    }
)
NOT_IDENTITY = {"name", "notes", "description"}


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from leaves(inner, (*path, i))
    else:
        yield path, value


def replacements(value):
    """Values near `value`, of its type; the first that is valid is used."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 2, value * 2, value - 1]
    if isinstance(value, float):
        return [value * 0.5, value + 0.25, 0.5, 2.0]
    if isinstance(value, str):
        words = [
            "7%",
            "run",
            "continue",
            "state",
            0.5,
            "13 steps",
            "segment",
            "reset",
            "restart",
            "redistribute",
            "skip",
            "documents",
            "relative",
            "float32",
            "normal",
            "exact",
            "code",
            "weights",
            "web",
            "prose",
            "rms",
            "none",
            "sequential",
            "x",
        ]
        return [*words, value + "x"]
    return (
        [1, 64, 0.5, 2, "x", [3], ["x"], {"code": "5%"}, "2%", "scratch", {"x": "y"}, "segment"]
        if value is None
        else [["x"], [5], {"x": "y"}, {"code": "5%"}]
    )


def test_every_leaf_of_the_schema_is_part_of_the_identity():
    recipe = recipe_file.parse_recipe(FULL, "full.yaml").recipe
    base, content = fingerprint(recipe), json.loads(recipe.model_dump_json(by_alias=True))
    changed, fixed = 0, []
    for path, value in leaves(content):
        for other in (r for r in replacements(value) if r != value):
            copy = json.loads(json.dumps(content))
            place = copy
            for part in path[:-1]:
                place = place[part]
            place[path[-1]] = other
            if path[-1] == "steps":
                place["tokens"] = None  # a stage has one of the two
            try:
                again = schema.Recipe.model_validate(copy)
            except (ValidationError, TypeError, KeyError):
                continue
            if identity(again) == identity(recipe) and path[-1] in NOT_IDENTITY:
                changed += 1
                break
            assert fingerprint(again) != base, path
            changed += 1
            break
        else:
            fixed.append(path)
    assert changed > 100
    empty_lists = {
        "ops",
        "tasks",
        "limits",
        "replace",
        "average_seeds",
        "fim",
        "groups",
        "dedup",
        "silence",
        "where",
        "metadata",
    }  # what could stand in them is tested where it does
    assert [p for p in fixed if p[-1] not in {"kind", "codemix", "preset"} | empty_lists] == [], str(fixed)


def test_writing_a_default_out_changes_nothing_and_neither_does_the_order_of_keys():
    a = recipe_file.parse_recipe(BASE, "a.yaml").recipe
    assert fingerprint(
        schema.Recipe.model_validate(json.loads(a.model_dump_json(by_alias=True)))
    ) == fingerprint(a)
    lines = BASE.splitlines(keepends=True)
    web, markup = (next(i for i, x in enumerate(lines) if x.startswith(f"  {n}:")) for n in ("web", "markup"))
    lines[web], lines[markup] = lines[markup], lines[web]
    assert fingerprint(recipe_file.parse_recipe("".join(lines), "b.yaml").recipe) == fingerprint(a)


def test_a_new_version_of_a_component_is_a_new_identity(monkeypatch):
    recipe = recipe_file.parse_recipe(BASE, "a.yaml").recipe
    before = fingerprint(recipe)
    monkeypatch.setattr(type(recipe.stages[0].learning_rate), "version", 99)
    assert fingerprint(recipe) != before


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_one_number_however_they_are_spelt(x):
    assert identity(x) == identity(float(repr(x)))
    assert identity(3.0) == identity(3) and identity(True) is True


def test_no_component_leaves_a_field_out():
    for cls in Component.__subclasses__():
        assert cls.NOT_IDENTITY <= NOT_IDENTITY


@pytest.mark.parametrize(
    "change",
    [
        {"tags: {kind: text": "tags: {kind: prose"},
        {"name: base": "name: base\ndescription: other"},
        {"max_epochs": "max_epochs"}
        if False
        else {"held_out: 1%}\n  web": "held_out: 1%, max_epochs: 3}\n  web"},
    ],
)
def test_what_changes_no_effect_keeps_the_stages(change):
    assert [s.fingerprint for s in checked(change).plan.stages] == [
        s.fingerprint for s in checked().plan.stages
    ]


def test_a_field_that_was_added_later_changes_no_identity_until_it_is_used():
    plain = schema.Model(d_model=16, n_layers=1, n_heads=1, d_ff=16)
    assert "block" not in identity(plain)
    assert identity(plain.model_copy(update={"block": "sequential"}))["block"] == "sequential"
    assert "qk_norm" not in identity(plain)
    assert identity(plain.model_copy(update={"qk_norm": True}))["qk_norm"] is True
