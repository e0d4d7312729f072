"""A source is what it holds: its name decides neither what a stage is nor what it reads."""

import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny

from codemix.data.loader.order import Order
from codemix.recipe.checks.validation import check
from codemix.recipe.diffs.diff import diff
from codemix.recipe.diffs.diff_tables import sentences
from codemix.recipe.language.recipe_file import parse_recipe
from codemix.recipe.planning.plan import Pool
from codemix.recipe.planning.planner import Planner

SIZES = {"content a": 3_000, "content b": 5_000, "content c": 900}
NAMES = {"content a": "alpha", "content b": "beta", "content c": "gamma"}
MIXTURES = (  # of the stages, by content; an odd number of rows, so that a unit is left over
    {"content a": 50, "content b": 50},
    {"content a": 30, "content b": 30, "content c": 40},
    {"content c": 100},
)


def recipe_of(names: dict[str, str], mixtures=MIXTURES, contents=SIZES, **more):
    stages = []
    for number, mixture in enumerate(mixtures):
        shares = {names[content]: f"{share}%" for content, share in mixture.items()}
        schedule = tiny.COSINE if number == 0 else {"kind": "constant", "value": "previous"}
        stages.append(
            {"name": f"s{number}", "steps": 7 + number, "mixture": shares, "learning_rate": schedule}
        )
    return tiny.make_recipe(stages, sources=[names[c] for c in contents], batch_size=3, **more)


def planner_of(names, mixtures=MIXTURES, contents=SIZES, outside=None, recipe=None):
    """Of sources whose content is known: the part of a key before `/` (so twins hold the same)."""
    pools = {names[c]: Pool((size,), 10, True, c.split("/")[0]) for c, size in contents.items()}
    return Planner(recipe or recipe_of(names, mixtures, contents), pools, outside)


def plan_of(names, *args, **more):
    planner = planner_of(names, *args, **more)
    plan = planner.plan()
    assert not planner.problems, planner.problems
    return plan


