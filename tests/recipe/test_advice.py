"""Hints with numbers work when they are followed to the letter:
each edit that a message names is made, and the problem is gone.
"""

import copy
import re
from fractions import Fraction

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from codemix.recipe.checks import validation
from codemix.recipe.language import recipe_file, yaml_text

often = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
SOURCES = {"a": "code", "b": "text", "c": "text"}
shares = st.integers(1, 10**6).map(lambda n: Fraction(n, 10**6)) | st.integers(1, 99).map(
    lambda n: Fraction(n, 100)
)
tokens = st.integers(3, 8).flatmap(lambda digits: st.integers(10**digits, 10 ** (digits + 1)))


def recipe(
    mixture,
    stage_tokens=10**6,
    *,
    sizes=None,
    max_epochs=1,
    cursor="continue",
    seq_len=64,
    batch=4,
    first=None,
    limits=(),
    n_steps=None,
):
    """A recipe as plain values: an optional stage before, and the stage that is judged."""
    rate = {"kind": "constant", "value": 0.001}
    size = batch if n_steps is None else {"from": batch, "to": 4 * batch, "over": "50%", "n_steps": n_steps}
    last = {
        "name": "last",
        "tokens": stage_tokens,
        "mixture": mixture,
        "learning_rate": rate,
        "cursor": cursor,
        "limits": list(limits),
        "batch_size": size,
    }
    before = (
        [{"name": "first", "tokens": first, "mixture": {"a": "100%"}, "learning_rate": rate}] if first else []
    )
    return {
        "codemix": 1,
        "name": "advice",
        "tokenizer": {"kind": "bpe", "vocab_size": 300, "train": {"bytes": "1MB"}},
        "sources": {
            n: {
                "read": {"kind": "jsonl", "paths": f"{n}.jsonl"},
                "tags": {"kind": kind},
                "held_out": "1%",
                "max_epochs": max_epochs,
            }
            | ({"tokens": sizes[n]} if sizes and n in sizes else {})
            for n, kind in SOURCES.items()
        },
        "model": {"d_model": 8, "n_layers": 1, "n_heads": 1, "d_ff": 8},
        "training": {"seq_len": seq_len, "batch_size": batch},
        "stages": [*before, last],
        "silence": {},
    }


def errors(value):
    return validation.check(recipe_file.parse_recipe(yaml_text.dump(value), "advice.yaml")).errors


def percent(share):
    return f"{share.numerator}/{share.denominator}"


def check(value, rule, edits):
    """Each of `edits`, a pattern in a hint and what to do with what it captures,
    is made where the hint offers it.
    """
    mine = [p for p in errors(value) if p.rule == rule]
    assume(mine)
    problem, made = mine[0], 0
    advice = "\n".join(problem.hints)
    assert "~" not in advice.replace("the largest with ~", "")
    for pattern, edit in edits:
        for found in re.finditer(pattern, advice):
            changed = copy.deepcopy(value)
            edit(changed, *found.groups())
            left = [p for p in errors(changed) if p.where.path == problem.where.path or p.rule == "schema"]
            assert not left, (found[0], left[0].render())
            made += 1
    assert made, advice


def set_last(key, value):
    def edit(recipe, *found):
        recipe["stages"][-1][key] = value(*found) if callable(value) else value

    return edit


def set_share(recipe, share):
    recipe["stages"][-1]["mixture"]["a"] = share


def set_source(key, value):
    def edit(recipe, *found):
        recipe["sources"]["a"][key] = value(*found) if callable(value) else value

    return edit


@often
@given(
    st.integers(1, 99),
    st.integers(10**4, 10**9),
    st.floats(0.001, 1),
    st.sampled_from([0.5, 1, 1.3, 4]),
    st.none() | st.floats(0.1, 0.9),
    st.sampled_from([None, 3]),
)
def test_over_the_cap(share, stage_tokens, has, max_epochs, before, n_steps):
    size = int(stage_tokens * share / 100 * has / max_epochs) + 300
    first = None if before is None else max(256, int(size * max_epochs * before))
    value = recipe(
        {"a": f"{share}%", "b": "rest"},
        stage_tokens,
        sizes={"a": size},
        max_epochs=max_epochs,
        first=first,
        n_steps=n_steps,
    )
    assume(not any(p.where.path.startswith("stages[0]") for p in errors(value)) or not first)
    edits = [
        (r"lower its share to (\S+) of stage", set_share),
        (r"the stage to (\S+) tokens", set_last("tokens", str)),
        (r"`max_epochs` to ([\d.]+)", set_source("max_epochs", float)),
        (r"on_cap: (redistribute)", set_source("on_cap", str)),
        (r"(remove) it from this stage", lambda r, _: r["stages"][-1]["mixture"].update(a="0%")),
    ]
    check(value, "max-epochs", edits)


@often
@given(st.integers(5, 99), st.integers(10**6, 10**9), st.floats(0.01, 0.9), st.floats(0.01, 0.99))
def test_over_the_cap_by_what_others_hand_over(share, stage_tokens, has, room):
    """A lower share would not help: it is what `b` cannot give that is too much."""
    sizes = {"b": int(stage_tokens * (100 - share) / 100 * has) + 300}
    sizes["a"] = (
        int(stage_tokens * share / 100 + (stage_tokens * (100 - share) / 100 - sizes["b"]) * room) + 300
    )
    value = recipe({"a": f"{share}%", "b": "rest"}, stage_tokens, sizes=sizes)
    value["sources"]["b"]["on_cap"] = "redistribute"
    mine = [p for p in errors(value) if p.rule == "max-epochs" and p.where.path.endswith("mixture.a")]
    assume(mine and "handed over" in mine[0].hints[0])
    assert "share" not in "".join(mine[0].hints)
    check(
        value,
        "max-epochs",
        [
            (r"shorten the stage to (\S+) tokens", set_last("tokens", str)),
            (r"`max_epochs` to ([\d.]+)", set_source("max_epochs", float)),
        ],
    )


