"""Causal attention within documents in plain XLA operations, a block of queries at a time.

Written out because `jax.nn.dot_product_attention` materialises T x T scores on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from codemix.train.model.layers import einsum_float32
from codemix.train.model.shapes import Keys, Queries, Segments, Values

# Queries at once. Measured on a CPU: smaller blocks cost more in calls than they save in scores.
BLOCK = 128
LONG_BLOCK = 512
MOST_BLOCKS = 16


class _Saved(NamedTuple):
    """What the backward pass of `xla` needs: the arguments, the result, and the log of each softmax's sum."""

    queries: Array
    keys: Array
    values: Array
    segments: Array | None
    attended: Array  # heads first
    log_total: Array


HeadsFirst = Float[Array, "B K _ H"]  # some keys or values


class Part(NamedTuple):
    """A block of queries."""

    first: Any  # position of its first
    seen: int  # number of keys that it meets
    by_query: Sequence[Array]  # its part of each array that is cut by queries

    def met(self, x: HeadsFirst) -> HeadsFirst:
        """The keys or values that it meets."""
        return x[:, :, : self.seen]


class KeyGradients(NamedTuple):
    """Of keys and values, from the blocks so far."""

    keys: HeadsFirst
    values: HeadsFirst


def _plus_first(sums: HeadsFirst, part: HeadsFirst) -> HeadsFirst:
    """`sums` with `part` added to those of the first keys."""
    first = sums.at[:, :, : part.shape[2]]
    return first.add(part)


Turn = tuple[Any, Any]  # carry, outputs
Block = Callable[[Any, Part], Turn]


@jax.custom_vjp
def xla(
    queries: Queries,
    keys: Keys,
    values: Values,
    segments: Segments | None = None,
) -> Queries:
    """Attention a block of queries at a time, so that T x T scores never exist.

    The backward pass computes the scores of each block again, and needs no more than the log of each
    softmax's sum.
    """
    return _forward(queries, keys, values, segments)[0]


def _forward(queries: Array, keys: Array, values: Array, segments: Array | None) -> tuple[Array, _Saved]:
    k = keys.swapaxes(1, 2)
    v = values.swapaxes(1, 2)

    def block(_: None, part: Part) -> Turn:
        [q] = part.by_query
        scores = _scores(q, part.met(k), segments, part.first)
        highest = scores.max(-1, keepdims=True)
        weights = jnp.exp(scores - highest)
        total = weights.sum(-1, keepdims=True)
        rounded = weights.astype(v.dtype)
        summed = einsum_float32("bkgts,bksh->bkgth", rounded, part.met(v))
        attended = (summed / total).astype(v.dtype)
        log_total = highest + jnp.log(total)
        return None, (attended, log_total)

    q = _heads_first(queries) * score_scale(queries)
    _, outputs = _over_blocks(block, None, [q])
    attended, log_total = outputs
    saved = _Saved(queries, keys, values, segments, attended, log_total)
    return _heads_last(attended), saved


def _backward(saved: _Saved, gradient: Queries) -> tuple[Array, Array, Array, None]:
    k = saved.keys.swapaxes(1, 2)
    v = saved.values.swapaxes(1, 2)
    scale = score_scale(saved.queries)
    d_attended = _heads_first(gradient)
    product = d_attended.astype(jnp.float32) * saved.attended.astype(jnp.float32)
    row_sum = product.sum(-1, keepdims=True)

    def block(sums: KeyGradients, part: Part) -> Turn:
        q, d_attended, log_total, row_sum = part.by_query
        keys = part.met(k)
        scores = _scores(q, keys, saved.segments, part.first)
        weights = jnp.exp(scores - log_total)
        d_weights = einsum_float32("bkgth,bksh->bkgts", d_attended, part.met(v))
        d_softmax = weights * (d_weights - row_sum)
        d_scores = d_softmax.astype(q.dtype)
        d_k = einsum_float32("bkgts,bkgth->bksh", d_scores, q)
        rounded = weights.astype(v.dtype)
        d_v = einsum_float32("bkgts,bkgth->bksh", rounded, d_attended)
        d_q = einsum_float32("bkgts,bksh->bkgth", d_scores, keys) * scale
        sums = jax.tree.map(_plus_first, sums, KeyGradients(d_k, d_v))
        return sums, d_q.astype(q.dtype)

    nothing_yet = KeyGradients(jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32))
    q = _heads_first(saved.queries) * scale
    by_query = [q, d_attended, saved.log_total, row_sum]
    sums, d_q = _over_blocks(block, nothing_yet, by_query)
    d_keys = sums.keys.swapaxes(1, 2)
    d_values = sums.values.swapaxes(1, 2)
    return (
        _heads_last(d_q),
        d_keys.astype(saved.keys.dtype),
        d_values.astype(saved.values.dtype),
        None,
    )


