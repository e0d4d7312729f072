from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from support.base_recipe import checked

from codemix.recipe.planning import plan_tables
from codemix.recipe.planning.plan import Pool


def stages(changes=None, pools=None):
    result = checked(changes, pools)
    assert not result.errors, "\n".join(p.render() for p in result.errors)
    return {s.name: s for s in result.plan.stages}


def windows(stage):
    return {s.source: s.windows for s in stage.sources}


def test_whole_windows_and_running_cursors():
    plan = stages()
    init, cooldown = plan["init"], plan["cooldown"]
    assert (init.steps, init.rows, init.tokens) == (1953, 15624, 15624 * 128)
    assert windows(init) == {"markup": 1562, "prose": 7812, "web": 6250}
    assert sum(windows(cooldown).values()) == cooldown.rows == 390 * 8
    assert {s.source: s.start for s in cooldown.sources} == windows(init), (
        "each source continues where the parent stage stopped"
    )
    assert cooldown.parent is init or cooldown.parent == init
    assert cooldown.run_tokens == init.tokens and init.run_total == init.tokens + cooldown.tokens


def test_epochs_cumulate_over_stages():
    cooldown = stages()["cooldown"]
    web = next(s for s in cooldown.sources if s.source == "web")
    assert web.epochs_after == Fraction(6250 + web.windows, (4_000_000 - 1) // 128)


def test_replace_moves_a_share_and_keeps_proportions():
    before = stages()["init"]
    after = stages(
        {"    tokens: 2M\n": "    tokens: 2M\n    replace: [{share: 10%, of: code, by: prose}]\n"}
    )["init"]
    share = {s.source: s.share for s in after.sources}
    assert share == {"prose": Fraction(55, 100), "web": Fraction(36, 100), "markup": Fraction(9, 100)}
    assert share["web"] / share["markup"] == next(
        s.share for s in before.sources if s.source == "web"
    ) / Fraction(1, 10)


def test_rest_relative_and_nested_groups_agree():
    a = stages({"{prose: 50%, code: 50%}": "{prose: rest, code: 50%}"})["init"]
    b = stages(
        {"    mixture: {prose: 50%, code: 50%}": "    weights: relative\n    mixture: {prose: 3, code: 3}"}
    )["init"]
    c = stages({"{prose: 50%, code: 50%}": "{prose: 50%, all: {share: 50%, of: {web: 80%, markup: rest}}}"})[
        "init"
    ]
    assert windows(a) == windows(b) == windows(c)
    assert a.fingerprint == b.fingerprint == c.fingerprint, (
        "equal effects have an equal identity, however written"
    )


def test_a_ramp_has_the_exact_integral():
    stage = stages({"{prose: 50%, code: 50%}": "{prose: rest, code: {from: 20%, to: 60%}}"})["init"]
    code = windows(stage)["web"] + windows(stage)["markup"]
    assert abs(code - stage.rows * Fraction(2, 5)) <= 1
    first, last = stage.segments[0], stage.segments[-1]
    code_of = [i for i, s in enumerate(stage.sources) if s.source != "prose"]
    assert Fraction(sum(first.counts[i] for i in code_of), first.rows) < Fraction(1, 4)
    assert Fraction(sum(last.counts[i] for i in code_of), last.rows) > Fraction(11, 20)


def test_documents_are_turned_into_the_tokens_they_imply():
    stage = stages({"    tokens: 2M\n": "    tokens: 1M\n    by: documents\n"})["init"]
    share = {s.source: s.share for s in stage.sources}  # prose 1000, web 4000, markup 2000 tokens a document
    weights = {"prose": Fraction(1, 2) * 1000, "web": Fraction(2, 5) * 4000, "markup": Fraction(1, 10) * 2000}
    assert share == {n: w / sum(weights.values()) for n, w in weights.items()}


def test_redistribute_caps_a_source_and_fills_from_its_siblings():
    stage = stages({"tokens: 1M, documents: 500,": "tokens: 100k, documents: 500, on_cap: redistribute,"})[
        "init"
    ]
    pool = (100_000 - 1) // 128
    assert windows(stage)["markup"] == pool
    assert windows(stage)["web"] == 7812 - pool, (
        "the sibling inside the group takes the rest, the group keeps its half"
    )
    assert stage.redistributed["markup"] == Fraction(pool, stage.rows)


def test_restart_and_disjoint():
    assert {
        s.start
        for s in stages({"    tokens: 400k\n": "    tokens: 400k\n    cursor: restart\n"})["cooldown"].sources
    } == {0}
    result = checked(
        {"tokens: 4M": "tokens: 850k", "    tokens: 400k\n": "    tokens: 400k\n    cursor: disjoint\n"}
    )
    assert [p.rule for p in result.errors] == ["max-epochs"]
    result = checked(
        {
            "tokens: 4M": "tokens: 850k, max_epochs: 2",
            "    tokens: 400k\n": "    tokens: 400k\n    cursor: disjoint\n",
        }
    )
    assert [p.rule for p in result.errors] == ["cursor-disjoint"]


def test_a_source_without_documents_is_not_mended_by_a_shorter_row():
    (first, *_) = checked(pools={"web": Pool((0,), fingerprint="built")}).errors
    assert (
        first.rule == "source-too-short"
        and "seq_len" not in first.hints[0]
        and "codemix inspect" in first.hints[0]
    )


def test_disjoint_after_a_restart_reads_nothing_again():
    def ends(restart):
        stage = "  - name: {}\n    tokens: 100k\n    cursor: {}\n    mixture: {{prose: 80%, code: 20%}}\n    learning_rate: {{kind: constant, value: 1e-6}}\n"
        again, fresh = (
            stage.format("again", f"restart\n{restart}"),
            stage.format("fresh", f"disjoint\n{restart}"),
        )
        return checked({"start: previous, floor: 1e-6}\n": f"start: previous, floor: 1e-6}}\n{again}{fresh}"})

    found = ends("")
    _, cooldown, again, fresh = found.plan.stages
    assert (
        not found.errors
        and all(s.start == 0 for s in again.sources)
        and windows(again)["web"] < windows(cooldown)["web"]
    )
    assert {s.source: s.start for s in fresh.sources} == {
        s.source: s.start + s.windows for s in cooldown.sources
    }
    for restart in (
        "    seed: 5\n",
        "    seq_len: 64\n",
    ):  # another order, in which nobody knows what the stages before have read
        assert [p.rule for p in ends(restart).errors] == ["cursor-disjoint"] * 3


def test_a_group_that_holds_part_of_a_source_gives_it_no_rate_in_silence():
    mixture = "{prose: 50%, web: 10%, code: 40%}"
    (problem,) = checked({"{prose: 50%, code: 50%}": f"{mixture}\n    fim: {{code: 50%}}"}).errors
    assert problem.rule == "fim-part" and "`web`" in problem.what and "`web: 50%`" in problem.hints[0]
    stage = stages({"{prose: 50%, code: 50%}": f"{mixture}\n    fim: {{code: 50%, web: 20%}}"})["init"]
    assert stage.fim == {"markup": Fraction(1, 2), "web": Fraction(1, 5)}
    twice = "{prose: 50%, a: {share: 20%, of: {code: 100%}}, b: {share: 30%, of: {code: 100%}}}\n    fim: {code: 50%}"
    assert stages({"{prose: 50%, code: 50%}": twice})["init"].fim == {
        "markup": Fraction(1, 2),
        "web": Fraction(1, 2),
    }, "whole, in two places"
    assert stages({"{prose: 50%, code: 50%}": "{prose: 50%, web: 0%, code: 50%}\n    fim: {code: 50%}"})[
        "init"
    ].fim["web"] == Fraction(1, 2)


def test_a_source_inside_a_group_and_beside_it_is_the_same_in_either_order():
    """Its siblings, when it is capped, and the fill-in-the-middle rate of the group do not hang on which
    stands first.
    """
    first = "all: {share: 50%, of: {web: 50%, markup: 50%}}, web: 10%, prose: rest"
    last = "web: 10%, prose: rest, all: {share: 50%, of: {web: 50%, markup: 50%}}"
    capped = {
        "tokens: 4M": "tokens: 300k, on_cap: redistribute",
        "tokens: 1M, documents": "tokens: 2M, documents",
    }
    a, b = (
        stages(
            capped
            | {
                "mixture: {prose: 50%, code: 50%}": f"fim: {{all: 50%, web: 0%}}\n    mixture: {{{names}}}",
                "{prose: 80%, code: 20%}": "{prose: 100%}",
            }
        )["init"]
        for names in (first, last)
    )
    assert windows(a) == windows(b) and a.fim == b.fim == {"markup": Fraction(1, 2), "web": 0}
    assert a.fingerprint == b.fingerprint and a.redistributed


def test_a_soup_reads_in_other_orders_so_it_cannot_continue_nor_be_continued():
    soup = "    tokens: 400k\n    average_seeds: [1, 2]\n"
    (problem,) = {p.what.split(":")[1]: p for p in checked({"    tokens: 400k\n": soup}).errors}.values()
    assert problem.rule == "cursor-changes" and "seed changes from 0 to 1, 2" in problem.what
    plan = stages({"    tokens: 400k\n": soup + "    cursor: restart\n"})
    assert {s.start for s in plan["cooldown"].sources} == {0}
    (problem,) = {
        p.what.split(":")[1]: p
        for p in checked({"    tokens: 2M\n": "    tokens: 2M\n    average_seeds: [0, 1]\n"}).errors
    }.values()
    assert "seed changes from 0, 1 to 0" in problem.what, "each seed has read other windows"


def test_batch_ramp_rows_add_up():
    stage = stages(
        {
            "    tokens: 2M\n": "    tokens: 2M\n    batch_size: {from: 2, to: 16, over: 400k tokens, n_steps: 4}\n"
        }
    )["init"]
    assert [size for _, size in stage.batches] == [2, 6, 9, 12, 16]
    assert (
        sum(stage.batch_size(step) for step in range(stage.steps))
        == stage.rows
        == stage.first_row(stage.steps)
    )
    assert 0 <= stage.asked_tokens - stage.tokens < 16 * 128


def test_equal_batches_are_equal_however_they_are_written():
    ramp = "    batch_size: {from: %d, to: %d, over: 50%%, n_steps: 16}\n"
    plain, flat, slow = (
        stages({"    tokens: 2M\n": "    tokens: 2M\n" + more})["init"]
        for more in ("", ramp % (8, 8), ramp % (8, 9))
    )
    assert plain.batches == flat.batches == ((0, 8),) and plain.fingerprint == flat.fingerprint
    assert [size for _, size in slow.batches] == [8, 9]


def test_exact_pools_replace_declared_sizes():
    pools = {"web": Pool((3_000, 2_000_000), 10, True, "abc")}
    web = next(s for s in stages(pools=pools)["init"].sources if s.source == "web")
    assert web.pool_windows == 2_999 // 128 + 1_999_999 // 128, "no window crosses a shard"
    assert web.pool_fingerprint == "abc"


def test_the_first_wrap_is_the_step_that_really_wraps():
    from codemix.data.loader.order import Order

    changes = {
        "tokens: 4M": "tokens: 300k, max_epochs: 9",
        "tokens: 1M, documents": "tokens: 150k, max_epochs: 9, documents",
    }
    for stage in stages(changes).values():
        order = Order(stage)
        for i, s in enumerate(stage.sources):
            wrap = plan_tables.first_wrap(stage, i)
            really = next(
                (
                    step
                    for step in range(stage.steps)
                    for rows in [order.rows(step)]
                    if ((rows.source == i) & (rows.epoch > 0)).any()
                ),
                None,
            )
            assert wrap == really, s.source


@settings(max_examples=40, deadline=None)
@given(st.permutations(["prose", "web", "markup"]), st.integers(1, 98), st.integers(1, 99))
def test_order_of_names_is_irrelevant_and_shares_are_within_one_window(names, a, b):
    first, second = a, max(1, min(99 - a, b))
    shares = dict(zip(sorted(names), (first, second, 100 - first - second), strict=True))
    mixture = "{" + ", ".join(f"{n}: {shares[n]}%" for n in names) + "}"
    stage = checked(
        {"tokens: 4M": "tokens: 40M", "tokens: 1M": "tokens: 10M", "{prose: 50%, code: 50%}": mixture}
    ).plan.stages[0]
    assert [s.source for s in stage.sources] == sorted(names)
    for s in stage.sources:
        assert abs(s.windows - stage.rows * Fraction(shares[s.source], 100)) < 1


def test_equal_prefixes_share_an_identity_and_a_change_later_does_not_touch_it():
    plain, other = (
        stages(),
        stages(
            {
                "{prose: 80%, code: 20%}": "{prose: 100%}",
                "name: base": "name: other",
                "licence: gpl": "licence: mit",
            }
        ),
    )
    assert plain["init"].fingerprint == other["init"].fingerprint
    assert plain["cooldown"].fingerprint != other["cooldown"].fingerprint
    for change in (
        {"seed: 0": ""} if False else {"name: base": "name: base\nseed: 1"},
        {"d_ff: 128": "d_ff: 136"},
        {"peak: 1e-3": "peak: 2e-3"},
        {"batch_size: 8": "batch_size: 4"},
    ):
        assert stages(change)["init"].fingerprint != plain["init"].fingerprint, change


def test_json_and_markdown_say_the_same_tokens():
    result = checked()
    told = plan_tables.as_json(result.plan)
    assert (
        sum(s["tokens"] for s in told["stages"][0]["sources"])
        == told["stages"][0]["tokens"]
        == result.plan.stages[0].tokens
    )
    assert f"{result.plan.stages[0].tokens:,}" in plan_tables.stage_table(result.plan).markdown()


def test_the_remedy_for_a_weight_without_a_unit_is_one_that_helps_there():
    in_group = checked({"{web: 80%, markup: 20%}": "{web: 8, markup: 2}"}).errors[0]
    in_stage = checked({"{prose: 50%, code: 50%}": "{prose: 1, code: 1}"}).errors[0]
    assert in_group.hints == ("write `8%`",)
    assert in_stage.hints == ("write `1%`, or say `weights: relative` in the stage",)
