"""Diffs of plans: empty with itself, antisymmetric, and right about what stays identical, moves,
is rebuilt and retrained.
"""

import subprocess
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.base_recipe import TWO_STAGES as BASE

from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.diffs import diff_tables, git_revision
from codemix.recipe.diffs.diff import diff, identical_data
from codemix.recipe.language import recipe_file
from codemix.recipe.planning.plan import lineage

CHANGES = {  # a change to the text -> what must be said about it
    "nothing": ("", ""),
    "name": ("name: base", "name: other"),
    "notes": ("name: base", "name: base\nnotes: words"),
    "data": ("c.jsonl", "d.jsonl"),
    "op": ("{kind: max_floats}", "{kind: max_floats, max_floats: 5}"),
    "first mixture": ("text: 50%, web: 50%", "text: 60%, web: 40%"),
    "second mixture": ("text: 80%, web: 20%", "text: 70%, web: 30%"),
    "rate": ("floor: 1e-6", "floor: 1e-5"),
    "peak": ("peak: 1e-3", "peak: 2e-3"),
    "steps": ("steps: 100\n", "steps: 50\n"),
    "more steps": ("steps: 1000", "steps: 1200"),
    "seed": ("name: base", "name: base\nseed: 3"),
    "batch": ("batch_size: 8", "batch_size: 4"),
    "seq_len": ("seq_len: 1024", "seq_len: 512"),
    "model": ("preset: 120M", "preset: 470M"),
    "tokenizer": ("path: t.json", "path: u.json"),
    "held out": ("held_out: 1%", "held_out: 2%"),
    "stage name": ("name: cooldown", "name: anneal"),
    "first stage name": ("name: init", "name: a-start"),
    "decay": ("batch_size: 8}", "batch_size: 8, optimizer: {weight_decay: 0.2}}"),
    "mask": ("batch_size: 8}", "batch_size: 8, doc_mask: segment}"),
    "source name": ("web", "net"),
    "third source": ("stages:", "  #\nstages:"),
    "fim": ("    steps: 100\n", "    steps: 100\n    fim: {web: 50%}\n"),
    "scratch": ("    steps: 100\n", "    steps: 100\n    init_from: scratch\n"),
    "restart": ("    steps: 100\n", "    steps: 100\n    cursor: restart\n"),
    "reset": ("    steps: 100\n", "    steps: 100\n    optimizer_state: reset\n"),
    "evaluation": ("stages:", "evaluation: {max_bytes: 5MB}\nstages:"),
}


def plan(changed: str = "nothing", base: str = BASE):
    old, new = CHANGES[changed]
    text = base.replace(old, new) if old else base
    return validation.check(recipe_file.parse_recipe(text, "x.yaml")).require()


PLANS = {name: plan(name) for name in CHANGES}
NO_EFFECT = {"nothing", "name", "notes", "third source"}


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_does_not_differ_from_itself(name):
    found = diff(PLANS[name], plan(name))
    assert (
        found.empty
        and found.prefix.whole
        and found.prefix.steps == sum(s.steps for s in lineage(PLANS[name].stages[-1]))
    )
    assert "nothing differs" in diff_tables.as_text(found)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(CHANGES)), st.sampled_from(sorted(CHANGES)))
def test_the_other_way_round_is_the_same_with_sides_exchanged(a, b):
    there, back = diff(PLANS[a], PLANS[b]), diff(PLANS[b], PLANS[a])
    assert back == there.reversed() and there == back.reversed()
    assert [m.moved for m in there.moves] == [-m.moved for m in back.moves]
    assert there.empty == (a == b or {a, b} <= NO_EFFECT)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(CHANGES)), st.sampled_from(sorted(CHANGES)))
def test_tokens_moved_add_up_to_the_difference_of_the_stages(a, b):
    moved = sum(m.moved for m in diff(PLANS[a], PLANS[b]).moves)
    assert moved == sum(s.tokens for s in PLANS[b].stages) - sum(s.tokens for s in PLANS[a].stages)


