"""Causal attention within documents, by the platform that will run it: splash on TPU, cuDNN on GPU, XLA on CPU.

The platform is that of the devices that a program is compiled *for*: a TPU program can be compiled on a laptop. All
three take queries, keys, values and `segments`, and a position sees itself and what stands before it in its own segment.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

if TYPE_CHECKING:
    from codemix.train.model import Attention

BLOCK, LONG_BLOCK, MOST_BLOCKS = 128, 512, 16  # queries at once; measured on CPU: smaller blocks cost more in calls than they save in scores


def xla(
    queries: Float[Array, "B T K G H"], keys: Float[Array, "B T K H"], values: Float[Array, "B T K H"], segments: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T K G H"]:  # fmt: skip
    """Attention in plain XLA operations, a block of queries at a time, so that T x T scores never exist.

    The backward pass computes each block again. Up to 2048 positions every block is written out and meets only the keys
    before its end, which halves the work; longer rows are a loop over larger blocks that meet all keys, masked: written
    out, a CPU would work on many blocks at once and hold the scores of all.
    """
    T = queries.shape[1]
    q = (queries * queries.shape[-1] ** -0.5).transpose(0, 2, 3, 1, 4)
    k, v = keys.transpose(0, 2, 1, 3), values.transpose(0, 2, 1, 3)
    if T <= BLOCK * MOST_BLOCKS or T % LONG_BLOCK:
        block = max(BLOCK, -(-T // MOST_BLOCKS))
        parts = [_block(q[..., i : i + block, :], k[..., : i + block, :], v[..., : i + block, :], segments, i) for i in range(0, T, block)]
        return jnp.concatenate(parts, 3).transpose(0, 3, 1, 2, 4)
    blocks = jnp.moveaxis(q.reshape(*q.shape[:3], -1, LONG_BLOCK, q.shape[-1]), 3, 0)
    parts = jax.lax.map(lambda part: _block(part[1], k, v, segments, part[0]), (jnp.arange(0, T, LONG_BLOCK), blocks))
    return jnp.moveaxis(parts, 0, 3).reshape(q.shape).transpose(0, 3, 1, 2, 4)


@jax.checkpoint
def _block(
    q: Float[Array, "B K G t H"], k: Float[Array, "B K s H"], v: Float[Array, "B K s H"], segments: Int[Array, "B T"] | None, first: Int[Array, ""]
) -> Float[Array, "B K G t H"]:
    """What positions first, first + 1, ... attend to among the first s. Softmax in float32."""
    scores = jnp.einsum("bkgth,bksh->bkgts", q, k, preferred_element_type=jnp.float32)
    t, s = scores.shape[-2:]
    seen = jnp.arange(s) <= first + jnp.arange(t)[:, None]
    if segments is not None:
        own = jax.lax.dynamic_slice_in_dim(segments, first, t, 1)
        seen = (seen & (own[:, :, None] == segments[:, None, :s]))[:, None, None]
    scores = jnp.where(seen, scores, -jnp.inf)
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
    attended = jnp.einsum("bkgts,bksh->bkgth", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    return (attended / weights.sum(-1, keepdims=True)).astype(v.dtype)


def cudnn(
    queries: Float[Array, "B T K G H"], keys: Float[Array, "B T K H"], values: Float[Array, "B T K H"], segments: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T K G H"]:  # fmt: skip
    """Attention in cuDNN's fused kernel, which knows half precision only; float32 goes to `xla`.

    The kernel takes documents as a mask [B, 1, T, T]: 128 MiB a row at 8192 positions, shared by heads and layers.
    """
    if queries.dtype not in (jnp.bfloat16, jnp.float16):
        return xla(queries, keys, values, segments)
    B, T, K, G, H = queries.shape
    seen = None if segments is None else (segments[:, :, None] == segments[:, None, :])[:, None]
    attended = jax.nn.dot_product_attention(queries.reshape(B, T, K * G, H), keys, values, mask=seen, is_causal=True, implementation="cudnn")
    return attended.reshape(queries.shape)


def splash(
    queries: Float[Array, "B T K G H"], keys: Float[Array, "B T K H"], values: Float[Array, "B T K H"], segments: Int[Array, "B T"] | None = None,
    *, mesh: Mesh | None = None, interpret: bool = False,
) -> Float[Array, "B T K G H"]:  # fmt: skip
    """Attention in JAX's splash kernel for TPU, each device on its own rows and heads; T that 128 does not divide goes to `xla`."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    T = queries.shape[1]
    block = next((size for size in (512, 256, 128) if T % size == 0), None)
    if block is None:
        return xla(queries, keys, values, segments)
    sizes = kernel.BlockSizes(**{f"block_{name}": block for name in ("q", "kv", "kv_compute", "q_dkv", "kv_dkv", "kv_dkv_compute", "q_dq", "kv_dq")})

    def local(q: Array, k: Array, v: Array, segments: Array | None) -> Array:
        B, T, K, G, H = q.shape
        mask = masks.MultiHeadMask([masks.CausalMask((T, T)) for _ in range(K * G)])
        attend = kernel.make_splash_mha(mask, head_shards=1, q_seq_shards=1, block_sizes=sizes, interpret=interpret)
        q = (q * H**-0.5).reshape(B, T, K * G, H).swapaxes(1, 2)  # the kernel does not scale
        own = None if segments is None else kernel.SegmentIds(segments, segments)
        attended = jax.vmap(attend)(q, k.swapaxes(1, 2), v.swapaxes(1, 2), own)
        return attended.swapaxes(1, 2).reshape(B, T, K, G, H)

    if mesh is None or mesh.size == 1:
        return local(queries, keys, values, segments)
    rows = ("data", "fsdp")
    heads = P(rows, None, "model")
    # check_vma: the kernel's outputs do not say over which axes they vary
    return jax.shard_map(local, mesh=mesh, in_specs=(heads, heads, heads, P(rows)), out_specs=heads, check_vma=False)(queries, keys, values, segments)


def for_platform(platform: str, mesh: Mesh | None = None) -> Attention:
    """The attention function for `cpu`, `gpu` (also `cuda`) or `tpu`."""
    return {"tpu": functools.partial(splash, mesh=mesh), "gpu": cudnn, "cuda": cudnn}.get(platform, xla)
