"""From rows of evidence and a study's `mix:` to a recipe that keeps every rule; and what is refused."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.base_recipe import recipe_text
from support.mixture_laws import SPLIT, STUDY, evidence_rows

from codemix.cli.app import run
from codemix.errors import CodemixError
from codemix.eval.evidence.layouts import read_tables
from codemix.eval.evidence.rows import read_rows, write_rows
from codemix.eval.evidence.tabulation import table, varied
from codemix.eval.mix.proposal import Objective, propose
from codemix.eval.mix.region import region, rounded
from codemix.eval.mix.search import search
from codemix.eval.mix.surrogate import Laws
from codemix.recipe.checks import validation
from codemix.recipe.language.recipe_file import read_recipe
from codemix.recipe.studies.mix_space import mix_space
from codemix.recipe.studies.study import load_study


@pytest.fixture
def make(tmp_path):
    """Writes base.yaml, bent, and a study beside it; returns the space of the study."""

    def write(changes=None, study=STUDY):
        (tmp_path / "base.yaml").write_text(recipe_text(SPLIT if changes is None else changes))
        (tmp_path / "study.yaml").write_text(study)
        return mix_space(load_study(tmp_path / "study.yaml"))

    return write


def rules(caught):
    return [problem.rule for problem in caught.value.problems]


# ---------------------------------------------------------------------------------------------- evidence


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = evidence_rows(3)
    write_rows(tmp_path / "e.jsonl", rows)
    assert read_rows([tmp_path / "e.jsonl", tmp_path / "e.jsonl"]) == rows  # the same row twice is one row


BAD_LINES = {
    "not json": ("{", "evidence"),
    "an unknown key": ('{"run": "a", "stages": [], "metrics": {}, "x": 1}', "evidence"),
    "a loss that is no number": (
        '{"run": "a", "stages": [{"name": "s", "shares": {"p": 1}}], "metrics": {"m": NaN}}',
        "evidence",
    ),
    "another format": (
        '{"format": 2, "run": "a", "stages": [{"name": "s", "shares": {"p": 1}}], "metrics": {"m": 1}}',
        "evidence",
    ),
}


@pytest.mark.parametrize(("line", "rule"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_line_that_is_no_row_is_named(tmp_path, line, rule):
    (tmp_path / "e.jsonl").write_text("\n" + line)
    with pytest.raises(CodemixError) as caught:
        read_rows([tmp_path / "e.jsonl"])
    [problem] = caught.value.problems
    assert problem.rule == rule and problem.where.line == 2


def test_a_run_twice_with_different_content_is_refused(tmp_path):
    a, b = evidence_rows(1)[0], evidence_rows(1, seed=1)[0]
    write_rows(tmp_path / "e.jsonl", [a, b])
    with pytest.raises(CodemixError) as caught:
        read_rows([tmp_path / "e.jsonl"])
    assert rules(caught) == ["evidence-twice"]


def changed(rows, i, **values):
    rows[i] = rows[i].model_copy(update=values)
    return rows


def with_shares(row, **shares):
    stage = row.stages[0].model_copy(update={"shares": shares})
    return (stage,)


BAD_ROWS = {
    "another tokenizer": (lambda r: changed(r, 3, tokenizer="t"), "evidence-mixed", "another tokenizer"),
    "another size": (lambda r: changed(r, 3, parameters=7), "evidence-mixed", "another size"),
    "another text to score": (
        lambda r: changed(r, 3, scored_on="x"),
        "evidence-mixed",
        "another measurement",
    ),
    "changed data": (
        lambda r: changed(changed(r, 3, data={"web": "a"}), 4, data={"web": "b"}),
        "evidence-stale",
        "`web` held different text",
    ),
    "a metric that one lacks": (
        lambda r: changed(r, 3, metrics={"bits_per_byte/prose": 1.0}),
        "evidence",
        "`p03` lacks 1 of 2 metrics",
    ),
    "shares that do not sum": (
        lambda r: changed(r, 3, stages=with_shares(r[3], prose=0.5, web=0.3, markup=0.1)),
        "evidence-sum",
        "90.00% of these domains",
    ),
    "too few": (lambda r: r[:4], "evidence-few", "4 runs are too few for 3 domains: at least 5"),
    "a domain never varied": (
        lambda r: [
            x.model_copy(update={"stages": with_shares(x, prose=0.1 + i / 50, web=0.6 - i / 50, markup=0.3)})
            for i, x in enumerate(r)
        ],
        "evidence-rank",
        "30.00% in every run",
    ),
    "two that vary together": (
        lambda r: [
            x.model_copy(
                update={"stages": with_shares(x, prose=1 - 3 * i / 100, web=i / 100, markup=2 * i / 100)}
            )
            for i, x in enumerate(r)
        ],
        "evidence-rank",
        "rank 2 where 3 is needed",
    ),
    "a constant metric": (
        lambda r: [x.model_copy(update={"metrics": x.metrics | {"bits_per_byte/web": 1.0}}) for x in r],
        "evidence-metric",
        "it says nothing",
    ),
    "a loss of nothing": (
        lambda r: changed(r, 3, metrics={"bits_per_byte/prose": 0.0, "bits_per_byte/web": 1.0}),
        "evidence-metric",
        "a loss is above 0",
    ),
}


@pytest.mark.parametrize(("bend", "rule", "words"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_evidence_that_cannot_be_fitted_is_refused_with_numbers(bend, rule, words):
    rows = bend(evidence_rows())
    domains = {"init": {name: (name,) for name in ("prose", "web", "markup")}}
    with pytest.raises(CodemixError) as caught:
        table(rows, domains)
    assert rule in rules(caught)
    assert any(words in problem.what for problem in caught.value.problems), caught.value


def test_a_metric_that_no_row_has_is_named():
    rows = evidence_rows()
    with pytest.raises(CodemixError, match="no row has a metric `bits_per_byt/prose`"):
        table(rows, varied(rows), ["bits_per_byt/prose"])


# ------------------------------------------------------------------------------------- tables of others


def csvs(tmp_path, mixtures, metrics):
    (tmp_path / "ratios.csv").write_text(mixtures)
    (tmp_path / "metrics.csv").write_text(metrics)
    return tmp_path / "ratios.csv", tmp_path / "metrics.csv"


def test_the_layouts_of_regmix_and_of_olmix(tmp_path):
    regmix = csvs(tmp_path, "index,a,b\n1,0.4,0.6\n2,0.501,0.5\n3,1,0\n", "index,m\n2,3.5\n1,3.0\n")
    found = read_tables(*regmix, "pretrain")
    assert [(row.run, row.metrics["m"]) for row in found.rows] == [("1", 3.0), ("2", 3.5)]
    assert found.rows[1].stages[0].shares["a"] == pytest.approx(0.501 / 1.001)
    assert found.notes == [
        "shares missed 1 by up to 0.001 and were divided by their sum",
        "1 runs of ratios.csv are not in metrics.csv: 3",
    ]
    olmix = csvs(
        tmp_path, "run,name,index,a,b\nx1,swarm-1,0,0.4,0.6\n", "run,name,index,m,n\nx1,swarm-1,0,1.5,2\n"
    )
    [row] = read_tables(*olmix, "pretrain").rows
    assert (row.run, row.stages[0].shares, row.metrics) == ("x1", {"a": 0.4, "b": 0.6}, {"m": 1.5, "n": 2.0})


BAD_TABLES = {
    "shares of 80 %": ("run,a,b\nx,0.4,0.4\n", "run,m\nx,1\n", "sum to 0.8"),
    "a share below 0": ("run,a,b\nx,1.5,-0.5\n", "run,m\nx,1\n", "one below 0"),
    "a run twice": ("run,a\nx,1\nx,1\n", "run,m\nx,1\n", "there twice; first in line 2"),
    "a loss that is NaN": ("run,a\nx,1\n", "run,m\nx,nan\n", "`m` of run `x` is `nan`"),
    "a loss that is missing": ("run,a\nx,1\n", "run,m\nx,\n", "not a finite number"),
    "a ragged line": ("run,a,b\nx,1\n", "run,m\nx,1\n", "2 values under 3 columns"),
    "a column twice": ("run,a,a\nx,1,0\n", "run,m\nx,1\n", "column `a` is there twice"),
    "nothing in common": ("run,a\nx,1\n", "run,m\ny,1\n", "no run in common"),
    "nothing that joins": ("id,a\nx,1\n", "run,m\nx,1\n", "no column that joins them"),
    "an empty file": ("", "run,m\nx,1\n", "no column that joins them"),
}


@pytest.mark.parametrize(("mixtures", "metrics", "words"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_that_is_wrong_is_refused_at_its_line(tmp_path, mixtures, metrics, words):
    with pytest.raises(CodemixError) as caught:
        read_tables(*csvs(tmp_path, mixtures, metrics), "pretrain")
    assert words in caught.value.problems[0].what


# ------------------------------------------------------------------------------------------ the space


def test_groups_are_domains_with_a_fixed_inside(make):
    [stage] = make({}).stages
    assert [(d.name, d.prior, dict(d.inside)) for d in stage.domains] == [
        ("prose", Fraction(1, 2), {"prose": 1}),
        ("code", Fraction(1, 2), {"web": Fraction(4, 5), "markup": Fraction(1, 5)}),
    ]


BAD_SPACES = {
    "no mix": ({}, "codemix: 1\nstudy: s\nbase: base.yaml\n", "mix-missing"),
    "no such stage": ({}, STUDY.replace("[init]", "[innit]"), "unknown-stage"),
    "a ramp": ({"mixture: {prose: 50%, code: 50%}": "mixture: {prose: rest, code: {from: 10%, to: 50%}}"}, STUDY, "mix-stage"),
    "relative weights": (
        {"mixture: {prose: 50%, code: 50%}": "mixture: {prose: 1, code: 1}\n    weights: relative"}, STUDY, "mix-stage"
    ),
    "shares of documents": (
        {"mixture: {prose: 50%, code: 50%}": "mixture: {prose: 50%, code: 50%}\n    by: documents"}, STUDY, "mix-stage"
    ),
    "a source in two domains": (
        {"mixture: {prose: 50%, code: 50%}": "mixture: {prose: 50%, code: 40%, web: 10%}"}, STUDY, "mix-stage"
    ),
    "one domain": ({"mixture: {prose: 50%, code: 50%}": "mixture: {code: 100%}"}, STUDY, "mix-stage"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "study", "rule"), BAD_SPACES.values(), ids=BAD_SPACES)
def test_a_space_that_cannot_be_searched_is_refused(make, changes, study, rule):
    with pytest.raises(CodemixError) as caught:
        make(changes, study)
    assert rules(caught) == [rule]


# ----------------------------------------------------------------------------------------- the proposal


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_final_windows_keep_caps_and_limits(tmp_path_factory, seed):
    """Whatever the law, the proposed recipe is planned without a problem: caps over both stages, limits on
    tags, with groups, one stage or both."""
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("space")
    stages = rng.choice(["[init]", "[cooldown]", "[init, cooldown]"])
    limits = ["max: 90%", "min: 40%"] if stages == "[cooldown]" else ["max: 45%", "min: 40%"]
    limit = rng.choice(limits)
    caps = {
        "tokens: 10M": "tokens: 1900k, max_epochs: 1",
        "tokens: 4M": f"tokens: {rng.integers(1100, 1700)}k, max_epochs: 1",
        "tokens: 1M": f"tokens: {rng.integers(130, 300)}k, max_epochs: {rng.integers(2, 5)}",
        "groups:": f"limits: [{{where: {{kind: [code, markup]}}, {limit}}}]\ngroups:",
        "mixture: {prose: 80%, code: 20%}": "mixture: {prose: 58%, web: 22%, markup: 20%}",
    }
    split = {"mixture: {prose: 50%, code: 50%}": "mixture: {prose: 56%, web: 34%, markup: 10%}"}
    (folder / "base.yaml").write_text(recipe_text(caps | (split if rng.random() < 0.7 else {})))
    (folder / "study.yaml").write_text(STUDY.replace("[init]", stages))
    space = mix_space(load_study(folder / "study.yaml"))
    allowed = region(space, validation.check(space.base).plan)
    n = len(allowed.prior)
    laws = Laws(np.ones(1), rng.normal(size=(1, n)) * 5)
    try:
        found = propose(laws, Objective(("m",), np.ones(1), 0.001), allowed)
    except CodemixError as error:
        assert error.problems[0].rule == "mix-no-room"
        return
    recipe = space.with_shares(rounded(space, found), "proposed")
    problems = validation.check(recipe).errors
    assert not problems, [problem.render() for problem in problems]


def test_the_search_finds_the_best_of_a_known_law(make, tmp_path):
    answer = search(make(), evidence_rows(), tmp_path / "store", tmp_path, "best", resamples=40)
    assert answer.proposal.gain.low > 0
    [shares] = answer.shares
    assert sum(shares.values()) == 1
    assert shares["markup"] < Fraction(1, 100) < shares["web"]
    as_json = json.loads(json.dumps(answer.as_json()))
    assert as_json["gain"]["can_tell"] and as_json["runs"] == 24


def test_no_worse_than_holds_every_metric(make, tmp_path):
    """The objective asks for prose alone, which makes code worse; the bound holds that."""
    free = STUDY.replace("[init]", "[init], objective: {'*/prose': 10, '*/web': 0.01}")
    held = free.replace("[init]", "[init], no_worse_than: 1%")
    worse = {}
    for name, study in (("free", free), ("held", held)):
        answer = search(make(study=study), evidence_rows(), tmp_path / "store", tmp_path, name, resamples=20)
        worse[name] = -answer.proposal.gains[1].value / answer.proposal.at_prior[1]
    assert worse["free"] > 0.03
    assert worse["held"] == pytest.approx(0.01, abs=1e-4)


def test_propose_writes_a_recipe_that_diff_and_validate_read(make, tmp_path, monkeypatch, capsys):
    make()
    write_rows(tmp_path / "e.jsonl", evidence_rows())
    monkeypatch.chdir(tmp_path)
    assert run(["mix", "fit", "e.jsonl"]) == 0
    assert "bits_per_byte/web" in capsys.readouterr().out
    assert run(["mix", "propose", "study.yaml", "e.jsonl", "--output", "out/mine.yaml"]) == 0
    assert "cannot tell" not in capsys.readouterr().out
    mine = read_recipe(tmp_path / "out/mine.yaml")
    assert mine.recipe.name == "mine" and not validation.check(mine).errors
    assert run(["diff", "base.yaml", "out/mine.yaml"]) == 0
    assert "prose" in capsys.readouterr().out


SCHEMA = "# yaml-language-server: $schema={}recipe.schema.json\n"


@pytest.mark.parametrize("without", ["", "without: [stages.cooldown]\n"])
def test_what_is_written_keeps_the_comments_and_the_layout_of_the_base(make, tmp_path, monkeypatch, without):
    make(study=STUDY + without)
    old = (
        (tmp_path / "base.yaml")
        .read_text()
        .replace("    mixture: {prose: 50%", "    # why\n    mixture: {prose: 50%")
    )
    (tmp_path / "base.yaml").write_text(SCHEMA.format("") + "# about this recipe\n" + old)
    write_rows(tmp_path / "e.jsonl", evidence_rows())
    monkeypatch.chdir(tmp_path)
    assert run(["mix", "propose", "study.yaml", "e.jsonl", "--write", "out/mine.yaml"]) == 0
    first, header, about, *lines = (tmp_path / "out/mine.yaml").read_text().splitlines()
    assert first + "\n" == SCHEMA.format("../") and header.startswith("# The mixture that")
    assert about == "# about this recipe"
    pairs = zip(lines, old.splitlines(), strict=not without)
    differ = [line for line, before in pairs if line != before]
    assert [line.split(":")[0].strip() for line in differ] == ["name", "mixture"]
    assert "    # why" in lines


def test_a_base_whose_aliases_cannot_say_it_is_written_anew(make, tmp_path, monkeypatch):
    """One text for the mixture of a stage that varies and of one that stays."""
    space = make(
        SPLIT
        | {
            "mixture: {prose: 50%": "mixture: &m {prose: 50%",
            "mixture: {prose: 80%, code: 20%}": "mixture: *m",
        }
    )
    write_rows(tmp_path / "e.jsonl", evidence_rows())
    monkeypatch.chdir(tmp_path)
    assert run(["mix", "propose", "study.yaml", "e.jsonl", "--output", "mine.yaml"]) == 0
    mine = read_recipe(tmp_path / "mine.yaml").recipe.stages
    base = space.base.recipe.stages
    assert mine[0].mixture != base[0].mixture and mine[1] == base[1]


def test_what_is_written_keeps_no_silence_that_it_does_not_need(make, tmp_path, monkeypatch):
    """The study's silences are for its points; a silence that nothing needs is an error in a recipe."""
    study = STUDY + "set: {silence: {code-share-high: points from none to all}}\n"
    make(study=study)
    write_rows(tmp_path / "e.jsonl", evidence_rows())
    monkeypatch.chdir(tmp_path)
    assert run(["mix", "propose", "study.yaml", "e.jsonl", "--output", "mine.yaml"]) == 0
    assert not validation.check(read_recipe(tmp_path / "mine.yaml")).errors


