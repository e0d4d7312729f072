"""Every path of the trainer lowered for CUDA without a GPU, and what cuDNN's attention is asked to do."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import jax
import jax._src.cudnn.fused_attention_stablehlo as fused
import jax.numpy as jnp
import pytest
from support import byte_store
from support.long_stages import make_stage

from codemix.eval.engine import generate, score
from codemix.eval.engine.text import Text
from codemix.recipe.language import schema
from codemix.train.aot import compile as aot
from codemix.train.model import attention
from codemix.train.model.compute import compute_for
from codemix.train.model.decoder import init_decoder
from codemix.train.model.mesh import make_mesh
from codemix.train.step import loss

CUDNN = SimpleNamespace(
    cudnn_get_version=lambda: 91000
)  # JAX asks for it before it lowers, and has none on a CPU
KERNELS = {
    False: ("__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward"),
    True: ("__cudnn$fmhaScaleBiasSoftmax", "__cudnn$fmhaScaleBiasSoftmaxBackward"),
}


@pytest.fixture(autouse=True)
def cudnn_version(monkeypatch):
    monkeypatch.setattr(fused, "cuda_versions", CUDNN)


def kernels(text: str) -> list[str]:
    """cuDNN's custom calls in a lowered program, in order, each once."""
    names = (part.split("(")[0] for part in text.split("custom_call @")[1:])
    return list(dict.fromkeys(name for name in names if name.startswith("__cudnn")))


def lower_attention(T: int, K: int, G: int, H: int, dtype: str, documents: bool) -> str:
    def loss(q, k, v, segments):
        attended = attention.for_platform("cuda")(q, k, v, segments if documents else None)
        return attended.astype(jnp.float32).sum()

    q = jax.ShapeDtypeStruct((2, T, K, G, H), dtype)
    k = jax.ShapeDtypeStruct((2, T, K, H), dtype)
    segments = jax.ShapeDtypeStruct((2, T), jnp.int32)
    traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(q, k, k, segments)
    return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize(
    ("T", "K", "G", "H", "dtype", "fused"),
    [
        (512, 2, 1, 128, "bfloat16", True),
        (512, 2, 4, 64, "bfloat16", True),  # grouped queries
        (512, 1, 2, 8, "float16", True),
        (512, 2, 1, 128, "float32", False),
        (512, 2, 1, 20, "bfloat16", False),
        (512, 2, 1, 136, "bfloat16", False),
        (511, 2, 1, 128, "bfloat16", False),
    ],
)
def test_cudnn_gets_what_it_takes_and_xla_the_rest(T, K, G, H, dtype, fused, documents):
    found = kernels(lower_attention(T, K, G, H, dtype, documents))
    assert found == list(KERNELS[documents]) if fused else found == []


@pytest.mark.parametrize(
    ("capability", "largest"),
    [(None, 128), ("7.5", 0), ("8.0", 128), ("8.9", 128), ("9.0", 256), ("10.3", 256), ("gfx942", 0)],
)
def test_the_largest_head_is_the_devices(monkeypatch, capability, largest):
    device = SimpleNamespace() if capability is None else SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert attention._largest_fused_head() == largest


MODEL = schema.Model(d_model=128, n_layers=2, n_heads=2, d_head=64, d_ff=256)
OTHER = schema.Model(
    d_model=128, n_layers=2, n_heads=4, n_kv_heads=2, d_head=32, d_ff=256, tied_embeddings=False, norm="rms"
)
PATHS = [
    (model, documents, remat, microbatches, dropout)
    for (remat, microbatches), documents in itertools.product(
        (("none", 1), ("dots", 2), ("full", 4)), ("none", "segment")
    )
    for model, dropout in ((MODEL, 0.0), (OTHER, 0.1))
]


EIGHT_DEVICES = """
    import sys
    sys.path[:0] = {tests!r}
    from types import SimpleNamespace
    import jax._src.cudnn.fused_attention_stablehlo as fused
    from test_cuda import CUDNN, MODEL, aot, kernels, make_mesh, make_stage

    fused.cuda_versions = CUDNN
    stage = make_stage(MODEL, batch_size=8, seq_len=256, tokens=10**6)
    text = aot.lower_for("cuda", aot.step_for(stage, 1000, 3, make_mesh(2, 2, 2), microbatches=2), stage).as_text()
    print(*kernels(text), text.count("sdy.mesh") + text.count("mhlo.sharding") > 0)
"""


