"""The steps of benchmarks/gpu.py that measure: device, step, kernels, generated text.
Each gives results as soon as they are known.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import roofline
from gpu_sizes import SMALL, Case, Context, Results, batch_of

from codemix.train.aot.report import GIB
from codemix.train.model.compute import compute_for
from codemix.train.model.mesh import make_mesh
from codemix.train.run import metrics
from codemix.train.run.memory import is_out_of_memory
from codemix.train.step.step import Step

VERSIONS = (
    "jax",
    "jaxlib",
    "jax-cuda13-plugin",
    "jax-cuda12-plugin",
    "nvidia-cudnn-cu13",
    "nvidia-cudnn-cu12",
    "equinox",
    "optax",
)


def timed(run: Callable[[], Any], repeats: int = 5) -> float:
    """Median seconds of a call whose result is waited for, after one that compiles."""
    jax.block_until_ready(run())
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def device(context: Context) -> Results:
    """What the device is, and what it reaches: a square bfloat16 matmul, a copy in memory."""
    first = jax.devices()[0]
    yield {
        "kind": first.device_kind,
        "capability": getattr(first, "compute_capability", None),
        "memory_gib": round((first.memory_stats() or {}).get("bytes_limit", 0) / GIB, 1),
        "driver": driver(),
        "versions": {name: found for name in VERSIONS if (found := version(name))},
    }
    n = context.sizes.matmul
    left, right = jax.random.normal(jax.random.key(0), (2, n, n), jnp.bfloat16)
    multiply = jax.jit(jnp.matmul)
    yield {"matmul_tflops": 2 * n**3 / timed(lambda: multiply(left, right)) / 1e12}
    many = jnp.ones(context.sizes.copied_bytes // 4, jnp.float32)
    double = jax.jit(lambda x: x * 2)
    yield {"memory_tb_per_s": 2 * many.nbytes / timed(lambda: double(many)) / 1e12}


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def driver() -> str | None:
    """What nvidia-smi calls the card, its driver and its memory; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.strip()


def random_batch(context: Context, case: Case) -> dict[str, np.ndarray]:
    shape = (case.rows * case.microbatches, context.sizes.seq_len + 1)
    ids = np.random.default_rng(0).integers(0, context.sizes.vocab_size, shape, dtype=np.int32)
    return batch_of(ids, case.documents)


def compiled_step(context: Context, case: Case) -> tuple[Step, Any, dict[str, jax.Array]]:
    """The step of a case, compiled, and its batch on the device."""
    compute = compute_for(make_mesh(), remat=case.remat, chunk=case.chunk)
    model = context.sizes.models[case.model]
    step = Step(model, context.sizes.vocab_size, 1, compute, accumulate=case.microbatches)
    batch = random_batch(context, case)
    on_device = step.put(batch, len(batch["inputs"]))
    shapes = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding) for name, x in on_device.items()
    }
    return step, step.lower(shapes).compile(), on_device


def speed(context: Context) -> Results:
    """Tokens/s, MFU and peak memory of each case, and what the roofline expected.
    A case without room or time says so.
    """
    began = time.monotonic()
    for case in context.sizes.cases:
        if time.monotonic() - began > 0.75 * context.budget_s:  # compiling one takes a quarter at most
            yield case.words() | {"skipped": "no time"}
            continue
        try:
            yield case.words() | measure(context, case)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(str(error)):
                raise
            yield case.words() | {"skipped": "does not fit"}


def measure(context: Context, case: Case) -> dict[str, Any]:
    began = time.perf_counter()
    step, compiled, batch = compiled_step(context, case)
    compile_s = time.perf_counter() - began
    state, key = step.init(0), np.zeros(2, np.uint32)

    def advance() -> Any:
        nonlocal state
        state, sums = compiled(state, batch, np.float32(1e-4), key)
        return sums

    seconds = timed(advance, 4)
    model, sizes = context.sizes.models[case.model], context.sizes
    peak = roofline.data_sheet(roofline.chip_of(jax.devices()[0].device_kind))
    tokens_per_s = batch["inputs"].size / seconds
    work = roofline.Work(
        model, sizes.vocab_size, sizes.seq_len, case.rows, case.microbatches, case.remat, case.documents
    )
    return {
        "tokens_per_s": tokens_per_s,
        "step_ms": 1e3 * seconds,
        "mfu": metrics.mfu(
            tokens_per_s, model.flops_per_token(sizes.vocab_size, sizes.seq_len), jax.devices()
        ),
        "expected_mfu": roofline.mfu(work, roofline.reached(peak), peak.matmul),
        "peak_gib": peak_bytes(compiled) / GIB,
        "compile_s": compile_s,
    }