@pytest.mark.parametrize(
    ("name", "steps", "shared", "rebuilt", "trained"),
    [
        ("data", 0, [], {"web": ("inputs",)}, {"init": ("data",), "cooldown": ("start", "data")}),
        ("op", 0, [], {"web": ("ops",)}, {"init": ("data",), "cooldown": ("start", "data")}),
        ("first mixture", 0, [], {}, {"init": ("mixture",), "cooldown": ("start", "data")}),
        ("second mixture", 1000, ["init"], {}, {"cooldown": ("mixture",)}),
        ("rate", 1100, ["init"], {}, {"cooldown": ("learning rate",)}),
        ("peak", 1100, [], {}, {"init": ("learning rate",), "cooldown": ("start",)}),
        ("steps", 1000, ["init"], {}, {"cooldown": ("budget", "mixture")}),
        ("model", 1100, [], {}, {"init": ("model",), "cooldown": ("start", "model")}),
        ("decay", 1100, [], {}, {"init": ("training",), "cooldown": ("start", "training")}),
        (
            "tokenizer",
            0,
            [],
            {"text": ("tokenizer",), "web": ("tokenizer",)},
            {"init": ("data",), "cooldown": ("start", "data")},
        ),
        ("fim", 1000, ["init"], {}, {"cooldown": ("fill-in-the-middle",)}),
        ("restart", 1000, ["init"], {}, {"cooldown": ("data",)}),
        ("reset", 1100, ["init"], {}, {"cooldown": ("start",)}),
    ],
)
def test_what_stays_and_what_does_not(name, steps, shared, rebuilt, trained):
    found = diff(PLANS["nothing"], PLANS[name])
    assert found.prefix.steps == steps
    assert [a for a, _ in found.shared] == shared
    assert {s.source: s.parts for s in found.sources} == rebuilt
    assert {s.stage: s.parts for s in found.stages} == trained
    if steps:
        assert f"steps 0-{steps - 1:,} read identical data" in diff_tables.as_markdown(found)


