"""Every path of the trainer lowered for CUDA without a GPU, and what cuDNN's attention is asked to do."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import jax
import jax._src.cudnn.fused_attention_stablehlo as fused
import jax.numpy as jnp
import pytest
from test_aot import make_stage

from codemix.recipe.language import schema
from codemix.train.aot import compile as aot
from codemix.train.model import attention
from codemix.train.model.mesh import make_mesh

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


@pytest.mark.parametrize(("model", "documents", "remat", "microbatches", "dropout"), PATHS)
def test_the_step_lowers_for_cuda(model, documents, remat, microbatches, dropout):
    stage = make_stage(model, batch_size=8, seq_len=256, tokens=10**6, doc_mask=documents, dropout=dropout)
    step = aot.step_for(stage, 1000, 3, make_mesh(), microbatches=microbatches, remat=remat)
    text = aot.lower_for("cuda", step, stage).as_text()
    assert kernels(text) == list(KERNELS[documents == "segment"])
    assert "bf16" in text and "tf.aliasing_output" in text  # half precision, and the state is given away
