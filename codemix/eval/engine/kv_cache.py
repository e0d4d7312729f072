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
from codemix.train.model.decoder import Blocks, Decoder, block, normed
from codemix.train.model.layers import einsum_float32, lookup
from codemix.train.model.rope import rope_angles
from codemix.train.model.shapes import Ids, Index, Keys, Queries, States, Values


class Cache(NamedTuple):
    """Of all layers."""

    keys: Float[Array, "L B S K H"]
    values: Float[Array, "L B S K H"]


Visible = Bool[Array, "B 1 1 T S"]
Stacked = TypeVar("Stacked", Cache, Blocks)


def empty_cache(model: Decoder, rows: int, columns: int, compute: Compute) -> Cache:
    """A cache in which nothing is written yet."""
    weights = model.blocks.key
    L, _, K, H = weights.shape
    shape = (L, rows, columns, K, H)
    zeros = jnp.zeros(shape, compute.dtype)
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
    *_, width, _, H = cache.keys.shape
    columns = first + jnp.arange(tokens.shape[1])
    positions = jnp.maximum(columns - pad[:, None], 0)
    angles = rope_angles(positions, H, model.rope_theta)
    visible = _visible(columns, pad, width)
    blocks = jax.tree.map(lambda w: w.astype(compute.dtype), model.blocks)  # once, not once per token

    def layer(index: Index, carry: tuple[States, Cache]) -> tuple[States, Cache]:
        x, cache = carry
        place = (index, 0, first, 0, 0)

        def attend(queries: Queries, keys: Keys, values: Values) -> tuple[Queries, Cache]:
            written = Cache(
                jax.lax.dynamic_update_slice(cache.keys, keys[None], place),
                jax.lax.dynamic_update_slice(cache.values, values[None], place),
            )
            of_layer = _of_layer(written, index)
            attended = _attention(queries, of_layer, visible)
            return attended, written

        own = _of_layer(blocks, index)
        return block(model, own, x, angles, attend)

    x = lookup(compute.dtype, compute.sharded, model.embedding, tokens)
    x, cache = jax.lax.fori_loop(0, len(blocks.norm), layer, (x, cache))
    return normed(x, model.norm, model.norm_kind, model.norm_eps), cache


def _of_layer(stacked: Stacked, index: Index) -> Stacked:
    def slice_of(x: Array) -> Array:
        return jax.lax.dynamic_index_in_dim(x, index, keepdims=False)

    return jax.tree.map(slice_of, stacked)


def _visible(columns: Int[Array, " T"], pad: Int[Array, " B"], width: int) -> Visible:
    """Which columns of the cache each token sees: earlier ones that are not padding, and itself.

    Padding sees itself: a row that sees nothing would be NaN.
    """
    places = jnp.arange(width)
    own = columns[:, None]
    starts = pad[:, None, None]
    not_padding = places >= starts
    earlier = (places <= own) & not_padding
    visible = earlier | (places == own)
    return visible[:, None, None]


def _attention(queries: Queries, cache: Cache, visible: Visible) -> Queries:
    scale = queries.shape[-1] ** -0.5
    scaled = queries * scale
    products = einsum_float32("btkgh,bskh->bkgts", scaled, cache.keys)
    scores = jnp.where(visible, products, -jnp.inf)
    exact = jax.nn.softmax(scores, -1)
    weights = exact.astype(queries.dtype)
    return jnp.einsum("bkgts,bskh->btkgh", weights, cache.values)
