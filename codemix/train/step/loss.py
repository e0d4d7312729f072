"""Next-token loss, a chunk of positions at a time, so that all logits never exist at once.

The head is linear and its loss a plain sum, so the forward pass can make the gradient of a chunk while it
holds the chunk's logits: three matmuls per chunk instead of four, and the embedding's gradient adds up in
float32 whatever the compute dtype is.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from codemix.train.model.compute import Compute
from codemix.train.model.decoder import PLAIN, Decoder, hidden
from codemix.train.model.layers import einsum_float32
from codemix.train.model.mesh import BATCH, TABLE
from codemix.train.model.shapes import Ids, Scalar, States, Table, Weights

LOGITS_AT_ONCE = {"cpu": 2**25}  # elements per device
OTHER_LOGITS_AT_ONCE = 2**28  # a gigabyte in float32


@dataclass(frozen=True)
class Head:
    """What the loss of the final states needs to know, besides arrays."""

    vocab_size: int
    logit_scale: float = 1.0
    z_loss: float = 0.0
    compute: Compute = PLAIN


def next_token_loss(
    model: Decoder,
    batch: dict[str, Array],
    n_sources: int,
    compute: Compute = PLAIN,
    z_loss: float = 0.0,
) -> tuple[Scalar, dict[str, Array]]:
    """Sums over the batch, to be divided once by the global number of tokens.

    The first is what is minimised: nats of every target by its weight, and `z_loss` times the sum of log(Z)^2
    by the same weight. The rest is `nats`, `tokens` and `rows` by source [n_sources] and `z`, the sum of
    log(Z)^2. With dropout, the batch's random keys `rngs` [B] choose what is dropped.
    """
    states = hidden(
        model,
        batch["inputs"],
        batch.get("positions"),
        batch.get("segments"),
        compute=compute,
        rngs=batch.get("rngs"),
    )
    head = Head(model.vocab_size, model.logit_scale, z_loss, compute)
    total, nats, z = head_loss(head, states, model.head, batch["targets"], batch["weights"])

    def by_source(rows: Array) -> Array:
        return jax.ops.segment_sum(rows, batch["source"], n_sources)

    return total, {
        "nats": by_source(nats),
        "tokens": by_source(batch["weights"].sum(-1)),
        "rows": by_source(jnp.ones(nats.shape, jnp.int32)),
        "z": z.sum(),
    }


def plain_head_loss(
    head: Head,
    states: States,
    embedding: Table,
    targets: Ids,
    weights: Weights,
) -> Scalar:
    """The definition of the first of `head_loss`, all logits at once:
    what the tests compare it and its gradient to.
    """
    products = jnp.einsum("btd,vd->btv", states, embedding.astype(states.dtype))
    is_padding = jnp.arange(len(embedding)) >= head.vocab_size
    scores = jnp.where(is_padding, -jnp.inf, head.logit_scale * products.astype(jnp.float32))
    log_z = jax.nn.logsumexp(scores, -1)
    of_target = jnp.take_along_axis(scores, targets[..., None], -1)[..., 0]
    return ((log_z - of_target + head.z_loss * jnp.square(log_z)) * weights).sum()


# the total, and of each row nats and log(Z)^2
Loss = tuple[Scalar, Float[Array, " B"], Float[Array, " B"]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def head_loss(
    head: Head,
    states: States,
    embedding: Table,
    targets: Ids,
    weights: Weights,
) -> Loss:
    """Weighted nats plus `z_loss` times log(Z)^2 over the batch; and of each row both sums apart, through
    which no gradient flows.
    """
    sums = _sums_over_devices(head, states, embedding, targets, weights)
    return _loss(head, sums)


class RowSums(NamedTuple):
    """Of each row: nats and log(Z)^2, by the weights of its positions."""

    nats: Float[Array, " B"]
    z: Float[Array, " B"]


class HeadGradients(NamedTuple):
    """Of the total, by the states and by the embedding."""

    states: States
    embedding: Table


SumsAndGradients = tuple[RowSums, HeadGradients]


def _loss(head: Head, sums: RowSums) -> Loss:
    weighted = head.z_loss * sums.z.sum()
    total = sums.nats.sum() + weighted
    return total, sums.nats, sums.z


def _forward(
    head: Head, states: Array, embedding: Array, targets: Array, weights: Array
) -> tuple[Loss, HeadGradients]:
    sums, gradients = _gradients_over_devices(head, states, embedding, targets, weights)
    return _loss(head, sums), gradients


def _backward(head: Head, saved: HeadGradients, given: Loss) -> tuple[States, Table, None, None]:
    of_total, *_ = given
    d_states, d_embedding = saved
    by_states = d_states * of_total
    by_embedding = d_embedding * of_total
    return by_states.astype(d_states.dtype), by_embedding, None, None


head_loss.defvjp(_forward, _backward)


def _sums_over_devices(
    head: Head, states: Array, embedding: Array, targets: Array, weights: Array
) -> RowSums:
    """`_local_sums` on one device or on each device of the mesh: rows cut over data and fsdp, the vocabulary
    over model.
    """
    mesh = head.compute.sharded
    if mesh is None:
        return _local_sums(head, None, states, embedding, targets, weights)

    def local(states: Array, embedding: Array, *targets_and_weights: Array) -> RowSums:
        table = _gathered(embedding, states.dtype)
        return _local_sums(head, "model", states, table, *targets_and_weights)

    inputs = (BATCH, TABLE, BATCH, BATCH)
    # check_vma: sums over `model` are made by hand below, and every device along it holds the same rows
    sharded = jax.shard_map(local, mesh=mesh, in_specs=inputs, out_specs=BATCH, check_vma=False)
    return sharded(states, embedding, targets, weights)


def _gradients_over_devices(
    head: Head, states: Array, embedding: Array, targets: Array, weights: Array
) -> SumsAndGradients:
    """`_local_gradients`, likewise. The embedding's gradient is summed over devices in float32,
    once per step.
    """
    mesh = head.compute.sharded
    if mesh is None:
        return _local_gradients(head, None, states, embedding, targets, weights)

    def local(states: Array, embedding: Array, *targets_and_weights: Array) -> tuple[RowSums, States, Table]:
        table = _gathered(embedding, states.dtype)
        sums, gradients = _local_gradients(head, "model", states, table, *targets_and_weights)
        d_states, d_table = gradients
        own = _own_sum(d_table)
        return sums, d_states, own

    inputs = (BATCH, TABLE, BATCH, BATCH)
    outputs = (BATCH, BATCH, TABLE)
    # check_vma: as above
    sharded = jax.shard_map(local, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)
    sums, *gradients = sharded(states, embedding, targets, weights)
    return sums, HeadGradients(*gradients)


def _gathered(embedding: Array, dtype: jnp.dtype) -> Array:
    """This device's rows of the embedding with all of their columns, in the compute dtype."""
    rounded = embedding.astype(dtype)
    return jax.lax.all_gather(rounded, "fsdp", axis=1, tiled=True)


def _own_sum(d_table: Array) -> Array:
    """The gradient of this device's part of the embedding, of all rows of the batch."""
    columns = jax.lax.psum_scatter(d_table, "fsdp", scatter_dimension=1, tiled=True)
    return jax.lax.psum(columns, "data")


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


def _local_sums(
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


def _local_gradients(
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