xla.defvjp(_forward, _backward)


def _heads_first(x: Queries) -> Float[Array, "B K G T H"]:
    return x.transpose(0, 2, 3, 1, 4)


def _heads_last(x: Float[Array, "B K G T H"]) -> Queries:
    return x.transpose(0, 3, 1, 2, 4)


def _over_blocks(block: Block, carry: Any, by_query: Sequence[Array]) -> Turn:
    """`block` over all blocks of queries in turn; the last carry and the outputs put together.

    Up to 2048 positions every block is written out and meets only the keys before its end, which halves the
    work; longer rows are a loop over larger blocks that meet all keys, masked: written out, a CPU would work
    on many blocks at once and hold the scores of all.
    """
    T = by_query[0].shape[3]
    is_short = T <= BLOCK * MOST_BLOCKS
    if is_short or T % LONG_BLOCK:
        return _blocks_written_out(block, carry, by_query, T)
    return _blocks_in_a_loop(block, carry, by_query, T)


def _blocks_written_out(block: Block, carry: Any, by_query: Sequence[Array], T: int) -> Turn:
    size = max(BLOCK, math.ceil(T / MOST_BLOCKS))
    outputs = []
    for first in range(0, T, size):
        stop = min(first + size, T)
        queries = [x[:, :, :, first:stop] for x in by_query]
        part = Part(first, stop, queries)
        carry, output = block(carry, part)
        outputs.append(output)

    def joined(*parts: Array) -> Array:
        return jnp.concatenate(parts, 3)

    return carry, jax.tree.map(joined, *outputs)


def _blocks_in_a_loop(block: Block, carry: Any, by_query: Sequence[Array], T: int) -> Turn:
    def cut(x: Array) -> Array:
        B, K, G, _, H = x.shape
        blocks = x.reshape(B, K, G, -1, LONG_BLOCK, H)
        return jnp.moveaxis(blocks, 3, 0)

    def joined(blocks: Array) -> Array:
        _, B, K, G, _, H = blocks.shape
        x = jnp.moveaxis(blocks, 0, 3)
        return x.reshape(B, K, G, T, H)

    def turn(carry: Any, cut: tuple[Any, list[Array]]) -> Turn:
        first, queries = cut
        part = Part(first, T, queries)
        return block(carry, part)

    firsts = jnp.arange(0, T, LONG_BLOCK)
    queries = [cut(x) for x in by_query]
    parts = (firsts, queries)
    carry, outputs = jax.lax.scan(turn, carry, parts)
    outputs = jax.tree.map(joined, outputs)
    return carry, outputs


def _scores(
    q: Float[Array, "B K G t H"], k: Float[Array, "B K s H"], segments: Segments | None, first: Any
) -> Float[Array, "B K G t s"]:
    """Scores of positions first, first + 1, ...
    with the first s, in float32; minus infinity where they do not see.
    """
    scores = einsum_float32("bkgth,bksh->bkgts", q, k)
    seen = visible(scores, segments, first)
    return jnp.where(seen, scores, -jnp.inf)


def visible(
    scores: Float[Array, "B K G t s"], segments: Segments | None, first: Any
) -> Bool[Array, "t s"] | Bool[Array, "B 1 1 t s"]:
    """Which of the first s positions each of t positions from `first` on sees."""
    t, s = scores.shape[-2:]
    positions = first + jnp.arange(t)[:, None]
    earlier = jnp.arange(s) <= positions
    if segments is None:
        return earlier
    own = jax.lax.dynamic_slice_in_dim(segments, first, t, 1)
    others = segments[:, None, :s]
    same_document = own[:, :, None] == others
    return (earlier & same_document)[:, None, None]


def score_scale(queries: Array) -> float:
    """What scores are multiplied by: 1 / sqrt(H)."""
    return queries.shape[-1] ** -0.5
