"""Next-token loss: hidden states, and the loss of the head on one device or many (`chunked_loss`)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from codemix.train.model.compute import Compute
from codemix.train.model.decoder import PLAIN, Decoder, hidden
from codemix.train.model.mesh import BATCH, TABLE
from codemix.train.model.shapes import Ids, Scalar, States, Table, Weights
from codemix.train.step.chunked_loss import (
    Head,
    HeadGradients,
    RowSums,
    SumsAndGradients,
    local_gradients,
    local_sums,
)


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
    """`local_sums` on one device or on each device of the mesh: rows cut over data and fsdp, the vocabulary
    over model.
    """
    mesh = head.compute.sharded
    if mesh is None:
        return local_sums(head, None, states, embedding, targets, weights)

    def local(states: Array, embedding: Array, *targets_and_weights: Array) -> RowSums:
        table = _gathered(embedding, states.dtype)
        return local_sums(head, "model", states, table, *targets_and_weights)

    inputs = (BATCH, TABLE, BATCH, BATCH)
    # check_vma: sums over `model` are made by hand below, and every device along it holds the same rows
    sharded = jax.shard_map(local, mesh=mesh, in_specs=inputs, out_specs=BATCH, check_vma=False)
    return sharded(states, embedding, targets, weights)


def _gradients_over_devices(
    head: Head, states: Array, embedding: Array, targets: Array, weights: Array
) -> SumsAndGradients:
    """`local_gradients`, likewise. The embedding's gradient is summed over devices in float32,
    once per step.
    """
    mesh = head.compute.sharded
    if mesh is None:
        return local_gradients(head, None, states, embedding, targets, weights)

    def local(states: Array, embedding: Array, *targets_and_weights: Array) -> tuple[RowSums, States, Array]:
        table = _gathered(embedding, states.dtype)
        sums, gradients = local_gradients(head, "model", states, table, *targets_and_weights)
        d_states, d_table = gradients
        own = _own_sum(d_table)  # the columns of the table that this device holds
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
