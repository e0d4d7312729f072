"""A proxy repeats its sources as the target does, or is refused with the smallest ratio that works."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from codemix.cli.app import new_app
from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.diffs import diff_tables
from codemix.recipe.diffs.diff import diff
from codemix.recipe.interop.mixtures import export_mixture
from codemix.recipe.language import yaml_format, yaml_text
from codemix.recipe.language.recipe_file import of_document
from codemix.recipe.planning import plan_tables
from codemix.recipe.scaling.proxy_values import NEGLIGIBLE, Wanted
from codemix.recipe.scaling.scale_down import MIN_WINDOWS, read_ratio, scale_down

RECIPES = Path(__file__).parents[2] / "recipes"
WHOLE = [path for path in sorted(RECIPES.rglob("*.yaml")) if "\nbase: " not in path.read_text()]
WHOLE.remove(RECIPES / "tour.yaml")  # starts from another recipe
TEXT = """\
codemix: 1 # a comment
name: target
tokenizer: {kind: tokenizer_json, path: t.json}
sources:
  # where it comes from
  a:
    read: {kind: jsonl, paths: a.jsonl}
    tokens: 1M # declared
    max_epochs: 9
    held_out: 1%
  b: {read: {kind: jsonl, paths: b.jsonl}, tokens: 500k, max_epochs: 9}
model: {preset: 120M} # the paper's
training:
  seq_len: 64
  batch_size: 32 # rows
stages:
  - name: one
    tokens: 1024k
    mixture: {a: 90%, b: 10%} # mostly a
    learning_rate: {kind: wsd, peak: 1e-3, floor: 1e-5, warmup: 20 steps, decay: 64k tokens}
  - name: two
    steps: 100
    mixture: {a: {from: 50%, to: 0%}, b: {from: 50%, to: 100%}}
    learning_rate: {kind: linear, start: previous, floor: 1e-6}
"""


def scaled(text, ratio, **wanted):
    source = of_document(yaml_text.parse(text, "t.yaml"))
    target = validation.check(source).require()
    return scale_down(source, target, {}, Wanted(Fraction(ratio), "small", **wanted))


def planned(text):
    return validation.check(of_document(yaml_text.parse(text, "t.yaml"))).require()


def assert_epochs_agree(proxy, ratio, within=0):
    for before, after in zip(proxy.target.stages, proxy.plan.stages, strict=True):
        for whole, part in zip(before.sources, after.sources, strict=True):
            missed = abs(part.windows - whole.windows * ratio)
            assert missed <= 1 + ratio + within * part.windows
            if whole.pool_windows:
                assert abs(part.pool_windows - whole.pool_windows * ratio) <= 1 + ratio
                assert part.pool_windows >= MIN_WINDOWS


def test_a_proxy_keeps_shares_and_comments():
    proxy = scaled(TEXT, "1/16", preset="60M", learning_rate=1e-4)
    assert_epochs_agree(proxy, Fraction(1, 16))
    assert planned(proxy.text).stages == proxy.plan.stages
    assert [stage.steps for stage in proxy.plan.stages] == [125, 25]
    for line in (
        "codemix: 1 # a comment",
        "  # where it comes from",
        "    subsample: 1/16",
        "    tokens: 1M # declared",
        "model: {preset: 60M} # the paper's",
        "  batch_size: 8 # rows",
        "    tokens: 64k",
        "    steps: 25",
        "{kind: wsd, peak: 0.0001, floor: 1.0e-06, warmup: 5 steps, decay: 4k tokens}",
        "{kind: linear, start: previous, floor: 1.0e-07}",
    ):
        assert line in proxy.text, line


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_shipped_recipes_scale_down(path):
    document = yaml_text.load(path)
    source = of_document(document)
    target = validation.check(source).require()
    proxy = scale_down(source, target, {}, Wanted(Fraction(1, 2), "small"))
    assert_epochs_agree(proxy, Fraction(1, 2))
    comments = list(yaml_format._comments(document.text))
    assert list(yaml_format._comments(proxy.text)) == comments


def test_large_batches_stay_large_where_a_ratio_does_not_divide_them():
    text = (
        TEXT.replace("1M #", "1T #")
        .replace("500k", "1T")
        .replace("1024k", "500B")
        .replace("size: 32", "size: 2048")
    )
    text = text.replace("steps: 100", "steps: 2000001").replace("decay: 64k", "decay: 64B")
    proxy = scaled(text, "1/1000")
    assert_epochs_agree(proxy, Fraction(1, 1000), NEGLIGIBLE)
    assert [stage.batch_size(0) for stage in proxy.plan.stages] == [64, 64]
    for n in (16, 64):
        assert_epochs_agree(scaled(text, f"1/{n}"), Fraction(1, n))  # exactly, as many powers of two do


CAPPED = """\
sources:
  a: {read: {kind: jsonl, paths: a.jsonl}, tokens: 1M, documents: 1003, max_epochs: 4, on_cap: redistribute}
  b: {read: {kind: jsonl, paths: b.jsonl}, tokens: 1237k, documents: 997, max_epochs: 7.5}
  c: {read: {kind: jsonl, paths: c.jsonl}, tokens: 937k, documents: 2003, max_epochs: 30}