def test_evidence_of_other_domains_is_refused(make, tmp_path):
    rows = evidence_rows(sources=("prose", "web", "other"))
    with pytest.raises(CodemixError) as caught:
        search(make(), rows, tmp_path / "store", tmp_path, "x")
    assert rules(caught)[0] == "evidence-sum"
    assert "also reads other" in caught.value.problems[0].hints[0]


NO_PROPOSAL = {
    "a prior outside of its caps": (
        {"tokens: 10M": "tokens: 400k, max_epochs: 1"},
        "`prose` would be read 2.50 times",
    ),
    "no room between limits": (
        {"groups:": "limits: [{where: {kind: text}, min: 50%, max: 50%}]\ngroups:"}
        | {"mixture: {prose: 80%, code: 20%}": "mixture: {prose: 50%, code: 50%}"},
        "no mixture keeps all caps and limits",
    ),
}


@pytest.mark.parametrize(("changes", "words"), NO_PROPOSAL.values(), ids=NO_PROPOSAL)
def test_where_there_is_no_room_nothing_is_written(make, tmp_path, monkeypatch, capsys, changes, words):
    make(SPLIT | changes)
    write_rows(tmp_path / "e.jsonl", evidence_rows())
    monkeypatch.chdir(tmp_path)
    command = ["mix", "propose", "study.yaml", "e.jsonl", "--output", "mine.yaml", "--html", "p.html"]
    assert run(command) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "mine.yaml").exists() and not (tmp_path / "p.html").exists()
