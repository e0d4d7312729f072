"""FLOPs, bytes and time of a step's parts (benchmarks/roofline.py):
exact where there is a formula, ordered where there is none.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest

from codemix.recipe.language import schema

PLACE = Path(__file__).parents[1] / "benchmarks" / "roofline.py"
SPEC = importlib.util.spec_from_file_location("roofline", PLACE)
roofline = sys.modules["roofline"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(roofline)

VOCAB, SEQ_LEN = 256_000, 8192
MODEL = schema.Model(preset="470M")
GROUPED = schema.Model(
    d_model=256, n_layers=3, n_heads=8, n_kv_heads=2, d_ff=640, tied_embeddings=False, vocab_multiple=128
)
WORK = roofline.Work(MODEL, VOCAB, SEQ_LEN, rows=8)
H100 = roofline.data_sheet()
EXPECTED = roofline.reached(H100)


def seconds(work, name, rates=EXPECTED):
    return next(part.seconds(rates) for part in roofline.parts(work) if part.name == name)


@pytest.mark.parametrize("remat", ["none", "dots", "full"])
@pytest.mark.parametrize(("model", "vocab"), [(MODEL, VOCAB), (GROUPED, 1000)])
@pytest.mark.parametrize("microbatches", [1, 4])
def test_model_flops_add_up_to_the_formula(model, vocab, remat, microbatches):
    """Whatever is computed again, what counts for MFU is 6 N + attention."""
    work = roofline.Work(model, vocab, 512, rows=2, microbatches=microbatches, remat=remat, documents=True)
    counted = sum(part.model_flops for part in roofline.parts(work))
    assert counted == model.flops_per_token(vocab, 512) * work.tokens
    assert (
        sum(part.flops for part in roofline.parts(work))
        > counted - 6 * work.tokens * model.n_layers * model.d_model
    )


def test_mfu_without_memory_traffic_is_what_is_computed_twice():
    """Memory infinitely fast: only the fifth matmul of attention's backward pass, and the gains of norms,
    are lost or won.
    """
    free = dataclasses.replace(H100, memory=float("inf"))
    once = WORK.tokens * SEQ_LEN * MODEL.n_heads * MODEL.head_size * MODEL.n_layers
    counted = MODEL.flops_per_token(VOCAB, SEQ_LEN) * WORK.tokens
    gains = 6 * WORK.tokens * MODEL.n_layers * MODEL.d_model
    assert roofline.mfu(WORK, free, 989e12) == pytest.approx(counted / (counted - gains + once))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("MLP", {"remat": "full"}),
        ("attention", {"remat": "dots"}),
        ("attention", {"documents": True}),
        ("head and loss", {"logits_at_once": 2**25}),
        ("optimizer", {"rows": 4, "microbatches": 2}),
    ],
)
def test_each_choice_costs_where_it_should(part, change):
    assert seconds(dataclasses.replace(WORK, **change), part) > seconds(WORK, part)


def test_the_goal_is_within_the_bound_and_the_head_decides():
    """45 % at 470M, 8,192 tokens a row and 256,000 entries:
    the bound is above it, and the head is the largest part.
    """
    assert 0.6 < roofline.mfu(WORK, H100, 989e12) < 0.7
    assert 0.45 < roofline.mfu(WORK, EXPECTED, 989e12) < 0.5
    longest = max(roofline.parts(WORK), key=lambda part: part.seconds(EXPECTED))
    assert longest.name == "head and loss"


def test_the_table_has_every_part_and_the_whole(capsys):
    roofline.table(WORK, EXPECTED, H100).print()
    said = capsys.readouterr().out
    assert all(part.name in said for part in roofline.parts(WORK)) and "whole step" in said and "468M" in said


@pytest.mark.parametrize(
    ("kind", "chip"),
    [("NVIDIA H200", "h200"), ("NVIDIA H100 80GB HBM3", "h100"), ("cpu", "h100"), (None, "h100")],
)
def test_a_device_has_its_own_data_sheet(kind, chip):
    assert roofline.chip_of(kind) == chip
    assert roofline.mfu(WORK, roofline.data_sheet("h200"), 989e12) > roofline.mfu(WORK, H100, 989e12)


def test_the_page_shows_this_roofline():
    page = (PLACE.parents[1] / "docs" / "gpu.md").read_text()
    assert roofline.table(WORK, EXPECTED, H100).markdown() in page
    small = dataclasses.replace(WORK, model=schema.Model(preset="120M"))
    changes = ({"remat": "dots"}, {"remat": "full"}, {"documents": True})
    works = [*(dataclasses.replace(WORK, **change) for change in changes), small]
    dots, full, masked, smaller = (f"{roofline.mfu(work, EXPECTED, H100.matmul):.0%}" for work in works)
    said = f"(`dots` {dots}, `full` {full}), document masks cost a little ({masked}); 120M reaches {smaller}."
    assert said in page
