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


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def head_loss(
    head: Head,
    states: States,
    embedding: Table,
    targets: Ids,
    weights: Weights,
) -> tuple[Scalar, Float[Array, " B"], Float[Array, " B"]]:
    """Weighted nats plus `z_loss` times log(Z)^2 over the batch; and of each row both sums apart, through
    which no gradient flows.
    """
    sums = _sums_over_devices(head, states, embedding, targets, weights)
    return _total(head, sums), sums.nats, sums.z


class RowSums(NamedTuple):
    """Of each row: nats and log(Z)^2, by the weights of its positions."""

    nats: Float[Array, " B"]
    z: Float[Array, " B"]


class HeadGradients(NamedTuple):
    """Of the total, by the states and by the embedding."""

    states: States
    embedding: Table


def _total(head: Head, sums: RowSums) -> Scalar:
    return sums.nats.sum() + head.z_loss * sums.z.sum()


def _forward(
    head: Head, states: Array, embedding: Array, targets: Array, weights: Array
) -> tuple[tuple[Array, Array, Array], HeadGradients]:
    sums, gradients = _gradients_over_devices(head, states, embedding, targets, weights)
    return (_total(head, sums), sums.nats, sums.z), gradients


def _backward(
    head: Head, saved: HeadGradients, given: tuple[Array, Array, Array]
) -> tuple[Array, Array, None, None]:
    of_total = given[0]
    d_states = (saved.states * of_total).astype(saved.states.dtype)
    return d_states, saved.embedding * of_total, None, None


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

    def local(states: Array, embedding: Array, targets: Array, weights: Array) -> RowSums:
        table = _gathered(embedding, states.dtype)
        return _local_sums(head, "model", states, table, targets, weights)

    inputs = (BATCH, TABLE, BATCH, BATCH)
    # check_vma: sums over `model` are made by hand below, and every device along it holds the same rows
    sharded = jax.shard_map(local, mesh=mesh, in_specs=inputs, out_specs=BATCH, check_vma=False)
    return sharded(states, embedding, targets, weights)


