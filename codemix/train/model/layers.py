"""Matmul, SwiGLU and embedding with gradients written by hand. Each is its `plain_` definition, which tests
compare it to, with less kept for the backward pass, or with gradients that are summed in float32.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from codemix.train.model.mesh import BATCH, TABLE
from codemix.train.model.shapes import Ids, States, Table

PRODUCT = "product"  # of activations and weights


def plain_project(pattern: str, x: Array, weights: Array) -> Array:
    """`einsum(pattern, x, weights)` in the dtype of x."""
    return jnp.einsum(pattern, x, weights.astype(x.dtype))


def project(pattern: str, x: Array, weights: Array) -> Array:
    """`einsum(pattern, x, weights)` in the dtype of x, for float32 master weights.

    Their gradient is float32 from the matmul on: left to autodiff it would be rounded to the compute dtype,
    and then summed over devices. The result has a name for `--remat dots`, which cannot see into a
    hand-written gradient.
    """
    return checkpoint_name(_project(pattern, x, weights), PRODUCT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _project(pattern: str, x: Array, weights: Array) -> Array:
    return plain_project(pattern, x, weights)


def _project_forward(pattern: str, x: Array, weights: Array) -> tuple[Array, tuple[Array, Array]]:
    return _project(pattern, x, weights), (x, weights)


def _project_backward(pattern: str, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, weights = saved
    operands, out = pattern.split("->")
    left, right = operands.split(",")

    def d_weights(x: Array, gradient: Array) -> Array:
        return jnp.einsum(f"{left},{out}->{right}", x, gradient, preferred_element_type=weights.dtype)

    def d_weights_on_cpu(x: Array, gradient: Array) -> Array:
        """The same after turning x: XLA's matmuls on a CPU take twice as long along columns of their left
        side.
        """
        turned = jax.lax.optimization_barrier(jnp.moveaxis(x, (0, 1), (-2, -1)))
        rows_last = f"{left[2:]}{left[:2]},{out}->{right}"
        return jnp.einsum(rows_last, turned, gradient, preferred_element_type=weights.dtype)

    d_x = jnp.einsum(f"{out},{right}->{left}", gradient, weights.astype(x.dtype))
    return d_x, jax.lax.platform_dependent(x, gradient, cpu=d_weights_on_cpu, default=d_weights)


_project.defvjp(_project_forward, _project_backward)


def plain_swiglu(gate: Float[Array, "*B F"], up: Float[Array, "*B F"]) -> Float[Array, "*B F"]:
    """silu(gate) * up."""
    return jax.nn.silu(gate) * up


@jax.custom_vjp
def swiglu(gate: Float[Array, "*B F"], up: Float[Array, "*B F"]) -> Float[Array, "*B F"]:
    """silu(gate) * up; the backward pass keeps these two and nothing between."""
    return plain_swiglu(gate, up)


def _swiglu_forward(gate: Array, up: Array) -> tuple[Array, tuple[Array, Array]]:
    return swiglu(gate, up), (gate, up)


def _swiglu_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    gate, up = saved
    s = jax.nn.sigmoid(gate)
    d_gate = gradient * up * s * (1 + gate * (1 - s))
    return d_gate, gradient * gate * s


swiglu.defvjp(_swiglu_forward, _swiglu_backward)


def plain_lookup(dtype: jnp.dtype, table: Table, ids: Ids) -> States:
    """Rows of the embedding in the compute dtype."""
    return table[ids].astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def lookup(dtype: jnp.dtype, mesh: Mesh | None, table: Table, ids: Ids) -> States:
    """Rows of the embedding in the compute dtype.
    Their gradient adds up in float32: a frequent id gets thousands.

    On a mesh the table stays where it is. Each device looks up, in the columns that it holds, the ids of all
    rows of its fsdp group, and they change columns for rows: what travels is as large as the rows, not as the
    table, in both directions.
    """
    if mesh is None:
        return plain_lookup(dtype, table, ids)

    def local(table: Array, ids: Array) -> Array:
        own = _own_ids(table, ids)
        found = jnp.where(own.is_mine, table[own.rows], 0)
        columns = jax.lax.psum(found.astype(dtype), "model")
        return jax.lax.all_to_all(columns, "fsdp", 0, 2, tiled=True)

    sharded = jax.shard_map(local, mesh=mesh, in_specs=(TABLE, BATCH), out_specs=BATCH, check_vma=False)
    return sharded(table, ids)


def _lookup_forward(
    dtype: jnp.dtype, mesh: Mesh | None, table: Array, ids: Array
) -> tuple[Array, tuple[Array, Array]]:
    return lookup(dtype, mesh, table, ids), (ids, table)


def _lookup_backward(
    dtype: jnp.dtype, mesh: Mesh | None, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, None]:
    ids, table = saved
    if mesh is None:
        return jnp.zeros_like(table).at[ids].add(gradient.astype(jnp.float32)), None

    def local(table: Array, ids: Array, gradient: Array) -> Array:
        own = _own_ids(table, ids)
        columns = jax.lax.all_to_all(gradient, "fsdp", 2, 0, tiled=True).astype(jnp.float32)
        mine = jnp.where(own.is_mine, columns, 0)
        return jax.lax.psum(jnp.zeros_like(table).at[own.rows].add(mine), "data")

    specs = (TABLE, BATCH, BATCH)
    sharded = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=TABLE, check_vma=False)
    return sharded(table, ids, gradient), None


lookup.defvjp(_lookup_forward, _lookup_backward)


class _OwnIds(NamedTuple):
    """The ids of a device's fsdp group as rows of its part of the table, and whether they lie in it."""

    rows: Int[Array, "B T"]
    is_mine: Bool[Array, "B T 1"]


def _own_ids(table: Float[Array, "v d"], ids: Int[Array, "b T"]) -> _OwnIds:
    of_group = jax.lax.all_gather(ids, "fsdp", tiled=True)
    rows = of_group - jax.lax.axis_index("model") * len(table)
    is_mine = (rows >= 0) & (rows < len(table))
    return _OwnIds(jnp.where(is_mine, rows, 0), is_mine[..., None])
