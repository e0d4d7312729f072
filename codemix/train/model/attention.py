"""Causal attention within documents, by the platform that will run it:
splash on TPU, cuDNN on GPU, XLA on CPU.

The platform is that of the devices that a program is compiled *for*: a TPU program can be compiled on a
laptop. All three take queries, keys, values and `segments`, and a position sees itself and earlier positions
of its own segment.

The tests hold all of them to `plain`, the definition in four lines.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from codemix.train.model.blockwise_attention import score_scale, visible, xla
from codemix.train.model.shapes import Keys, Queries, Segments, Values

SPLASH_BLOCKS = (512, 256, 128)  # the largest that divides T


@runtime_checkable
class Attention(Protocol):
    """An attention function."""

    def __call__(
        self,
        queries: Queries,
        keys: Keys,
        values: Values,
        segments: Segments | None = None,
    ) -> Queries: ...


def plain(
    queries: Queries,
    keys: Keys,
    values: Values,
    segments: Segments | None = None,
) -> Queries:
    """The definition, all scores at once: what the tests hold the others to."""
    scores = jnp.einsum("btkgh,bskh->bkgts", queries, keys) * score_scale(queries)
    seen = jnp.where(visible(scores, segments, 0), scores, -jnp.inf)
    weights = jax.nn.softmax(seen, -1)
    return jnp.einsum("bkgts,bskh->btkgh", weights, values)


# (queries, keys, values, segments) -> attended
Kernel = Callable[[Array, Array, Array, Array | None], Array]


def _on_each_device(local: Kernel, mesh: Mesh | None) -> Kernel:
    """`local` with rows and heads cut as the mesh cuts them:
    a kernel does not tell the compiler how it may be cut.
    """
    if mesh is None or mesh.size == 1:
        return local
    rows = ("data", "fsdp")
    heads = P(rows, None, "model")
    specs = (heads, heads, heads, P(rows))
    # check_vma: the kernel's outputs do not say over which axes they vary
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=heads, check_vma=False)


def cudnn(
    queries: Queries,
    keys: Keys,
    values: Values,
    segments: Segments | None = None,
    *,
    mesh: Mesh | None = None,
) -> Queries:
    """Attention in cuDNN's fused kernel, each device on its own rows and heads; what the kernel does not take
    goes to `xla`.

    It takes half precision, heads of a multiple of 8 up to a size that the device decides, and rows of an
    even length. Documents go in as a mask [B, 1, T, T]: 128 MiB per row of 8192 positions, shared by heads
    and layers.
    """
    T, H = queries.shape[1], queries.shape[-1]
    half = queries.dtype in (jnp.bfloat16, jnp.float16)
    heads_fit = H % 8 == 0 and _largest_fused_head() >= H
    if not half or T % 2 or not heads_fit:
        return xla(queries, keys, values, segments)
    return _on_each_device(_cudnn_on_one_device, mesh)(queries, keys, values, segments)


def _cudnn_on_one_device(queries: Array, keys: Array, values: Array, segments: Array | None) -> Array:
    B, T, K, G, H = queries.shape
    mask = None
    if segments is not None:
        mask = (segments[:, :, None] == segments[:, None, :])[:, None]
    attended = jax.nn.dot_product_attention(
        queries.reshape(B, T, K * G, H), keys, values, mask=mask, is_causal=True, implementation="cudnn"
    )
    return attended.reshape(queries.shape)


def _largest_fused_head() -> int:
    """The most values of a head that cuDNN's kernel takes here:
    none before Ampere, 128 there, 256 from Hopper on.
    """
    capability = getattr(jax.devices()[0], "compute_capability", "8.0")  # no GPU: lowered for any
    if not re.fullmatch(r"\d+\.\d+", capability) or float(capability) < 8:  # AMD's are names
        return 0
    return 256 if float(capability) >= 9 else 128


def splash(
    queries: Queries,
    keys: Keys,
    values: Values,
    segments: Segments | None = None,
    *,
    mesh: Mesh | None = None,
    interpret: bool = False,
) -> Queries:
    """Attention in JAX's splash kernel for TPU, each device on its own rows and heads.

    T that 128 does not divide goes to `xla`.
    """
    block = next((size for size in SPLASH_BLOCKS if queries.shape[1] % size == 0), None)
    if block is None:
        return xla(queries, keys, values, segments)
    local = functools.partial(_splash_on_one_device, block=block, interpret=interpret)
    return _on_each_device(local, mesh)(queries, keys, values, segments)


def _splash_on_one_device(
    queries: Array, keys: Array, values: Array, segments: Array | None, *, block: int, interpret: bool
) -> Array:
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    B, T, K, G, H = queries.shape
    mask = masks.MultiHeadMask([masks.CausalMask((T, T)) for _ in range(K * G)])
    sizes = kernel.BlockSizes(
        block_q=block,
        block_kv=block,
        block_kv_compute=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        block_q_dq=block,
        block_kv_dq=block,
    )
    attend = kernel.make_splash_mha(
        mask, head_shards=1, q_seq_shards=1, block_sizes=sizes, interpret=interpret
    )
    scaled = queries * H**-0.5  # the kernel does not scale
    q = scaled.reshape(B, T, K * G, H).swapaxes(1, 2)
    own = None if segments is None else kernel.SegmentIds(segments, segments)
    attended = jax.vmap(attend)(q, keys.swapaxes(1, 2), values.swapaxes(1, 2), own)
    return attended.swapaxes(1, 2).reshape(B, T, K, G, H)


@functools.cache
def for_platform(platform: str, mesh: Mesh | None = None) -> Attention:
    """The attention function for `cpu`, `gpu` (also `cuda`) or `tpu`;
    equal arguments give the same function.
    """
    kernels = {"tpu": splash, "gpu": cudnn, "cuda": cudnn}
    if platform not in kernels:
        return xla
    return functools.partial(kernels[platform], mesh=mesh)