"""
CAPPED_STAGES = """\
evaluation: {bits_per_byte: false}
stages:
  - {name: s, tokens: 10M, mixture: {a: 70%, b: 10%, c: 20%}, learning_rate: {kind: constant, value: 1e-3}}
  - {name: t, tokens: 1M, by: documents, mixture: {b: 30%, c: 70%}, learning_rate: {kind: constant, value: 1e-3}}
"""


@pytest.mark.parametrize("n", range(2, 25))
def test_caps_and_shares_of_documents_scale_too(n):
    head = TEXT[: TEXT.index("sources:")]
    middle = TEXT[TEXT.index("model:") : TEXT.index("stages:")]
    proxy = scaled(head + CAPPED + middle + CAPPED_STAGES, f"1/{n}")
    first, second = proxy.plan.stages
    for whole, part in zip(proxy.target.stages[0].sources, first.sources, strict=True):
        assert abs(part.windows - whole.windows / n) <= 2 + 4  # as much as a window of `a` may hand over
    for whole, part in zip(proxy.target.stages[1].sources, second.sources, strict=True):
        assert abs(part.windows - whole.windows / n) <= 2


SHARES = st.lists(st.integers(1, 9), min_size=3, max_size=3)
STAGES = st.lists(
    st.tuples(st.integers(1, 4000), SHARES, st.sampled_from([1, 4, 6, 32])), min_size=1, max_size=3
)


def recipe_text(sizes, stages):
    sources = [
        f"  s{i}: {{read: {{kind: jsonl, paths: s{i}.jsonl}}, tokens: {size}, max_epochs: 1000}}\n"
        for i, size in enumerate(sizes)
    ]
    rates = "{kind: constant, value: 1e-3}"
    lines = [
        f"  - {{name: n{i}, steps: {steps}, batch_size: {batch}, weights: relative, learning_rate: {rates},"
        f" mixture: {{s0: {shares[0]}, s1: {shares[1]}, s2: {shares[2]}}}}}\n"
        for i, (steps, shares, batch) in enumerate(stages)
    ]
    head, _, tail = TEXT.partition("sources:\n")
    model = tail[tail.index("model:") : tail.index("  - name: one")]
    scored = "evaluation: {bits_per_byte: false}\n"
    return f"{head}sources:\n{''.join(sources)}{model}{''.join(lines)}{scored}"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(14_000, 3_000_000), min_size=3, max_size=3), STAGES, st.integers(2, 40))
def test_epochs_by_stage_and_source_are_the_targets_within_one_window(sizes, stages, n):
    text = recipe_text(sizes, stages)
    try:
        target = planned(text)
    except CodemixError:  # a share that rounds to no window in the target
        return
    ratio = Fraction(1, n)
    try:
        proxy = scaled(text, ratio)
    except CodemixError as error:
        hint = error.problems[-1].hints[0]
        if "--tokens" not in hint:
            return
        ratio = read_ratio(hint.split("--tokens ")[1].rstrip("`"))
        assert ratio > Fraction(1, n)
        proxy = scaled(text, ratio)
    assert proxy.target == target
    assert_epochs_agree(proxy, ratio, NEGLIGIBLE)
    assert planned(proxy.text).stages == proxy.plan.stages


def test_a_subsample_is_seen_in_the_plan_the_diff_and_exports():
    small = TEXT.replace("tokens: 1M # declared", "tokens: 1M\n    subsample: 1/4")
    before, after = planned(TEXT), planned(small)
    pools = [plan.stages[0].sources[0].pool_windows for plan in (before, after)]
    assert pools == [(1_000_000 - 1) // 64, (250_000 - 1) // 64]
    changes = diff(before, after)
    shown = diff_tables.as_text(changes, 120)
    assert "sources.a.subsample" in shown and "1/4" in shown
    notes = plan_tables.mixture_table(after).notes
    assert any("subsampled" in note and "a 1/4" in note for note in notes)
    assert plan_tables.as_json(after)["subsample"] == {"a": "25%"}
    for form in ("megatron", "nanotron", "levanter", "olmo-core"):
        said = export_mixture(form, after).notes
        assert any("`subsample:` takes are not exported: `a` (1/4)" in what for what in said), form


REFUSED = [  # what of the recipe is changed, the ratio, what the refusal says
    ({}, "1/200", "would keep"),
    (
        {"warmup: 20 steps": "warmup: 1 steps", "batch_size: 32": "batch_size: 1"},
        "1/16",
        "less than one step",
    ),
    ({"steps: 100": "steps: 3", "batch_size: 32": "batch_size: 7"}, "1/16", "rounds to none"),
]


@pytest.mark.parametrize(("changes", "ratio", "what"), REFUSED)
def test_what_does_not_work_is_refused_with_what_does(changes, ratio, what):
    text = TEXT
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    with pytest.raises(CodemixError, match=what) as refused:
        scaled(text, ratio)
    hint = refused.value.problems[-1].hints[0]
    works = read_ratio(hint.split("--tokens ")[1].rstrip("`"))
    assert_epochs_agree(scaled(text, works), works)
    smaller = Fraction(1, works.denominator + 1)
    if smaller > Fraction(ratio):
        with pytest.raises(CodemixError):
            scaled(text, smaller)


def test_where_no_ratio_works_the_batches_are_named():
    text = TEXT.replace("steps: 100", "steps: 101\n    batch_size: 31")
    with pytest.raises(CodemixError, match="its batches do not divide") as refused:
        scaled(text, "1/7")
    hint = refused.value.problems[-1].hints[0]
    assert hint == "no ratio of the form 1/n works; give the stages batch sizes with a common divisor"


@pytest.mark.parametrize(
    ("given", "hint"), [("0.0625", "6.25%"), ("1", "100%"), ("0%", "1/16"), ("x", "1/3"), ("3/2", "100%")]
)
def test_a_ratio_that_is_none(given, hint):
    with pytest.raises(CodemixError) as refused:
        read_ratio(given)
    assert hint in " ".join(refused.value.problems[0].hints)


def test_a_stage_of_another_recipe_is_refused(tmp_path):
    (tmp_path / "base.yaml").write_text(TEXT)
    starts = "  - name: one\n    init_from: {recipe: base.yaml, stage: one}\n"
    path = tmp_path / "t.yaml"
    path.write_text(TEXT.replace("  - name: one\n", starts))
    source = of_document(yaml_text.load(path))
    target = validation.check(source, root=tmp_path).require()
    with pytest.raises(CodemixError, match="which is trained in full"):
        scale_down(source, target, {}, Wanted(Fraction(1, 2), "small"))


@pytest.mark.parametrize("width", [80, 140])
def test_the_command_shows_both_ledgers(tmp_path, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    (tmp_path / "t.yaml").write_text(TEXT)
    words = ["scale-down", str(tmp_path / "t.yaml"), "--tokens", "1/16", "--store", str(tmp_path / "store")]
    shown = CliRunner().invoke(new_app(), [*words, "--output", str(tmp_path / "mine.yaml")])
    assert shown.exit_code == 0, shown.output
    tables = shown.output.split("written to")[0]
    assert max(map(len, tables.splitlines())) <= width
    assert "0.9734" in tables and "name: mine" in (tmp_path / "mine.yaml").read_text()
    again = CliRunner().invoke(new_app(), [*words, "--output", str(tmp_path / "mine.yaml")])
    assert "exists already" in str(again.exception)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("../docs/recipe.schema.json", "../../docs/recipe.schema.json"),
        ("https://x.org/a.json",) * 2,
        ("/a.json",) * 2,
    ],
)
def test_the_first_line_names_the_same_schema_from_the_new_folder(tmp_path, given, written):
    line = "# yaml-language-server: $schema="
    target = tmp_path / "recipes/t.yaml"
    target.parent.mkdir()
    target.write_text(f"{line}{given}\n{TEXT}")
    proxy = tmp_path / "recipes/small/proxy.yaml"
    words = [
        "scale-down",
        str(target),
        "--tokens",
        "1/16",
        "--output",
        str(proxy),
        "--store",
        str(tmp_path / "s"),
    ]
    assert CliRunner().invoke(new_app(), words).exit_code == 0
    assert proxy.read_text().startswith(f"{line}{written}\n")