def what_is_read(stage, names):
    """For each row its content, epoch and window."""
    content = {name: content for content, name in names.items()}
    got = Order(stage).between(0, stage.rows)
    sources = [content[stage.sources[i].source] for i in got.source]
    return list(zip(sources, got.epoch.tolist(), got.window.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.permutations(["alpha", "beta", "gamma", "delta", "a", "zeta"]), st.permutations(list(SIZES)))
def test_any_names_in_any_order_are_the_same_stages_and_the_same_rows(names, order):
    others = dict(zip(SIZES, names, strict=False))
    before = plan_of(NAMES)
    after = plan_of(others, contents={content: SIZES[content] for content in order})
    for stage, other in zip(before.stages, after.stages, strict=True):
        assert stage.fingerprint == other.fingerprint
        assert [s.source for s in other.sources] == sorted(s.source for s in other.sources)
        assert what_is_read(stage, NAMES) == what_is_read(other, others)
        by_content = [
            {s.pool_fingerprint: (s.windows, s.start, s.epochs_after) for s in one.sources}
            for one in (stage, other)
        ]
        assert by_content[0] == by_content[1]


def test_epochs_count_on_under_a_new_name():
    [*_, last] = plan_of(NAMES).stages
    [gamma] = last.sources
    assert gamma.start > 0 and gamma.epochs_after == Fraction(gamma.start + gamma.windows, gamma.pool_windows)


TWINS = {"content a": 3_000, "content a/again": 3_000, "content b": 2_000}


@pytest.mark.parametrize("shares", [(50, 30, 20), (40, 40, 20)])
def test_two_sources_of_equal_content_stay_two(shares):
    names = {"content a": "one", "content a/again": "two", "content b": "b"}
    mixtures = (dict(zip(TWINS, shares, strict=True)), {"content a/again": 100})
    first, second = plan_of(names, mixtures, TWINS).stages
    keys = {s.source: s.key for s in first.sources}
    assert len(set(keys.values())) == 3
    assert [s.key for s in second.sources] == [keys["two"]]  # it goes on with its own cursor
    [two] = second.sources
    assert two.start == next(s.windows for s in first.sources if s.source == "two")
    rows = what_is_read(first, names)
    windows = [[window for content, _, window in rows if content == twin] for twin in list(TWINS)[:2]]
    shortest = min(map(len, windows))
    assert shortest and windows[0][:shortest] != windows[1][:shortest]  # each in an order of its own
    assert plan_of(names, mixtures, TWINS).stages[1].fingerprint == second.fingerprint
    if shares[0] != shares[1]:  # told apart by their shares, whatever they are called
        swapped = plan_of(names | {"content a": "two", "content a/again": "one"}, mixtures, TWINS)
        assert [s.fingerprint for s in swapped.stages] == [first.fingerprint, second.fingerprint]


def test_a_stage_of_another_recipe_hands_on_its_cursors_by_content():
    other = planner_of(NAMES)
    other.plan()
    names = {"content a": "gamma", "content b": "b", "content c": "alpha"}  # two of them swapped
    origin = {"recipe": "other.yaml", "stage": "s0"}
    stages = [{**MIXED, "init_from": origin, "mixture": {names[c]: f"{n}%" for c, n in MIXTURES[1].items()}}]
    recipe = tiny.make_recipe(stages, sources=list(names.values()), batch_size=3)
    [mine] = plan_of(names, outside=lambda index, origin: other.ends["s0"], recipe=recipe).stages
    theirs = other.plan().stages[1]
    assert mine.fingerprint == theirs.fingerprint
    assert {s.pool_fingerprint: s.start for s in mine.sources} == {
        s.pool_fingerprint: s.start for s in theirs.sources
    }


MIXED = {"name": "s1", "steps": 8, "learning_rate": {"kind": "constant", "value": "previous"}}


RECIPE = """
codemix: 1
name: renamed
tokenizer: {kind: bpe, vocab_size: 300, train: {bytes: 20kB, mixture: {alpha: 50%, beta: 50%}}}
sources:
  alpha: {read: {kind: jsonl, paths: a.jsonl}, tokens: 90k, max_epochs: 7, held_out: 5%}
  beta: {read: {kind: jsonl, paths: b.jsonl}, tokens: 50k, max_epochs: 9}
  raw: {read: {kind: jsonl, paths: c.jsonl}, tokens: 50k}
  gamma: {read: {kind: source, name: raw}, tokens: 50k, max_epochs: 9, ops: [{kind: size}]}
dedup: [{kind: exact, sources: [alpha, beta]}]
model: {d_model: 16, n_layers: 1, n_heads: 2, d_ff: 16}
training: {seq_len: 16, batch_size: 3}
stages:
  - {name: main, steps: 7, mixture: {alpha: 50%, beta: 50%}, fim: {alpha: 50%}, learning_rate: {kind: constant, value: 1e-3}}
  - {name: more, steps: 6, mixture: {alpha: 50%, gamma: 50%}, learning_rate: {kind: constant, value: previous}}
"""


def called(names: dict[str, str]) -> str:
    """The recipe with other names for its sources."""
    return re.sub(r"\b(alpha|beta|gamma|raw)\b", lambda found: names.get(found[0], found[0]), RECIPE)


RENAMES = [
    {"alpha": "omega"},
    {"raw": "a_raw"},
    {"alpha": "beta", "beta": "alpha"},
    {"alpha": "gamma", "beta": "alpha", "gamma": "beta"},
]


@pytest.mark.parametrize("names", RENAMES)
def test_diff_says_that_a_renamed_source_trains_nothing(names):
    before, after = (check(parse_recipe(text, "r.yaml")).require() for text in (RECIPE, called(names)))
    changes = diff(before, after)
    assert changes.renamed == tuple(sorted(names.items()))
    assert {s.path for s in changes.settings} <= {"sources.gamma.read.name"}
    assert not changes.stages and not changes.moves and not changes.sources and changes.prefix.whole
    assert diff(after, before) == changes.reversed() and not changes.empty
    said = "; ".join(sentences(changes))
    assert "nothing is trained again" in said and "data to build" not in said


def test_diff_says_a_rename_and_a_change_apart():
    text = called({"alpha": "omega"}).replace("omega: 50%, gamma: 50%", "omega: 25%, gamma: 75%")
    before, after = (check(parse_recipe(text, "r.yaml")).require() for text in (RECIPE, text))
    changes = diff(before, after)
    assert changes.renamed == (("alpha", "omega"),)
    assert [(move.stage, move.source) for move in changes.moves] == [
        ("more", "alpha = omega"),
        ("more", "gamma"),
    ]
    assert [(change.stage, change.parts) for change in changes.stages] == [("more", ("mixture",))]
    assert diff(after, before) == changes.reversed()
    assert "nothing is trained again" not in "; ".join(sentences(changes))