def _gradients_over_devices(
    head: Head, states: Array, embedding: Array, targets: Array, weights: Array
) -> tuple[RowSums, HeadGradients]:
    """`_local_gradients`, likewise. The embedding's gradient is summed over devices in float32,
    once per step.
    """
    mesh = head.compute.sharded
    if mesh is None:
        return _local_gradients(head, None, states, embedding, targets, weights)

    def local(
        states: Array, embedding: Array, targets: Array, weights: Array
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        table = _gathered(embedding, states.dtype)
        sums, gradients = _local_gradients(head, "model", states, table, targets, weights)
        own = jax.lax.psum_scatter(gradients.embedding, "fsdp", scatter_dimension=1, tiled=True)
        return tuple(sums), (gradients.states, jax.lax.psum(own, "data"))

    inputs = (BATCH, TABLE, BATCH, BATCH)
    outputs = ((BATCH, BATCH), (BATCH, TABLE))
    # check_vma: as above
    sharded = jax.shard_map(local, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)
    sums, gradients = sharded(states, embedding, targets, weights)
    return RowSums(*sums), HeadGradients(*gradients)


def _gathered(embedding: Array, dtype: jnp.dtype) -> Array:
    """This device's rows of the embedding with all of their columns, in the compute dtype."""
    return jax.lax.all_gather(embedding.astype(dtype), "fsdp", axis=1, tiled=True)


@dataclass(frozen=True)
class TablePart:
    """The rows of the embedding that one device holds, and how to sum with those that hold the others."""

    table: Table  # in the compute dtype
    ids: Int[Array, " V"]
    axis: str | None  # over which the rows are cut

    def sum(self, x: Array) -> Array:
        return x if self.axis is None else jax.lax.psum(x, self.axis)

    def max(self, x: Array) -> Array:
        return x if self.axis is None else jax.lax.pmax(x, self.axis)


def _table_part(table: Table, dtype: jnp.dtype, axis: str | None) -> TablePart:
    V = len(table)
    first = 0 if axis is None else jax.lax.axis_index(axis) * V
    return TablePart(table.astype(dtype), first + jnp.arange(V), axis)


class ChunkLoss(NamedTuple):
    """The loss of C positions, and what their gradient is made of."""

    nats: Float[Array, " C"]
    square: Float[Array, " C"]
    log_z: Float[Array, " C"]
    powers: Float[Array, "C V"]  # softmax, not yet divided by z
    z: Float[Array, " C"]
    is_target: Bool[Array, "C V"]


def _chunk_loss(
    head: Head,
    part: TablePart,
    states: Float[Array, "C D"],
    targets: Int[Array, " C"],
    weights: Float[Array, " C"],
) -> ChunkLoss:
    products = jnp.einsum("cd,vd->cv", states, part.table, preferred_element_type=jnp.float32)
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


def _d_scores(head: Head, loss: ChunkLoss, weights: Float[Array, " C"]) -> Float[Array, "C V"]:
    """d nats = softmax - onehot; d log(Z)^2 = 2 log(Z) softmax."""
    pull = 1 + 2 * head.z_loss * loss.log_z if head.z_loss else jnp.ones_like(loss.log_z)
    of_softmax = pull * weights * head.logit_scale / loss.z
    of_target = weights * head.logit_scale
    return loss.powers * of_softmax[:, None] - loss.is_target * of_target[:, None]


def _local_sums(
    head: Head, axis: str | None, states: Array, table: Array, targets: Array, weights: Array
) -> RowSums:
    """The sums on one device; `axis` is the one over which the table's rows are cut."""
    part = _table_part(table, states.dtype, axis)
    chunks = _chunks_of(head, states, table)

    def body(_: None, given: tuple[Array, Array, Array]) -> tuple[None, RowSums]:
        loss = _chunk_loss(head, part, *given)
        return None, RowSums(loss.nats, loss.square)

    given = (chunks.cut(states), chunks.cut(targets), chunks.cut(weights))
    _, sums = jax.lax.scan(body, None, given)
    return RowSums(*(chunks.joined(x).sum(-1) for x in sums))


def _local_gradients(
    head: Head, axis: str | None, states: Array, table: Array, targets: Array, weights: Array
) -> tuple[RowSums, HeadGradients]:
    """The same with their gradients, in one pass."""
    part = _table_part(table, states.dtype, axis)
    chunks = _chunks_of(head, states, table)

    def body(
        d_table: Array, given: tuple[Array, Array, Array]
    ) -> tuple[Array, tuple[RowSums, Float[Array, "C D"]]]:
        h, _, weight = given
        loss = _chunk_loss(head, part, *given)
        d_scores = _d_scores(head, loss, weight).astype(h.dtype)
        d_h = part.sum(jnp.einsum("cv,vd->cd", d_scores, part.table, preferred_element_type=jnp.float32))
        d_table = d_table + jnp.einsum("cv,cd->vd", d_scores, h, preferred_element_type=jnp.float32)
        return d_table, (RowSums(loss.nats, loss.square), d_h.astype(h.dtype))

    zeros = jnp.zeros(table.shape, jnp.float32)
    given = (chunks.cut(states), chunks.cut(targets), chunks.cut(weights))
    d_table, (sums, d_states) = jax.lax.scan(body, zeros, given)
    rows = RowSums(*(chunks.joined(x).sum(-1) for x in sums))
    return rows, HeadGradients(chunks.joined(d_states), d_table)


@dataclass(frozen=True)
class Chunks:
    """Rows of T positions as T / C chunks, each with C positions of every row."""

    B: int
    T: int
    C: int

    def cut(self, x: Array) -> Array:
        """[B, T, ...] -> [T / C, B * C, ...]"""
        rest = x.shape[2:]
        by_chunk = x.reshape(self.B, self.T // self.C, self.C, *rest).swapaxes(0, 1)
        return by_chunk.reshape(self.T // self.C, self.B * self.C, *rest)

    def joined(self, x: Array) -> Array:
        """[T / C, B * C, ...] -> [B, T, ...]"""
        rest = x.shape[2:]
        by_row = x.reshape(self.T // self.C, self.B, self.C, *rest).swapaxes(0, 1)
        return by_row.reshape(self.B, self.T, *rest)


def _chunks_of(head: Head, states: Array, table: Array) -> Chunks:
    """As many positions per chunk as were asked for or as the platform holds,
    rounded down to a divisor of T.
    """
    B, T, _ = states.shape
    at_once = LOGITS_AT_ONCE.get(head.compute.platform, OTHER_LOGITS_AT_ONCE)
    wanted = head.compute.chunk or at_once // (B * len(table))
    divisors = [n for n in range(1, T + 1) if T % n == 0]
    return Chunks(B, T, max(n for n in divisors if n <= max(1, wanted)))
