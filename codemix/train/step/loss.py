"""Next-token loss, a chunk of positions at a time, so that all logits never exist at once.

The head is linear and its loss a plain sum, so the forward pass can make the gradient of a chunk while it holds the
chunk's logits: three matmuls a chunk instead of four, and the embedding's gradient adds up in float32 whatever the
compute dtype is.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from codemix.train.model.decoder import Attention, Decoder, hidden
from codemix.train.model.mesh import BATCH, TABLE

LOGITS_AT_ONCE = {"cpu": 2**25}  # elements a device; other platforms 2**28, a gigabyte in float32


@dataclass(frozen=True)
class Head:
    """What the loss of the final states needs to know, besides arrays."""

    vocab_size: int
    logit_scale: float
    z_loss: float
    chunk: int | None  # positions at once; None: as many as LOGITS_AT_ONCE allows
    mesh: Mesh | None  # None: one device


def next_token_loss(
    model: Decoder,
    batch: dict[str, Array],
    n_sources: int,
    *,
    attention: Attention,
    compute_dtype: jnp.dtype = jnp.float32,
    remat: str = "none",
    z_loss: float = 0.0,
    chunk: int | None = None,
    unroll: int | bool = 1,
    mesh: Mesh | None = None,
    dropout: float = 0.0,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Sums over the batch, to be divided once by the global number of tokens.

    The first is what is minimised: nats of every target by its weight, and `z_loss` times the sum of log(Z)^2 by the
    same weight. The rest is `nats`, `tokens` and `rows` by source [n_sources] and `z`, the sum of log(Z)^2. With `dropout`,
    the batch's random keys `rngs` [B] choose what is dropped.
    """
    mesh = None if mesh is None or mesh.size == 1 else mesh
    states = hidden(
        model,
        batch["inputs"],
        batch.get("positions"),
        batch.get("segments"),
        compute_dtype=compute_dtype,
        attention=attention,
        remat=remat,
        unroll=unroll,
        mesh=mesh,
        dropout=dropout,
        rngs=batch.get("rngs"),
    )
    head = Head(model.vocab_size, model.logit_scale, z_loss, chunk, mesh)
    total, nats, z = head_loss(head, states, model.head, batch["targets"], batch["weights"])

    def by_source(rows: Array) -> Array:
        return jax.ops.segment_sum(rows, batch["source"], n_sources)

    rows = by_source(jnp.ones(nats.shape, jnp.int32))
    return total, {
        "nats": by_source(nats),
        "tokens": by_source(batch["weights"].sum(-1)),
        "rows": rows,
        "z": z.sum(),
    }


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def head_loss(
    head: Head,
    states: Float[Array, "B T D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "B T"],
    weights: Float[Array, "B T"],
) -> tuple[Float[Array, ""], Float[Array, " B"], Float[Array, " B"]]:
    """Weighted nats plus `z_loss` times log(Z)^2 over the batch; and of each row both sums apart, through which no
    gradient flows."""
    nats, z = _over_devices(head, False)(states, embedding, targets, weights)
    return nats.sum() + head.z_loss * z.sum(), nats, z


def _forward(head: Head, states: Array, embedding: Array, targets: Array, weights: Array):
    nats, z, d_states, d_embedding = _over_devices(head, True)(states, embedding, targets, weights)
    return (nats.sum() + head.z_loss * z.sum(), nats, z), (d_states, d_embedding)


def _backward(head: Head, saved: tuple[Array, Array], given: tuple[Array, Array, Array]):
    d_states, d_embedding = saved
    return (d_states * given[0]).astype(d_states.dtype), d_embedding * given[0], None, None


head_loss.defvjp(_forward, _backward)


def _over_devices(head: Head, gradients: bool):
    """`_local_sums` on one device or on each device of the mesh: rows cut over data and fsdp, the vocabulary over model.

    The embedding is gathered over fsdp in the compute dtype, and its gradient summed over devices in float32, once a step.
    """
    if head.mesh is None:
        return functools.partial(_local_sums, head, gradients, None)

    def local(states: Array, embedding: Array, targets: Array, weights: Array):
        table = jax.lax.all_gather(embedding.astype(states.dtype), "fsdp", axis=1, tiled=True)
        sums = _local_sums(head, gradients, "model", states, table, targets, weights)
        if not gradients:
            return sums
        d_embedding = jax.lax.psum(
            jax.lax.psum_scatter(sums[3], "fsdp", scatter_dimension=1, tiled=True), "data"
        )
        return *sums[:3], d_embedding

    outs = (BATCH, BATCH, BATCH, TABLE) if gradients else (BATCH, BATCH)
    # check_vma: sums over `model` are made by hand below, and every device along it holds the same rows
    return jax.shard_map(
        local, mesh=head.mesh, in_specs=(BATCH, TABLE, BATCH, BATCH), out_specs=outs, check_vma=False
    )


def _local_sums(
    head: Head, gradients: bool, axis: str | None, states: Array, table: Array, targets: Array, weights: Array
):
    """Nats and log(Z)^2 of each row [B]; with `gradients` also those of states and table. `axis` cuts the table's rows."""
    (B, T, D), V = states.shape, table.shape[0]
    C = _chunk(head, B, T, V)
    first = 0 if axis is None else jax.lax.axis_index(axis) * V
    over = functools.partial(jax.lax.psum, axis_name=axis) if axis else lambda x: x
    most = functools.partial(jax.lax.pmax, axis_name=axis) if axis else lambda x: x
    ids = first + jnp.arange(V)
    cast = table.astype(states.dtype)

    def body(d_table: Array, part: tuple[Array, Array, Array]):
        h, target, weight = part
        scores = head.logit_scale * jnp.einsum("cd,vd->cv", h, cast, preferred_element_type=jnp.float32)
        scores = jnp.where(ids < head.vocab_size, scores, -jnp.inf)
        highest = most(scores.max(-1, keepdims=True))
        powers = jnp.exp(scores - highest)
        z = over(powers.sum(-1, keepdims=True))
        log_z = (jnp.log(z) + highest)[:, 0]
        is_target = ids == target[:, None]
        nats = (log_z - over(jnp.where(is_target, scores, 0).sum(-1))) * weight
        square = jnp.square(log_z) * weight
        if not gradients:
            return d_table, (nats, square)
        # d nats = softmax - onehot; d log(Z)^2 = 2 log(Z) softmax
        pull = 1 + 2 * head.z_loss * log_z if head.z_loss else jnp.ones_like(log_z)
        d_scores = (
            powers * (pull * weight * head.logit_scale / z[:, 0])[:, None]
            - is_target * (weight * head.logit_scale)[:, None]
        ).astype(h.dtype)
        d_h = over(jnp.einsum("cv,vd->cd", d_scores, cast, preferred_element_type=jnp.float32))
        d_table = d_table + jnp.einsum("cv,cd->vd", d_scores, h, preferred_element_type=jnp.float32)
        return d_table, (nats, square, d_h.astype(h.dtype))

    def chunks(x: Array) -> Array:  # [B, T, ...] -> [T / C, B * C, ...]
        return x.reshape(B, T // C, C, *x.shape[2:]).swapaxes(0, 1).reshape(T // C, B * C, *x.shape[2:])

    def whole(x: Array) -> Array:
        return x.reshape(T // C, B, C, *x.shape[2:]).swapaxes(0, 1).reshape(B, T, *x.shape[2:])

    start = jnp.zeros((V, D) if gradients else (), jnp.float32)
    d_table, parts = jax.lax.scan(body, start, (chunks(states), chunks(targets), chunks(weights)))
    nats, square, *d_states = map(whole, parts)
    return (
        (nats.sum(-1), square.sum(-1), d_states[0], d_table) if gradients else (nats.sum(-1), square.sum(-1))
    )


def _chunk(head: Head, B: int, T: int, V: int) -> int:
    """Positions a chunk: the largest divisor of T that is at most what was asked for, or what the platform holds at once."""
    platform = head.mesh.devices.flat[0].platform if head.mesh is not None else jax.default_backend()
    wanted = head.chunk or max(1, LOGITS_AT_ONCE.get(platform, 2**28) // (B * V))
    return max(divisor for divisor in range(1, T + 1) if T % divisor == 0 and divisor <= max(1, wanted))
