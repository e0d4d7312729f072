"""Causal attention within documents, by the platform that will run it: splash on TPU, cuDNN on GPU, XLA on CPU.

The platform is that of the devices that a program is compiled *for*: a TPU program can be compiled on a laptop. All
three take queries, keys, values and `segments`, and a position sees itself and what stands before it in its own segment.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

if TYPE_CHECKING:
    from codemix.train.model.decoder import Attention

BLOCK, LONG_BLOCK, MOST_BLOCKS = (
    128,
    512,
    16,
)  # queries at once; measured on CPU: smaller blocks cost more in calls than they save in scores


@jax.custom_vjp
def xla(
    queries: Float[Array, "B T K G H"],
    keys: Float[Array, "B T K H"],
    values: Float[Array, "B T K H"],
    segments: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T K G H"]:
    """Attention in plain XLA operations, a block of queries at a time, so that T x T scores never exist.

    The backward pass makes the scores of each block again, and needs no more than the log of each softmax's sum.
    """
    return _forward(queries, keys, values, segments)[0]


def _forward(queries: Array, keys: Array, values: Array, segments: Array | None):
    k, v = keys.swapaxes(1, 2), values.swapaxes(1, 2)

    def block(_: None, first: Any, seen: int, q: Float[Array, "B K G t H"]):
        scores = _scores(q, k[:, :, :seen], segments, first)
        highest = scores.max(-1, keepdims=True)
        weights = jnp.exp(scores - highest)
        total = weights.sum(-1, keepdims=True)
        attended = jnp.einsum(
            "bkgts,bksh->bkgth", weights.astype(v.dtype), v[:, :, :seen], preferred_element_type=jnp.float32
        )
        return None, ((attended / total).astype(v.dtype), highest + jnp.log(total))

    _, (attended, log_total) = _over_blocks(block, None, _heads_first(queries) * queries.shape[-1] ** -0.5)
    return attended.transpose(0, 3, 1, 2, 4), (queries, keys, values, segments, attended, log_total)


def _backward(saved: tuple, gradient: Float[Array, "B T K G H"]):
    queries, keys, values, segments, attended, log_total = saved
    k, v, d_attended = keys.swapaxes(1, 2), values.swapaxes(1, 2), _heads_first(gradient)
    shared = (d_attended.astype(jnp.float32) * attended.astype(jnp.float32)).sum(-1, keepdims=True)

    def block(
        sums: tuple[Array, Array],
        first: Any,
        seen: int,
        q: Array,
        d_attended: Array,
        log_total: Array,
        shared: Array,
    ):
        weights = jnp.exp(_scores(q, k[:, :, :seen], segments, first) - log_total)
        d_weights = jnp.einsum(
            "bkgth,bksh->bkgts", d_attended, v[:, :, :seen], preferred_element_type=jnp.float32
        )
        d_scores = (weights * (d_weights - shared)).astype(q.dtype)
        d_k = jnp.einsum("bkgts,bkgth->bksh", d_scores, q, preferred_element_type=jnp.float32)
        d_v = jnp.einsum(
            "bkgts,bkgth->bksh", weights.astype(v.dtype), d_attended, preferred_element_type=jnp.float32
        )
        d_q = jnp.einsum("bkgts,bksh->bkgth", d_scores, k[:, :, :seen], preferred_element_type=jnp.float32)
        return (sums[0].at[:, :, :seen].add(d_k), sums[1].at[:, :, :seen].add(d_v)), (
            d_q * q.shape[-1] ** -0.5
        ).astype(q.dtype)

    zeros = (jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32))
    q = _heads_first(queries) * queries.shape[-1] ** -0.5
    (d_k, d_v), d_q = _over_blocks(block, zeros, q, d_attended, log_total, shared)
    return (
        d_q.transpose(0, 3, 1, 2, 4),
        d_k.swapaxes(1, 2).astype(keys.dtype),
        d_v.swapaxes(1, 2).astype(values.dtype),
        None,
    )


xla.defvjp(_forward, _backward)


def _heads_first(x: Float[Array, "B T K G H"]) -> Float[Array, "B K G T H"]:
    return x.transpose(0, 2, 3, 1, 4)


def _over_blocks(
    block: Callable[..., tuple[Any, Any]], carry: Any, *by_query: Float[Array, "B K G T _"]
) -> tuple[Any, Any]:
    """`carry, outputs = block(carry, first position, keys that it meets, *its part of by_query)` for each block of queries.

    Up to 2048 positions every block is written out and meets only the keys before its end, which halves the work; longer
    rows are a loop over larger blocks that meet all keys, masked: written out, a CPU would work on many blocks at once and
    hold the scores of all.
    """
    T = by_query[0].shape[3]
    if T <= BLOCK * MOST_BLOCKS or T % LONG_BLOCK:
        size, made = max(BLOCK, -(-T // MOST_BLOCKS)), []
        for first in range(0, T, size):
            stop = min(first + size, T)
            carry, outputs = block(carry, first, stop, *(x[:, :, :, first:stop] for x in by_query))
            made.append(outputs)
        return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts, 3), *made)

    parts = [jnp.moveaxis(x.reshape(*x.shape[:3], -1, LONG_BLOCK, x.shape[-1]), 3, 0) for x in by_query]
    carry, made = jax.lax.scan(
        lambda carry, part: block(carry, part[0], T, *part[1]), carry, (jnp.arange(0, T, LONG_BLOCK), parts)
    )
    return carry, jax.tree.map(lambda x: jnp.moveaxis(x, 0, 3).reshape(*x.shape[1:4], T, x.shape[-1]), made)


def _scores(
    q: Float[Array, "B K G t H"], k: Float[Array, "B K s H"], segments: Int[Array, "B T"] | None, first: Any
) -> Float[Array, "B K G t s"]:
    """What positions first, first + 1, ... make of the first s, in float32; minus infinity where they do not see."""
    scores = jnp.einsum("bkgth,bksh->bkgts", q, k, preferred_element_type=jnp.float32)
    t, s = scores.shape[-2:]
    seen = jnp.arange(s) <= first + jnp.arange(t)[:, None]
    if segments is not None:
        own = jax.lax.dynamic_slice_in_dim(segments, first, t, 1)
        seen = (seen & (own[:, :, None] == segments[:, None, :s]))[:, None, None]
    return jnp.where(seen, scores, -jnp.inf)


def cudnn(
    queries: Float[Array, "B T K G H"],
    keys: Float[Array, "B T K H"],
    values: Float[Array, "B T K H"],
    segments: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T K G H"]:
    """Attention in cuDNN's fused kernel; what the kernel does not take goes to `xla`.

    It takes half precision, heads of a multiple of 8 up to a size that the device decides, and rows of an even length.
    Documents go in as a mask [B, 1, T, T]: 128 MiB a row at 8192 positions, shared by heads and layers.
    """
    B, T, K, G, H = queries.shape
    half = queries.dtype in (jnp.bfloat16, jnp.float16)
    heads_fit = H % 8 == 0 and _largest_fused_head() >= H
    if not half or T % 2 or not heads_fit:
        return xla(queries, keys, values, segments)
    seen = None if segments is None else (segments[:, :, None] == segments[:, None, :])[:, None]
    attended = jax.nn.dot_product_attention(
        queries.reshape(B, T, K * G, H), keys, values, mask=seen, is_causal=True, implementation="cudnn"
    )
    return attended.reshape(queries.shape)


def _largest_fused_head() -> int:
    """The most values of a head that cuDNN's kernel takes here: none before Ampere, 128 there, 256 from Hopper on."""
    capability = getattr(jax.devices()[0], "compute_capability", "8.0")  # no GPU: lowered for any
    if not re.fullmatch(r"\d+\.\d+", capability) or float(capability) < 8:  # AMD's are names
        return 0
    return 256 if float(capability) >= 9 else 128


