"""Keys and values of the positions that a model has read, so that a new one reads only itself.

S columns of the cache. Prompts are padded on the left, so every row writes the same column and one slice
update per layer is enough.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from codemix.train.model.compute import Compute
from codemix.train.model.decoder import Blocks, Decoder, block, normed, rope_angles
from codemix.train.model.layers import lookup
from codemix.train.model.shapes import Ids, Index, Queries, States


class Cache(NamedTuple):
    """Of all layers."""

    keys: Float[Array, "L B S K H"]
    values: Float[Array, "L B S K H"]


Stacked = TypeVar("Stacked", Cache, Blocks)


def empty_cache(model: Decoder, rows: int, columns: int, compute: Compute) -> Cache:
    """A cache in which nothing is written yet."""
    L, _, K, H = model.blocks.key.shape
    zeros = jnp.zeros((L, rows, columns, K, H), compute.dtype)
    return Cache(zeros, zeros)


def cached_hidden(
    model: Decoder,
    tokens: Ids,
    cache: Cache,
    first: Index | int,
    pad: Int[Array, " B"],
    compute: Compute,
) -> tuple[States, Cache]:
    """Final hidden states of tokens in columns `first` and on, and the cache with them in it.

    `pad`: columns of padding at the left of each row.
    """
    columns = first + jnp.arange(tokens.shape[1])
    positions = jnp.maximum(columns - pad[:, None], 0)
    angles = rope_angles(positions, cache.keys.shape[-1], model.rope_theta)
    visible = _visible(columns, pad, cache.keys.shape[2])
    blocks = jax.tree.map(lambda w: w.astype(compute.dtype), model.blocks)  # once, not once per token

    def layer(index: Index, carry: tuple[Array, Cache]) -> tuple[Array, Cache]:
        x, cache = carry

        def attend(queries: Array, keys: Array, values: Array) -> tuple[Array, Cache]:
            place = (index, 0, first, 0, 0)
            written = Cache(
                jax.lax.dynamic_update_slice(cache.keys, keys[None], place),
                jax.lax.dynamic_update_slice(cache.values, values[None], place),
            )
            return _attention(queries, _of_layer(written, index), visible), written

        x, written = block(model, _of_layer(blocks, index), x, angles, attend)
        return x, written

    x = lookup(compute.dtype, compute.sharded, model.embedding, tokens)
    x, cache = jax.lax.fori_loop(0, len(blocks.norm), layer, (x, cache))
    return normed(x, model.norm, model.norm_kind, model.norm_eps), cache


def _of_layer(stacked: Stacked, index: Index) -> Stacked:
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False), stacked)


def _visible(columns: Int[Array, " T"], pad: Int[Array, " B"], width: int) -> Bool[Array, "B 1 1 T S"]:
    """Which columns of the cache each token sees: earlier ones that are not padding, and itself.

    Padding sees itself: a row that sees nothing would be NaN.
    """
    places = jnp.arange(width)
    own = columns[:, None]
    visible = (places <= own) & (places >= pad[:, None, None])
    return (visible | (places == own))[:, None, None]


def _attention(queries: Queries, cache: Cache, visible: Bool[Array, "B 1 1 T S"]) -> Queries:
    scaled = queries * queries.shape[-1] ** -0.5
    scores = jnp.einsum("btkgh,bskh->bkgts", scaled, cache.keys, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf), -1).astype(queries.dtype)
    return jnp.einsum("bkgts,bskh->btkgh", weights, cache.values)
