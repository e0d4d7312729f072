"""Large recipes: no recursion, and time that grows with their size, not with its square."""

import gc
import time

import pytest

from codemix.data.store.store import Store
from codemix.data.workspace import open_workspace
from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.diffs import diff
from codemix.recipe.language import recipe_file, yaml_text
from codemix.recipe.studies import stage_tree

HEAD = "codemix: 1\nname: many\ntokenizer: {tokenizer}\nsources:\n{sources}{dedup}model: {{d_model: 64, n_layers: 1, n_heads: 1, d_ff: 64}}\n"
TAIL = "training: {seq_len: 64, batch_size: 4}\nstages:\n"
READY = "{kind: tokenizer_json, path: t.json}"
TRAINED = "{kind: bpe, vocab_size: 300, train: {bytes: 9kB}}"


def with_stages(n: int) -> str:
    """A lineage of `n` stages, each of which starts from the last rate of the one before."""
    source = "  a: {read: {kind: jsonl, paths: a.jsonl}, tokens: 10B, tags: {kind: text}, held_out: 1%}\n"
    rates = ["{kind: constant, value: 1e-3}", *["{kind: linear, floor: 1e-4}"] * (n - 1)]
    stages = [
        f"  - {{name: s{i}, steps: 4, mixture: {{a: 100%}}, learning_rate: {r}}}\n"
        for i, r in enumerate(rates)
    ]
    return HEAD.format(tokenizer=READY, sources=source, dedup="") + TAIL + "".join(stages)


def with_sources(n: int, tokenizer: str = READY, dedup: bool = False, chained: bool = False) -> str:
    read_by = ["{kind: jsonl, paths: f0.jsonl}"]
    read_by += [
        f"{{kind: source, name: s{i - 1}}}" if chained else f"{{kind: jsonl, paths: f{i}.jsonl}}"
        for i in range(1, n)
    ]
    sources = [f"  s{i}: {{read: {r}, tokens: 1M, tags: {{kind: text}}}}\n" for i, r in enumerate(read_by)]
    names = ", ".join(f"s{i}" for i in range(n))
    entry = f"dedup: [{{kind: exact, sources: [{names}]}}]\n" if dedup else ""
    stage = "  - name: only\n    steps: 40000\n    weights: relative\n    learning_rate: {kind: constant, value: 1e-3}\n"
    weights = "    mixture:\n" + "".join(f"      s{i}: 1\n" for i in range(n))
    return HEAD.format(tokenizer=tokenizer, sources="".join(sources), dedup=entry) + TAIL + stage + weights


def planned(content: str, root) -> None:
    context = open_workspace(recipe_file.parse_recipe(content, "r.yaml"), Store(root / "store"), root)
    assert context.plan.stages and len(context.found) >= 1


def cpu_s(work):
    """The least CPU time of three runs. Without the garbage collector, which walks what other tests left behind."""
    times = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
    finally:
        gc.enable()
    return min(times)


@pytest.mark.parametrize(
    "made",
    [
        with_stages,
        with_sources,
        lambda n: with_sources(n, TRAINED),
        lambda n: with_sources(n, TRAINED, dedup=True),
    ],
    ids=["stages", "sources", "tokenizer", "dedup"],
)
def test_four_times_the_recipe_takes_about_four_times_as_long(made, tmp_path):
    small, large = made(150), made(600)
    ratio = cpu_s(lambda: planned(large, tmp_path)) / cpu_s(lambda: planned(small, tmp_path))
    assert ratio < 7.5, ratio  # the square would be 16


def test_a_long_lineage_does_not_recurse():
    plan = validation.check(recipe_file.parse_recipe(with_stages(1500), "r.yaml")).require()
    assert plan.stages[-1].lr(3) == plan.stages[1].lr(3) == 1e-4
    found = stage_tree.tree({"a": plan, "b": plan})
    assert len(found.walk()) == 1500 and found.text().count("tokens") >= 1500
    assert diff.diff(plan, plan).empty


def test_a_long_chain_of_sources_does_not_recurse(tmp_path):
    planned(with_sources(400, chained=True), tmp_path)


@pytest.mark.parametrize("content", ["x: [" + "1, " * 1_300_000 + "1]\n", "x:\n" + "  - 1\n" * 600_000])
def test_more_values_than_a_recipe_has_are_refused_early_and_for_that(content):
    began = time.process_time()
    with pytest.raises(CodemixError, match="more than 100,000 values") as caught:
        yaml_text.parse(content, "r.yaml")
    assert time.process_time() - began < 5 and "**/*.jsonl" in str(caught.value)