def peak_bytes(compiled: Any) -> int:
    """What a program holds at once, as its compiler counts it."""
    said = compiled.memory_analysis()
    live = said.argument_size_in_bytes + said.temp_size_in_bytes + said.output_size_in_bytes
    return getattr(said, "peak_memory_in_bytes", 0) or live - said.alias_size_in_bytes


KINDS = {  # of kernels, by what their names hold; the first that fits
    "attention": ("fmha", "flash", "sdpa", "cudnn"),
    "matmul": ("gemm", "cutlass", "cublas", "nvjet", "dot", "xmma"),
    "scatter or gather": ("scatter", "gather"),
    "copy": ("memcpy", "memset", "copy", "transpose"),
}


def profile(context: Context) -> Results:
    """The kernels of one step of the first case: the share of each kind, and the twelve largest."""
    step, compiled, batch = compiled_step(context, context.sizes.cases[0])
    state, key = step.init(0), np.zeros(2, np.uint32)
    state, _ = compiled(state, batch, np.float32(1e-4), key)
    jax.block_until_ready(state)
    with jax.profiler.trace(context.folder / "profile"):
        state, _ = compiled(state, batch, np.float32(1e-4), key)
        jax.block_until_ready(state)
    newest = max((context.folder / "profile").rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    kernels = kernel_seconds(jax.profiler.ProfileData.from_file(str(newest)))
    total = sum(kernels.values())
    yield {"file": str(newest.relative_to(context.folder)), "kernels": len(kernels), "total_ms": 1e3 * total}
    shares = dict.fromkeys([*KINDS, "other"], 0.0)
    for name, seconds in kernels.items():
        shares[kind_of(name)] += seconds / total
    largest = sorted(kernels.items(), key=lambda pair: -pair[1])[:12]
    yield {
        "shares": shares,
        "largest": [{"kernel": n[:80], "ms": 1e3 * s, "share": s / total} for n, s in largest],
    }


def kernel_seconds(data: Any) -> dict[str, float]:
    """Seconds by kernel: on a GPU those of its streams, elsewhere those of XLA's own threads."""
    on_gpu = [plane for plane in data.planes if plane.name.startswith("/device:GPU")]
    found: dict[str, float] = {}
    for plane in on_gpu or data.planes:
        for line in plane.lines:
            if line.name.startswith("Stream" if on_gpu else "tf_XLA"):
                for event in line.events:
                    if "::" in event.name:  # the runtime's own, around kernels
                        continue
                    found[event.name] = found.get(event.name, 0.0) + event.duration_ns / 1e9
    if not found:
        raise RuntimeError("the profile holds no kernels; lines: " + ", ".join(sorted(line_names(data))))
    return found


def line_names(data: Any) -> set[str]:
    return {f"{plane.name}/{line.name}" for plane in data.planes for line in plane.lines}


def kind_of(kernel: str) -> str:
    lower = kernel.lower()
    return next((kind for kind, words in KINDS.items() if any(word in lower for word in words)), "other")


class Bytes:
    """Stands for a tokenizer: a byte is a token, and 256 ends a text."""

    eos_id = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Any) -> str:
        return bytes(i for i in ids if i < 256).decode(errors="replace")

    decode_after = decode


def generation(context: Context) -> Results:
    """Tokens/s of sampled text after short prompts, fresh weights of the smaller model."""
    from codemix.eval.engine.generate import Decoding, generate
    from codemix.eval.engine.score import Engine
    from codemix.train.model.decoder import init_decoder

    sizes = context.sizes
    model = init_decoder(sizes.models[SMALL], sizes.vocab_size, jax.random.key(0))
    engine = Engine(model, Bytes(), longest=min(1024, sizes.seq_len))
    prompts = [f"def f{n}(x):\n    return" for n in range(sizes.prompts)]
    decoding = Decoding(max_tokens=sizes.new_tokens, temperature=1.0, seed=1)
    generate(engine, prompts, decoding)  # compiles
    began = time.perf_counter()
    texts = generate(engine, prompts, decoding)
    seconds = time.perf_counter() - began
    tokens = sum(text.tokens for [text] in texts)
    yield {"prompts": len(prompts), "tokens": tokens, "tokens_per_s": tokens / seconds}
