"""The steps of benchmarks/gpu.py that compare: attention, losses, resumed runs.
Each gives results as soon as they are known.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gpu_sizes import Context, Results, batch_of
from gpu_speed import timed

from codemix.train.model import attention as attention_functions
from codemix.train.model.compute import compute_for
from codemix.train.model.mesh import make_mesh
from codemix.train.step.step import Step


def attention(context: Context) -> Results:
    """The platform's attention in bfloat16 against XLA's in float32:
    largest error of values and gradients over their largest value.
    """
    for shape, documents in itertools.product(context.sizes.attention, (False, True)):
        T, K, G, H = shape
        keys = jax.random.split(jax.random.key(T), 4)
        q, weigh = (jax.random.normal(key, (2, T, K, G, H), jnp.bfloat16) for key in keys[:2])
        k, v = (jax.random.normal(key, (2, T, K, H), jnp.bfloat16) for key in keys[2:])
        segments = jnp.broadcast_to(jnp.arange(T) // (T // 3 + 1), (2, T)) if documents else None
        fused = value_and_gradients(attention_functions.for_platform(context.platform), segments, weigh)
        xla = value_and_gradients(attention_functions.xla, segments, weigh)
        got = fused(q, k, v)
        with jax.default_matmul_precision("highest"):
            wanted = xla(*(x.astype(jnp.float32) for x in (q, k, v)))
        errors = [relative_error(g, w) for g, w in zip(got, wanted, strict=True)]
        yield {
            "shape": f"2 x {T}, {K} x {G} heads of {H}",
            "documents": documents,
            "errors": dict(zip(("value", "d_query", "d_key", "d_value"), errors, strict=True)),
            "equal": max(errors) < 2**-6,  # bfloat16 has 8 bits
            "fused_ms": 1e3 * timed(functools.partial(fused, q, k, v), 3),
            "xla_ms": 1e3 * timed(functools.partial(xla, q, k, v), 3),
        }


def value_and_gradients(attend: Callable, segments: Any, weigh: Any) -> Callable:
    @jax.jit
    def run(q, k, v):
        value, pull = jax.vjp(lambda *x: attend(*x, segments), q, k, v)
        return value, *pull(weigh.astype(value.dtype))

    return run


def relative_error(got: Any, wanted: Any) -> float:
    wanted = np.asarray(wanted, np.float32)
    return float(np.abs(np.asarray(got, np.float32) - wanted).max() / np.abs(wanted).max())


def losses(context: Context) -> Results:
    """The quickstart's model, batch and peak learning rate on the standard library's bytes:
    this device against a CPU.
    """
    small = context.sizes.compared
    batches = [
        library_rows(number, small.rows, small.seq_len) for number in range(context.sizes.compared_steps)
    ]
    cpu = make_mesh(devices=jax.devices("cpu")[:1])
    on_cpu = Step(small.model, small.vocab_size, 1, compute_for(cpu))
    start = jax.device_get(on_cpu.init(0))
    reference = run_losses(on_cpu, start, batches)
    yield {"steps": len(batches), "cpu": {"first": reference[0], "last": reference[-1]}}
    for dtype, precision, tolerance in (("float32", "highest", 2e-3), ("bfloat16", "default", 5e-2)):
        with jax.default_matmul_precision(precision):
            on_device = Step(small.model, small.vocab_size, 1, compute_for(make_mesh(), dtype=dtype))
            found = run_losses(on_device, start, batches)
        far = float(np.abs(np.subtract(found, reference)).max())
        yield {dtype: {"last": found[-1], "largest_difference": far, "equal": far < tolerance}}


def library_rows(number: int, rows: int, seq_len: int) -> dict[str, np.ndarray]:
    """A batch of bytes from the modules of the standard library that every Python has,
    other ones for each number.
    """
    text = b"\n".join(
        Path(module.__file__).read_bytes() for module in (argparse, inspect, shutil, subprocess)
    )
    need = rows * (seq_len + 1)
    first = number * need % (len(text) - need)
    ids = np.frombuffer(text[first : first + need], np.uint8).astype(np.int32).reshape(rows, seq_len + 1)
    return batch_of(ids)


def run_losses(step: Step, start: Any, batches: list[dict[str, np.ndarray]]) -> list[float]:
    """Nats a token of each step, from these weights, with twenty steps of warm-up."""
    state = jax.device_put(start, step.state_shardings)
    found = []
    for number, batch in enumerate(batches):
        rate = 4e-3 * min(1, (number + 1) / 20)
        on_device = step.put(batch, len(batch["inputs"]))
        state, sums = step(state, on_device, rate)
        nats = sums["nats"].sum() / sums["tokens"].sum()
        found.append(float(nats))
    return found


def resume(context: Context) -> Results:
    """Twelve steps twice, and twelve with a checkpoint in the middle: equal to the bit?"""
    from codemix.train.run.checkpoint import Checkpoints
    from codemix.train.step.step import TrainState

    small = context.sizes.resumed
    step = Step(small.model, small.vocab_size, 1)
    rng = np.random.default_rng(1)
    ids = rng.integers(0, small.vocab_size, (12, small.rows, small.seq_len + 1), dtype=np.int32)

    def advance(state: Any, numbers: range) -> Any:
        for number in numbers:
            state, _ = step(state, step.put(batch_of(ids[number]), small.rows), 1e-3)
        return state

    straight = jax.device_get(advance(step.init(0), range(12)))
    again = jax.device_get(advance(step.init(0), range(12)))
    yield {"repeatable": same_bits(straight, again)}
    folder = context.folder / "checkpoints"
    shutil.rmtree(folder, ignore_errors=True)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(6, advance(step.init(0), range(6)), {})
    with Checkpoints(folder) as checkpoints:
        state = TrainState(**checkpoints.restore(6, step.shapes()))
    shutil.rmtree(folder)
    yield {"resumed": same_bits(straight, jax.device_get(advance(state, range(6, 12))))}


def same_bits(a: Any, b: Any) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def resume_deterministic(context: Context) -> Results:
    """The same under flags that choose deterministic kernels, where it has to hold."""
    for result in resume(context):
        yield result | {"equal": all(result.values())}
