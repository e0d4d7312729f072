"""The page and the picture of a plan: what they say is the plan's own, to the token."""

import re
import xml.etree.ElementTree as ET

import pytest
from support.synthetic_run import MIXTURES, planned

from codemix import cli
from codemix.eval.plan import charts
from codemix.eval.plan.page import source_shades

RECIPE = """\
codemix: 1
name: small
description: a plan to look at
tokenizer: {kind: bpe, vocab_size: 512, train: {bytes: 100kB}}
sources:
  docs:
    read: {kind: jsonl, paths: docs.jsonl}
    tags: {kind: text}
    tokens: 1M
    max_epochs: 4
  code:
    read: {kind: jsonl, paths: code.jsonl}
    ops: [{kind: max_floats, max_floats: 10}]
    tags: {kind: code}
model: {d_model: 32, n_layers: 1, n_heads: 2, d_ff: 64}
training: {seq_len: 64, batch_size: 4}
stages:
  - name: init
    tokens: 64k
    mixture: {docs: 50%, code: 50%}
    learning_rate: {kind: cosine, peak: 1e-3, floor: 1e-4, warmup: 10 steps}
  - name: cooldown
    tokens: 16k
    mixture: {docs: 100%}
    learning_rate: {kind: linear, start: previous, floor: 1e-5}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path / "small.yaml"


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", *map(str, arguments)])
    return stop.value.code


def test_the_page_says_what_is_read_repeated_built_and_paid(recipe):
    assert run(recipe, "--html", "plan.html") == 0
    html = recipe.with_name("plan.html").read_text()
    for section in ("mixture", "repeats", "sources", "cost", "store"):
        assert f'<section id="{section}"' in html
    assert "50 text : 50 code" in html and "Of 2 sources 2 are still to build" in html
    assert "max_floats" in html and "not built" in html and "to train" in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) and "<script" not in html
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", html)


def test_the_picture_stands_alone(recipe):
    assert run(recipe, "--svg", "plan.svg") == 0
    text = recipe.with_name("plan.svg").read_text()
    tree = ET.fromstring(text)
    assert tree.tag == "{http://www.w3.org/2000/svg}svg" and "prefers-color-scheme:dark" in text
    named = set(re.findall(r"var\((--[\w-]+)\)", text))
    assert named and all(f"{name}:" in text for name in named)
    assert not re.search(r"(?:src|href)=\"(?!#)|url\((?!#)", text)
    for name in ("docs", "code", "init", "cooldown"):
        assert f">{name}<" in text


def test_a_study_has_no_picture_of_one_recipe(recipe, capsys):
    study = recipe.with_name("study.yaml")
    study.write_text("codemix: 1\nstudy: two\nbase: small.yaml\nseeds: [0, 1]\n")
    assert run(study, "--svg", "plan.svg") == 1 and "study expand" in capsys.readouterr().err
    assert not recipe.with_name("plan.svg").exists()


@pytest.mark.parametrize("name", MIXTURES)
def test_the_areas_are_the_plans_windows(name):
    """Areas times tokens are the planned tokens of each source, and cover every token once."""
    plan = planned(name)
    edges = charts.stage_boundaries(plan.stages)
    drawn: dict[str, float] = {}
    place = 0
    for stage, boundary in zip(plan.stages, edges, strict=True):
        for stretch in charts.stretches(stage, round(boundary.start)):
            assert stretch.start == place and sum(stretch.shares.values()) == pytest.approx(1)
            place = stretch.stop
            for source, share in stretch.shares.items():
                drawn[source] = drawn.get(source, 0) + share * (stretch.stop - stretch.start)
    asked: dict[str, int] = {}
    for stage in plan.stages:
        for source, tokens in stage.planned_tokens().items():
            asked[source] = asked.get(source, 0) + tokens
    assert place == sum(asked.values())
    assert drawn == pytest.approx(asked) and list(source_shades(plan)) == sorted(
        asked, key=lambda s: (s in ("stdlib", "web"), s)
    )
