"""Rotary positions (RoPE, arXiv 2104.09864): queries and keys turned by an angle that grows with their position."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from codemix.train.model.shapes import Positions

Heads = Float[Array, "B T *heads H"]  # queries or keys
HeadsOrWeights = Float[Array, "*D H"]  # of them, or they


class Angles(NamedTuple):
    """Cosine and sine of the angle of each of the H / 2 pairs at each position, in float32."""

    cos: Float[Array, "B T C"]
    sin: Float[Array, "B T C"]


def rope_angles(positions: Positions, head: int, theta: float | None) -> Angles | None:
    """The angles of the `head / 2` pairs at each position; None without `theta`."""
    if theta is None:
        return None
    even = jnp.arange(0, head, 2, dtype=jnp.float32)
    frequencies = theta ** (-even / head)
    exact = positions[..., None].astype(jnp.float32)
    angle = exact * frequencies
    return Angles(jnp.cos(angle), jnp.sin(angle))


def rotate(x: Heads, angles: Angles) -> Heads:
    """x with pairs (0, H/2), (1, H/2 + 1), ... of H turned by their angle.

    RoPE is interleaved; `halves` puts its pairs so.
    """
    exact = x.astype(jnp.float32)
    heads = tuple(range(2, x.ndim - 1))
    cos = jnp.expand_dims(angles.cos, heads)
    sin = jnp.expand_dims(angles.sin, heads)
    a, b = jnp.split(exact, 2, -1)
    first = a * cos - b * sin
    second = a * sin + b * cos
    both = [first, second]
    turned = jnp.concatenate(both, -1)
    return turned.astype(x.dtype)


def halves(x: HeadsOrWeights) -> HeadsOrWeights:
    """Queries or keys, or their weights, with the even places of H before the odd: neighbours become pairs
    (0, H/2), (1, H/2 + 1), ...

    The order inside a head does not change the products of queries and keys, and turning two contiguous
    halves is cheaper than turning neighbours.
    """
    shape = x.shape
    pairs = x.reshape(*shape[:-1], -1, 2)
    evens_first = pairs.swapaxes(-1, -2)
    return evens_first.reshape(shape)