def test_epochs_are_cumulated_over_the_stages():
    (move,) = [m for m in diff(PLANS["nothing"], PLANS["second mixture"]).moves if m.source == "web"]
    assert (move.stage, move.moved) == ("cooldown", 100 * 8 * 1024 // 10)
    assert move.epochs[1] - move.epochs[0] == Fraction(80, PLANS["nothing"].stages[0].sources[1].pool_windows)
    assert move.epochs[0] > Fraction(4000, PLANS["nothing"].stages[0].sources[1].pool_windows), (
        "the first stage counts"
    )


def test_a_renamed_stage_is_still_trained_once():
    found = diff(PLANS["nothing"], PLANS["stage name"])
    assert found.shared == (("init", "init"), ("cooldown", "anneal"))
    assert {s.stage: s.exists for s in found.stages} == {"cooldown": (True, False), "anneal": (False, True)}
    assert found.prefix.whole and "`cooldown` = `anneal`" in diff_tables.as_markdown(found)


def test_identical_data_is_what_the_loader_reads():
    """The claim of identical steps, checked against the order itself."""
    from codemix.data.loader.order import Order

    ramp = BASE.replace("text: 50%, web: 50%", "text: {ramp: {from: 90%, to: 10%}}, web: rest")
    pairs = [
        (PLANS["nothing"], PLANS["peak"]),
        (PLANS["nothing"], PLANS["first mixture"]),
        (plan(base=ramp), plan("second mixture", ramp)),
    ]
    for a, b in pairs:
        claimed = identical_data(a, b).steps
        same = 0
        for x, y in zip(a.stages, b.stages, strict=True):
            orders = Order(x), Order(y)
            for step in range(x.steps):
                p, q = (order.rows(step) for order in orders)
                names = [[s.source for s in stage.sources] for stage in (x, y)]
                if [names[0][i] for i in p.source] != [names[1][i] for i in q.source] or (
                    p.window != q.window
                ).any():
                    break
                same += 1
            else:
                continue
            break
        assert claimed <= same, "never claims more than is true"
        assert claimed == same or same < 20, (claimed, same)


def test_a_batch_ramp_counts_whole_steps():
    ramped = BASE.replace("batch_size: 8", "batch_size: {from: 4, to: 8, over: 10%, n_steps: 2}")
    other = BASE.replace("batch_size: 8", "batch_size: {from: 4, to: 8, over: 10%, n_steps: 1}")
    a, b = plan(base=ramped), plan(base=other)
    assert identical_data(a, a).steps == 1100 and identical_data(a, b).steps < 1000


def test_outputs_agree():
    found = diff(PLANS["nothing"], PLANS["second mixture"])
    value = diff_tables.as_json(found)
    assert (
        value["prefix"] == {"steps": 1000, "tokens": 1000 * 8 * 1024, "whole": False} and not value["empty"]
    )
    assert [m["tokens"] for m in value["moves"]] == [(655360, 573440), (163840, 245760)]
    for shown in (diff_tables.as_text(found), diff_tables.as_markdown(found)):
        assert "655,360" in shown and "573,440" in shown and "-81,920" in shown
    settings = {s.path: s.values for s in diff(PLANS["nothing"], PLANS["rate"]).settings}
    assert settings == {"stages.cooldown.learning_rate.floor": ("1e-06", "1e-05")}


def test_two_revisions_of_one_file(tmp_path):
    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    path = tmp_path / "r.yaml"
    git("init", "-q")
    for name in ("nothing", "second mixture"):
        path.write_text(BASE.replace(*CHANGES[name]) if name != "nothing" else BASE)
        git("add", "r.yaml")
        git("commit", "-q", "-m", name)
    found = diff(git_revision.load_side(f"HEAD~1:{path}"), git_revision.load_side(str(path)))
    assert [a for a, _ in found.shared] == ["init"] and found.moves
    assert diff(git_revision.load_side(f"HEAD:{path}"), git_revision.load_side(str(path))).empty
    wrong = {
        f"nowhere:{path}": "git has no r.yaml at nowhere",
        f"HEAD:{tmp_path}/s.yaml": "git has no s.yaml",
        f"--help:{path}": "not a git revision",
    }
    for side, says in wrong.items():
        with pytest.raises(CodemixError, match=says):
            git_revision.load_side(side)


def test_stages_of_another_recipe_count_as_shared(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    child = BASE.replace("name: base", "name: child").replace(
        "  - name: init\n    steps: 1000",
        "  - name: more\n    init_from: {recipe: base.yaml, stage: init}\n    steps: 300",
    )
    (tmp_path / "child.yaml").write_text(child)
    found = diff(
        git_revision.load_side(str(tmp_path / "base.yaml")),
        git_revision.load_side(str(tmp_path / "child.yaml")),
    )
    assert found.shared == (("init", "init"),) and found.prefix.steps == 1000
    assert {s.stage: s.exists for s in found.stages} == {"more": (False, True), "cooldown": (True, True)}
    assert "init" not in {m.stage for m in found.moves}


def test_sources_differ_by_what_they_are_made_of():
    unsized = BASE.replace("tokens: 100M, ", "").replace("tokens: 50M, ", "")
    for name in ("data", "op", "tokenizer", "held out"):
        found = diff(plan(base=unsized), plan(name, unsized))
        assert found.sources and found.prefix.steps == 0 and not found.shared, name
    mixed = BASE.replace("text: 50%, web: 50%", "text: 100%").replace(
        "{kind: tokenizer_json, path: t.json}", "{kind: bpe, vocab_size: 512}"
    )
    deduped = mixed.replace("bpe, vocab_size: 512", "tokenizer_json, path: t.json").replace(
        "model:", "dedup: [{kind: exact, sources: [web, text]}]\nmodel:"
    )
    for base, part in (
        (mixed, "tokenizer"),
        (deduped, "dedup"),
    ):  # of a first stage that does not read what changes
        found = diff(plan(base=base), plan("op", base))
        assert (
            {s.source: s.parts for s in found.sources}["text"] == (part,)
            and found.prefix.steps == 0
            and not found.shared
        )
    found = diff(plan(base=unsized), plan("notes", unsized))
    assert found.empty and found.prefix.whole and len(found.shared) == 2


OPS = "ops: [{kind: max_floats}]"


@pytest.mark.parametrize(
    ("old", "new", "settings"),
    [
        (OPS, "ops: [{kind: max_floats, max_floats: 5}]", {"ops.max_floats.max_floats": ("1000", "5")}),
        (OPS, "ops: []", {"ops.max_floats": ("max_floats max_floats 1000", None)}),
        (
            OPS,
            "ops: [{kind: size, max_bytes: 9kB}, {kind: max_floats}]",
            {"ops.size": (None, "size min_bytes 1 max_bytes 9000")},
        ),
        (
            OPS,
            "ops: [{kind: max_floats}, {kind: max_floats, max_floats: 1}]",
            {"ops.max_floats#2": (None, "max_floats max_floats 1")},
        ),
        (OPS, "ops: [{kind: max_floats}], on_bad: skip", {"on_bad": ("error", "skip")}),
        ("paths: c.jsonl", "paths: d.jsonl", {"read.paths": ("c.jsonl", "d.jsonl")}),
        (
            "{kind: jsonl, paths: c.jsonl}",
            "{kind: text, paths: c.txt}",
            {"read": ("jsonl paths c.jsonl", "text paths c.txt")},
        ),
    ],
)
def test_the_op_and_the_value_that_changed_are_named(old, new, settings):
    assert old in BASE
    found = diff(
        *(
            validation.check(recipe_file.parse_recipe(text, "r.yaml")).require()
            for text in (BASE, BASE.replace(old, new))
        )
    )
    assert {s.path.removeprefix("sources.web."): s.values for s in found.settings} == settings


def test_ops_in_another_order_are_a_change_of_order_only():
    first = BASE.replace(OPS, "ops: [{kind: max_floats}, {kind: size, max_bytes: 9kB}]")
    second = BASE.replace(OPS, "ops: [{kind: size, max_bytes: 9kB}, {kind: max_floats}]")
    found = diff(
        *(validation.check(recipe_file.parse_recipe(text, "r.yaml")).require() for text in (first, second))
    )
    assert [(s.path, s.values) for s in found.settings] == [
        ("sources.web.ops.order", ("max_floats, size", "size, max_floats"))
    ]


def test_dedup_is_told_by_field():
    dedup = "dedup: [{kind: exact, sources: [text, web]}]\nmodel:"
    first, second = BASE.replace("model:", dedup), BASE.replace("model:", dedup.replace("exact", "minhash"))
    found = diff(
        *(validation.check(recipe_file.parse_recipe(text, "r.yaml")).require() for text in (first, second))
    )
    assert [(s.path, s.values) for s in found.settings] == [("dedup[0].kind", ("exact", "minhash"))]
