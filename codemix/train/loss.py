"""Next-token loss, a chunk of positions at a time, so that all logits never exist at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from codemix.train.model import Attention, Decoder, hidden, logits


def next_token_loss(
    model: Decoder, batch: dict[str, Array], n_sources: int, *, attention: Attention, compute_dtype: jnp.dtype = jnp.float32,
    remat: str = "none", z_loss: float = 0.0, chunk: int = 512, unroll: int | bool = 1,
) -> tuple[Float[Array, ""], dict[str, Array]]:  # fmt: skip
    """Sums over the batch, to be divided once by the global number of tokens.

    The first is what is minimised: nats of every target by its weight, and `z_loss` times the sum of log(Z)^2. The
    rest is `nats`, `tokens` and `rows` by source [n_sources] and `z`, the unweighted sum of log(Z)^2.
    """
    states = hidden(model, batch["inputs"], batch.get("positions"), batch.get("segments"), compute_dtype=compute_dtype, attention=attention,
                    remat=remat, unroll=unroll)  # fmt: skip
    scores = logits(model, states)
    log_z = jax.nn.logsumexp(scores, -1)
    weights = batch["weights"]
    nats = ((log_z - jnp.take_along_axis(scores, batch["targets"][..., None], -1)[..., 0]) * weights).sum(-1)
    z = (jnp.square(log_z) * weights).sum()

    def by_source(rows: Float[Array, " B"]) -> Float[Array, " S"]:
        return jax.ops.segment_sum(rows, batch["source"], n_sources)

    rows = by_source(jnp.ones(nats.shape, jnp.int32))
    sums = {"nats": by_source(nats), "tokens": by_source(weights.sum(-1)), "rows": rows, "z": z}
    return nats.sum() + z_loss * z, jax.tree.map(jax.lax.stop_gradient, sums)