def splash(
    queries: Float[Array, "B T K G H"],
    keys: Float[Array, "B T K H"],
    values: Float[Array, "B T K H"],
    segments: Int[Array, "B T"] | None = None,
    *,
    mesh: Mesh | None = None,
    interpret: bool = False,
) -> Float[Array, "B T K G H"]:
    """Attention in JAX's splash kernel for TPU, each device on its own rows and heads; T that 128 does not divide goes to `xla`."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    T = queries.shape[1]
    block = next((size for size in (512, 256, 128) if T % size == 0), None)
    if block is None:
        return xla(queries, keys, values, segments)
    sizes = kernel.BlockSizes(
        **{
            f"block_{name}": block
            for name in ("q", "kv", "kv_compute", "q_dkv", "kv_dkv", "kv_dkv_compute", "q_dq", "kv_dq")
        }
    )

    def local(q: Array, k: Array, v: Array, segments: Array | None) -> Array:
        B, T, K, G, H = q.shape
        mask = masks.MultiHeadMask([masks.CausalMask((T, T)) for _ in range(K * G)])
        attend = kernel.make_splash_mha(
            mask, head_shards=1, q_seq_shards=1, block_sizes=sizes, interpret=interpret
        )
        q = (q * H**-0.5).reshape(B, T, K * G, H).swapaxes(1, 2)  # the kernel does not scale
        own = None if segments is None else kernel.SegmentIds(segments, segments)
        attended = jax.vmap(attend)(q, k.swapaxes(1, 2), v.swapaxes(1, 2), own)
        return attended.swapaxes(1, 2).reshape(B, T, K, G, H)

    if mesh is None or mesh.size == 1:
        return local(queries, keys, values, segments)
    rows = ("data", "fsdp")
    heads = P(rows, None, "model")
    # check_vma: the kernel's outputs do not say over which axes they vary
    return jax.shard_map(
        local, mesh=mesh, in_specs=(heads, heads, heads, P(rows)), out_specs=heads, check_vma=False
    )(queries, keys, values, segments)


def for_platform(platform: str, mesh: Mesh | None = None) -> Attention:
    """The attention function for `cpu`, `gpu` (also `cuda`) or `tpu`."""
    return {"tpu": functools.partial(splash, mesh=mesh), "gpu": cudnn, "cuda": cudnn}.get(platform, xla)