@often
@given(st.integers(2, 98), st.data(), st.integers(10**5, 10**6), st.floats(0.05, 0.95), st.floats(1.001, 3))
def test_siblings_are_offered_only_what_they_can_take(x, data, stage_tokens, has, spare):
    y = data.draw(st.integers(1, 99 - x))
    asked = {"a": x, "b": y, "c": 100 - x - y}
    sizes = {
        n: int(stage_tokens * share / 100 * (has if n == "a" else spare)) + 65 for n, share in asked.items()
    }
    value = recipe({n: f"{share}%" for n, share in asked.items()}, stage_tokens, sizes=sizes)
    mine = [p for p in errors(value) if p.rule == "max-epochs" and p.where.path.endswith("mixture.a")]
    assume(mine and len(errors(value)) == 1)
    offered = any("redistribute" in hint for hint in mine[0].hints)
    value["sources"]["a"]["on_cap"] = "redistribute"
    assert offered == (not errors(value))


@often
@given(
    st.integers(1, 999).map(lambda n: Fraction(n, 10**7)), st.integers(256, 10**5), st.sampled_from([None, 3])
)
def test_too_small_a_share(share, stage_tokens, n_steps):
    value = recipe({"a": percent(share), "b": "rest"}, stage_tokens, n_steps=n_steps)
    check(
        value,
        "zero-windows",
        [
            (r"raise its share to ([^\s,]+)", set_share),
            (r"lengthen the stage to (\S+) tokens", set_last("tokens", str)),
        ],
    )


@often
@given(st.integers(8, 9000), st.integers(1, 2000))
def test_a_stage_shorter_than_a_step(seq_len, batch):
    value = recipe({"b": "100%"}, seq_len * batch - 1, seq_len=seq_len, batch=batch)
    check(value, "stage-too-short", [(r"at least (\S+) tokens", set_last("tokens", str))])


@often
@given(st.integers(1, 99), st.integers(10**4, 10**6), st.floats(0.01, 1))
def test_unread_windows(share, stage_tokens, has):
    sizes = {"a": int(stage_tokens * share / 100 * has) + 65}
    value = recipe(
        {"a": f"{share}%", "b": "rest"}, stage_tokens, sizes=sizes, max_epochs=1000, cursor="disjoint"
    )
    edits = [(r"lower its share to ([^\s,]+)", set_share), (r"cursor: (continue)", set_last("cursor", str))]
    check(
        value,
        "cursor-disjoint",
        [*edits, (r"(remove) it from this stage", lambda r, _: r["stages"][-1]["mixture"].update(a="0%"))],
    )


@often
@given(shares, shares, st.integers(10**4, 10**6), st.sampled_from(["max", "min"]), st.booleans())
def test_limits(share, bound, stage_tokens, end, of_a_part):
    limit = {"where": {"kind": "code"}, end: percent(bound)} | (
        {"of": {"kind": ["code", "text"]}} if of_a_part else {}
    )
    value = recipe({"a": percent(share), "b": "rest"}, stage_tokens, limits=[limit])

    def move(sign):
        def edit(recipe, amount):
            moved = Fraction(amount.rstrip("%")) / 100
            recipe["stages"][-1]["mixture"]["a"] = percent(
                min(Fraction(1), max(Fraction(0), share + sign * moved))
            )

        return edit

    edits = [
        (
            r"(?:raise|lower) the limit to (\S+)",
            lambda r, share: r["stages"][-1]["limits"][0].update({end: share}),
        ),
        (r"give (\S+) of the stage \(\S+ tokens\) of it", move(-1)),
        (r"give it (\S+) of the stage", move(1)),
    ]
    check(value, "limit", edits)


weights = st.dictionaries(
    st.sampled_from("abc"),
    st.integers(1, 99).map(lambda n: f"{n}%") | st.sampled_from(["1/3", "2/7"]),
    min_size=1,
)


@often
@given(weights, st.none() | st.tuples(st.integers(0, 50), st.integers(0, 50)))
def test_shares_that_miss_the_whole(mixture, ramp):
    if ramp:
        mixture = mixture | {"c": {"from": f"{ramp[0]}%", "to": f"{ramp[1]}%"}}
    value = recipe(mixture)

    def divide(recipe, listed):
        recipe["stages"][-1]["mixture"] = dict(pair.split(" ") for pair in listed.split(", "))

    def write(recipe, name, share):
        ends = re.match(r"\{from: (\S+), to: (\S+)\}", share)
        recipe["stages"][-1]["mixture"][name] = {"from": ends[1], "to": ends[2]} if ends else share

    problems = [p for p in errors(value) if p.rule == "weights-sum"]
    assume(problems and problems[0].hints)
    check(value, "weights-sum", [(r"`(\w): ([^`]+)`", write), (r"divide by the sum yourself: (.*)", divide)])