def test_the_step_lowers_for_eight_gpus():
    """On data x fsdp x model, with documents; in a process that sees eight devices."""
    here = os.path.dirname(os.path.abspath(__file__))
    code = textwrap.dedent(EIGHT_DEVICES.format(tests=[here, os.path.dirname(here)]))
    eight = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | eight, capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.split() == [*KERNELS[True], "True"]


@pytest.mark.parametrize(("model", "documents", "remat", "microbatches", "dropout"), PATHS)
def test_the_step_lowers_for_cuda(model, documents, remat, microbatches, dropout):
    stage = make_stage(model, batch_size=8, seq_len=256, tokens=10**6, doc_mask=documents, dropout=dropout)
    step = aot.step_for(stage, 1000, 3, make_mesh(), microbatches=microbatches, remat=remat)
    text = aot.lower_for("cuda", step, stage).as_text()
    assert kernels(text) == list(KERNELS[documents == "segment"])
    assert "bf16" in text and "tf.aliasing_output" in text  # half precision, and the state is given away


def lowered_for_cuda(monkeypatch, module, name: str) -> list[str]:
    """The programs that `module.name` becomes for a GPU, made of the arguments with which it is called from
    now on.
    """
    on_cpu, texts = getattr(module, name), []

    def also_lowered(*args, compute, **options):
        there = compute_for(platform="cuda")
        traced = on_cpu.trace(*args, compute=there, **options)
        texts.append(traced.lower(lowering_platforms=("cuda",)).as_text())
        return on_cpu(*args, compute=compute, **options)

    monkeypatch.setattr(module, name, also_lowered)
    return texts


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(byte_store.byte_tokenizer_json())
    model = init_decoder(MODEL, 300, jax.random.key(0))
    return score.Engine(model, Text(path, 256), longest=64, compute_dtype="bfloat16")


def test_scoring_lowers_for_cuda(monkeypatch, engine):
    """Documents packed to a row are kept apart, so the kernel gets a mask."""
    texts = lowered_for_cuda(monkeypatch, score, "_log_probabilities")
    engine.score_tokens([([1, 2], [3, 4]), ([5], [6])])
    assert texts and all(kernels(text) == list(KERNELS[True][:1]) and "bf16" in text for text in texts)


def test_generation_lowers_for_cuda(monkeypatch, engine):
    texts = [lowered_for_cuda(monkeypatch, generate, name) for name in ("_start", "_continue")]
    generate.generate(engine, ["a", "bc"], generate.Decoding(max_tokens=4, temperature=1.0))
    for [text] in texts:
        assert "bf16" in text


def test_the_head_holds_a_chunk_of_logits_not_all():
    """256,000 entries: four times the positions, and the program of loss and gradients needs hardly more
    memory.
    """
    V, D, chunk = 256_000, 1024, 256
    head = loss.Head(V, z_loss=1e-4, compute=compute_for(platform="cuda", chunk=chunk))

    def held(T: int) -> int:
        states = jax.ShapeDtypeStruct((1, T, D), jnp.bfloat16)
        table = jax.ShapeDtypeStruct((V, D), jnp.float32)
        targets = jax.ShapeDtypeStruct((1, T), jnp.int32)
        weights = jax.ShapeDtypeStruct((1, T), jnp.float32)
        total = jax.jit(jax.grad(lambda *a: loss.head_loss(head, *a)[0], (0, 1)))
        return total.lower(states, table, targets, weights).compile().memory_analysis().temp_size_in_bytes

    states_and_gradients = 2 * 2 * D
    assert held(8192) - held(2048) < 6144 * 4 * states_and_gradients  # a hundredth of their logits
    tables = V * D * (2 + 4)  # cast for the matmul, and the sum of its gradient
    assert held(8192) < tables + 2 * 4 * chunk * V  # logits and powers of one chunk; all logits have 8.4 GB
