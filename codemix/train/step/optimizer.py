"""AdamW through optax: decay by name, clipping by the global norm,
the learning rate from outside as a traced scalar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from codemix.recipe.language import schema
from codemix.train.model.decoder import Decoder
from codemix.train.model.shapes import Scalar

OptState = Any  # optax's own: a tuple of NamedTuples of arrays


def decayed(model: Decoder, embeddings: bool) -> PyTree[bool]:
    """True for each array that weight decay acts on: matrices, never norms.
    By name: a stacked norm is 2-D too.
    """
    never = {"norm", "mlp_norm", "query_norm", "key_norm"}
    if not embeddings:
        never |= {"embedding", "unembedding"}

    def is_decayed(path: tuple[Any, ...], _: Array) -> bool:
        name = path[-1].name
        return name not in never

    arrays = eqx.filter(model, eqx.is_array)
    return jax.tree_util.tree_map_with_path(is_decayed, arrays)


def make_optimizer(spec: schema.Optimizer) -> optax.GradientTransformation:
    """Adam moments and decoupled decay; its updates still want to be multiplied by minus the learning rate."""

    def mask(model: Decoder) -> PyTree[bool]:
        return decayed(model, spec.decay_embeddings)

    return optax.chain(
        optax.scale_by_adam(b1=spec.b1, b2=spec.b2, eps=spec.eps),
        optax.add_decayed_weights(spec.weight_decay, mask=mask),
    )


@dataclass(frozen=True)
class Update:
    """The weights and moments after a step, and the norm of its gradients before clipping."""

    model: Decoder
    opt_state: OptState
    gradient_norm: Scalar


def apply(
    spec: schema.Optimizer, model: Decoder, opt_state: OptState, gradients: Decoder, lr: Scalar
) -> Update:
    """One step of AdamW at this learning rate."""
    norm = optax.global_norm(gradients)
    if spec.clip is not None:
        gradients = _clipped(gradients, norm, spec.clip)
    directions, opt_state = make_optimizer(spec).update(gradients, opt_state, model)
    model = jax.tree.map(lambda w, u: w - lr * u, model, directions)
    return Update(model, opt_state, norm)


def _clipped(gradients: Decoder, norm: Scalar, clip: float) -> Decoder:
    def shrink(g: Array) -> Array:
        share = clip / jnp.maximum(norm, 1e-16)
        return g * jnp.minimum(1.0, share)

    return jax.tree.map(shrink, gradients)
