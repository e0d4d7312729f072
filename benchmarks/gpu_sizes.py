"""How large everything is that benchmarks/gpu.py runs, and what its steps are given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from codemix.recipe.language import schema


@dataclass(frozen=True)
class Case:
    """One way to run the step of one model."""

    model: str
    rows: int  # at once
    microbatches: int = 1
    remat: str = "none"
    chunk: int | None = None  # positions whose logits exist at once
    documents: bool = False

    def words(self) -> dict[str, Any]:
        return vars(self) | {"chunk": self.chunk or "auto"}


@dataclass(frozen=True)
class Small:
    """A model and a batch to compare runs of."""

    model: schema.Model
    vocab_size: int
    rows: int
    seq_len: int


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    models: dict[str, schema.Model]
    vocab_size: int
    seq_len: int
    matmul: int  # of a square matrix
    copied_bytes: int
    attention: tuple[tuple[int, int, int, int], ...]  # T, K, G, H
    compared: Small
    compared_steps: int
    cases: tuple[Case, ...]
    resumed: Small
    prompts: int
    new_tokens: int


RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "quickstart.yaml"


def quickstart() -> Small:
    """The quickstart's model and batch."""
    recipe = yaml.safe_load(RECIPE.read_text())
    training = recipe["training"]
    model = schema.Model.model_validate(recipe["model"])
    return Small(model, recipe["tokenizer"]["vocab_size"], training["batch_size"], training["seq_len"])


LARGE, SMALL = "470M", "120M"
REAL = Sizes(
    models={name: schema.Model(preset=name) for name in (LARGE, SMALL)},
    vocab_size=256_000,
    seq_len=8192,
    matmul=8192,
    copied_bytes=2**31,
    attention=((1024, 2, 1, 128), (1024, 2, 4, 64), (8192, 8, 1, 128)),
    compared=quickstart(),
    compared_steps=60,
    cases=(  # the most telling first: time may run out
        Case(LARGE, 8),
        Case(LARGE, 8, documents=True),
        Case(LARGE, 4, microbatches=2),
        Case(LARGE, 8, chunk=512),
        Case(LARGE, 8, remat="dots"),
        Case(SMALL, 8),
        Case(LARGE, 8, remat="full"),
        Case(LARGE, 2, microbatches=4),
        Case(SMALL, 16),
    ),
    resumed=Small(schema.Model(d_model=512, n_layers=4, n_heads=4, d_ff=1408), 256_000, 4, 1024),
    prompts=64,
    new_tokens=128,
)
# one shape wherever it will do: it is compiled once
TINY = Small(schema.Model(d_model=64, n_layers=2, n_heads=2, d_ff=128), vocab_size=512, rows=4, seq_len=128)
TOY = Sizes(
    models={LARGE: TINY.model, SMALL: TINY.model},
    vocab_size=TINY.vocab_size,
    seq_len=TINY.seq_len,
    matmul=256,
    copied_bytes=2**22,
    attention=((128, 1, 2, 16),),
    compared=TINY,
    compared_steps=4,
    cases=(Case(LARGE, TINY.rows), Case(LARGE, 2, microbatches=2, remat="full", chunk=32, documents=True)),
    resumed=TINY,
    prompts=2,
    new_tokens=8,
)


@dataclass(frozen=True)
class Context:
    """Where a step runs."""

    sizes: Sizes
    platform: str
    folder: Path  # for its files
    budget_s: float


Results = Iterator[dict[str, Any]]


def batch_of(ids: np.ndarray, documents: bool = False) -> dict[str, np.ndarray]:
    rows, seq_len = len(ids), ids.shape[1] - 1
    batch = {"inputs": ids[:, :-1], "targets": ids[:, 1:], "weights": np.ones((rows, seq_len), np.float32)}
    if documents:
        of_row = np.arange(seq_len, dtype=np.int32)
        length = seq_len // 4
        batch |= {
            "segments": np.tile(of_row // length, (rows, 1)),
            "positions": np.tile(of_row % length, (rows, 1)),
        }
    return batch | {"source": np.zeros(rows, np.int32)}
