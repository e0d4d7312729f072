"""AdamW through optax: decay by name, clipping by the global norm, the learning rate from outside as a traced scalar."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from codemix.recipe.language import schema
from codemix.train.model.decoder import Decoder


def decayed(model: Decoder, embeddings: bool) -> Any:
    """True for each array that weight decay acts on: matrices, never norms. By name: a stacked norm is 2-D too."""
    never = ("norm",) if embeddings else ("norm", "embedding", "unembedding")
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].name not in never, eqx.filter(model, eqx.is_array)
    )


def make_optimizer(spec: schema.Optimizer) -> optax.GradientTransformation:
    """Adam moments and decoupled decay; its updates still want to be multiplied by minus the learning rate."""
    return optax.chain(
        optax.scale_by_adam(b1=spec.b1, b2=spec.b2, eps=spec.eps),
        optax.add_decayed_weights(
            spec.weight_decay, mask=lambda model: decayed(model, spec.decay_embeddings)
        ),
    )


def apply(
    spec: schema.Optimizer, model: Decoder, opt_state: Any, gradients: Decoder, lr: Float[Array, ""]
) -> tuple[Decoder, Any, Float[Array, ""]]:
    """The updated weights and moments, and the norm of the gradients before clipping."""
    norm = optax.global_norm(gradients)
    if spec.clip is not None:
        gradients = jax.tree.map(
            lambda g: g * jnp.minimum(1.0, spec.clip / jnp.maximum(norm, 1e-16)), gradients
        )
    updates, opt_state = make_optimizer(spec).update(gradients, opt_state, model)
    return jax.tree.map(lambda w, u: w - lr * u, model, updates), opt_state, norm
