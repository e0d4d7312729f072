"""The loss of the final states on one device, a chunk of positions at a time, so that all logits never exist
at once.

The head is linear and its loss a plain sum, so the forward pass can make the gradient of a chunk while it
holds the chunk's logits: three matmuls per chunk instead of four, and the embedding's gradient adds up in
float32 whatever the compute dtype is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from codemix.train.model.compute import Compute
from codemix.train.model.decoder import PLAIN
from codemix.train.model.layers import einsum_float32
from codemix.train.model.shapes import Ids, States, Table, Weights

LOGITS_AT_ONCE = {"cpu": 2**25}  # elements per device
OTHER_LOGITS_AT_ONCE = 2**28  # a gigabyte in float32


@dataclass(frozen=True)
class Head:
    """What the loss of the final states needs to know, besides arrays."""

    vocab_size: int
    logit_scale: float = 1.0
    z_loss: float = 0.0
    compute: Compute = PLAIN


class RowSums(NamedTuple):
    """Of each row: nats and log(Z)^2, by the weights of its positions."""

    nats: Float[Array, " B"]
    z: Float[Array, " B"]


class HeadGradients(NamedTuple):
    """Of the total, by the states and by the embedding."""

    states: States
    embedding: Table


SumsAndGradients = tuple[RowSums, HeadGradients]


@dataclass(frozen=True)
class TablePart:
    """The rows of the embedding that one device holds, and how to sum with those that hold the others."""

    table: Table  # in the compute dtype
    ids: Int[Array, " V"]
    axis: str | None  # over which the rows are cut

    def sum(self, x: Array) -> Array:
        if self.axis is None:
            return x
        return jax.lax.psum(x, self.axis)

    def max(self, x: Array) -> Array:
        if self.axis is None:
            return x
        return jax.lax.pmax(x, self.axis)


def _table_part(table: Table, dtype: jnp.dtype, axis: str | None) -> TablePart:
    V = len(table)
    ids = jnp.arange(V)
    if axis is not None:
        ids = jax.lax.axis_index(axis) * V + ids
    return TablePart(table.astype(dtype), ids, axis)


PerPosition = Float[Array, " C"]
ChunkScores = Float[Array, "C V"]


class Chunk(NamedTuple):
    """C positions; before they are cut, all."""

    states: Float[Array, "C D"] | States
    targets: Int[Array, " C"] | Ids
    weights: PerPosition | Weights


class ChunkLoss(NamedTuple):
    """The loss of C positions, and what their gradient is made of."""

    nats: PerPosition
    square: PerPosition
    log_z: PerPosition
    powers: ChunkScores  # softmax, not yet divided by z
    z: PerPosition
    is_target: Bool[Array, "C V"]


def _chunk_loss(head: Head, part: TablePart, chunk: Chunk) -> ChunkLoss:
    states, targets, weights = chunk
    products = einsum_float32("cd,vd->cv", states, part.table)
    scores = jnp.where(part.ids < head.vocab_size, head.logit_scale * products, -jnp.inf)
    highest = part.max(scores.max(-1, keepdims=True))
    powers = jnp.exp(scores - highest)
    z = part.sum(powers.sum(-1, keepdims=True))
    log_z = (jnp.log(z) + highest)[:, 0]
    is_target = part.ids == targets[:, None]
    of_target = part.sum(jnp.where(is_target, scores, 0).sum(-1))
    return ChunkLoss(
        nats=(log_z - of_target) * weights,
        square=jnp.square(log_z) * weights,
        log_z=log_z,
        powers=powers,
        z=z[:, 0],
        is_target=is_target,
    )


def _d_scores(head: Head, loss: ChunkLoss, weights: PerPosition) -> ChunkScores:
    """d nats = softmax - onehot; d log(Z)^2 = 2 log(Z) softmax."""
    pull = jnp.ones_like(loss.log_z)
    if head.z_loss:
        pull = 1 + 2 * head.z_loss * loss.log_z
    of_target = weights * head.logit_scale
    of_softmax = pull * weights * head.logit_scale / loss.z
    softmax = loss.powers * of_softmax[:, None]
    onehot = loss.is_target * of_target[:, None]
    return softmax - onehot


def local_sums(
    head: Head, axis: str | None, states: Array, table: Array, targets: Array, weights: Array
) -> RowSums:
    """The sums on one device; `axis` is the one over which the table's rows are cut."""
    part = _table_part(table, states.dtype, axis)
    chunks = _chunks_of(head, states, table)

    def body(_: None, chunk: Chunk) -> tuple[None, RowSums]:
        loss = _chunk_loss(head, part, chunk)
        sums = RowSums(loss.nats, loss.square)
        return None, sums

    given = Chunk(states, targets, weights)
    cut = jax.tree.map(chunks.cut, given)
    _, by_position = jax.lax.scan(body, None, cut)
    return jax.tree.map(chunks.row_sums, by_position)


def local_gradients(
    head: Head, axis: str | None, states: Array, table: Array, targets: Array, weights: Array
) -> SumsAndGradients:
    """The same with their gradients, in one pass."""
    part = _table_part(table, states.dtype, axis)
    chunks = _chunks_of(head, states, table)

    def body(d_table: Table, chunk: Chunk) -> tuple[Table, tuple[RowSums, Array]]:
        h = chunk.states
        loss = _chunk_loss(head, part, chunk)
        sums = RowSums(loss.nats, loss.square)
        exact = _d_scores(head, loss, chunk.weights)
        d_scores = exact.astype(h.dtype)
        products = einsum_float32("cv,vd->cd", d_scores, part.table)
        d_h = part.sum(products).astype(h.dtype)
        of_chunk = einsum_float32("cv,cd->vd", d_scores, h)
        d_table = d_table + of_chunk
        return d_table, (sums, d_h)

    zeros = jnp.zeros(table.shape, jnp.float32)
    given = Chunk(states, targets, weights)
    cut = jax.tree.map(chunks.cut, given)
    d_table, outputs = jax.lax.scan(body, zeros, cut)
    by_position, d_states = outputs
    sums = jax.tree.map(chunks.row_sums, by_position)
    gradients = HeadGradients(chunks.joined(d_states), d_table)
    return sums, gradients


@dataclass(frozen=True)
class Chunks:
    """B rows as `n` chunks, each with C positions of every row."""

    B: int
    n: int

    def cut(self, x: Array) -> Array:
        """[B, T, ...] -> [n, B * C, ...]"""
        return _regrouped(x, self.B, self.n)

    def joined(self, x: Array) -> Array:
        """[n, B * C, ...] -> [B, T, ...]"""
        return _regrouped(x, self.n, self.B)

    def row_sums(self, x: Array) -> Array:
        """[n, B * C] -> [B]: over the positions of each row."""
        rows = self.joined(x)
        return rows.sum(-1)


def _regrouped(x: Array, outer: int, inner: int) -> Array:
    """[outer, inner * C, ...] -> [inner, outer * C, ...]"""
    rest = x.shape[2:]
    apart = x.reshape(outer, inner, -1, *rest)
    swapped = apart.swapaxes(0, 1)
    return swapped.reshape(inner, -1, *rest)


def _chunks_of(head: Head, states: Array, table: Array) -> Chunks:
    """As many positions per chunk as were asked for or as the platform holds,
    rounded down to a divisor of T.
    """
    B, T, _ = states.shape
    at_once = LOGITS_AT_ONCE.get(head.compute.platform, OTHER_LOGITS_AT_ONCE)
    wanted = head.compute.chunk or at_once // (B * len(table))
    C = min(T, max(1, wanted))
    while T % C:
        C -= 1
    return Chunks(B, T // C)
