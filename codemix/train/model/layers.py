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

Hidden = Float[Array, "*B F"]  # in the MLP
PRODUCT = "product"  # of activations and weights

# in float32, whatever the inputs are
einsum_float32 = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def plain_project(pattern: str, x: Array, weights: Array) -> Array:
    """`einsum(pattern, x, weights)` in the dtype of x."""
    rounded = weights.astype(x.dtype)
    return jnp.einsum(pattern, x, rounded)


def project(pattern: str, x: Array, weights: Array) -> Array:
    """`einsum(pattern, x, weights)` in the dtype of x, for float32 master weights.

    Their gradient is float32 from the matmul on: left to autodiff it would be rounded to the compute dtype,
    and then summed over devices. The result has a name for `--remat dots`, which cannot see into a
    hand-written gradient.
    """
    product = _project(pattern, x, weights)
    return checkpoint_name(product, PRODUCT)


_project = jax.custom_vjp(plain_project, nondiff_argnums=(0,))


class _Factors(NamedTuple):
    """What the backward pass of `_project` needs."""

    x: Array
    weights: Array


def _project_forward(pattern: str, x: Array, weights: Array) -> tuple[Array, _Factors]:
    product = _project(pattern, x, weights)
    saved = _Factors(x, weights)
    return product, saved


def _project_backward(pattern: str, saved: _Factors, gradient: Array) -> tuple[Array, Array]:
    x, weights = saved
    operands, out = pattern.split("->")
    left, right = operands.split(",")
    einsum = functools.partial(jnp.einsum, preferred_element_type=weights.dtype)

    def d_weights(x: Array, gradient: Array) -> Array:
        to_weights = f"{left},{out}->{right}"
        return einsum(to_weights, x, gradient)

    def d_weights_on_cpu(x: Array, gradient: Array) -> Array:
        turned = _rows_last(x)
        of_turned = left[2:] + left[:2]
        to_weights = f"{of_turned},{out}->{right}"
        return einsum(to_weights, turned, gradient)

    to_x = f"{out},{right}->{left}"
    rounded = weights.astype(x.dtype)
    d_x = jnp.einsum(to_x, gradient, rounded)
    by_weights = jax.lax.platform_dependent(x, gradient, cpu=d_weights_on_cpu, default=d_weights)
    return d_x, by_weights


def _rows_last(x: Array) -> Array:
    """[B, T, ...] -> [..., B, T], in memory too: XLA's matmuls on a CPU take twice as long along columns of
    their left side.
    """
    turned = jnp.moveaxis(x, (0, 1), (-2, -1))
    return jax.lax.optimization_barrier(turned)


_project.defvjp(_project_forward, _project_backward)


def plain_swiglu(gate: Hidden, up: Hidden) -> Hidden:
    """silu(gate) * up."""
    return jax.nn.silu(gate) * up


@jax.custom_vjp
def swiglu(gate: Hidden, up: Hidden) -> Hidden:
    """silu(gate) * up; the backward pass keeps these two and nothing between."""
    return plain_swiglu(gate, up)


class _GateAndUp(NamedTuple):
    """What the backward pass of `swiglu` needs."""

    gate: Hidden
    up: Hidden


def _swiglu_forward(gate: Hidden, up: Hidden) -> tuple[Hidden, _GateAndUp]:
    product = swiglu(gate, up)
    return product, _GateAndUp(gate, up)


def _swiglu_backward(saved: _GateAndUp, gradient: Hidden) -> tuple[Hidden, Hidden]:
    gate, up = saved
    s = jax.nn.sigmoid(gate)
    slope = 1 + gate * (1 - s)
    d_gate = gradient * up * s * slope
    d_up = gradient * gate * s
    return d_gate, d_up


swiglu.defvjp(_swiglu_forward, _swiglu_backward)


def plain_lookup(dtype: jnp.dtype, table: Table, ids: Ids) -> States:
    """Rows of the embedding in the compute dtype."""
    rows = table[ids]
    return rows.astype(dtype)


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
        rows = table[own.rows]
        mine = jnp.where(own.is_mine, rows, 0)
        rounded = mine.astype(dtype)
        columns = jax.lax.psum(rounded, "model")
        return jax.lax.all_to_all(columns, "fsdp", 0, 2, tiled=True)

    inputs = (TABLE, BATCH)
    sharded = jax.shard_map(local, mesh=mesh, in_specs=inputs, out_specs=BATCH, check_vma=False)
    return sharded(table, ids)


class _Looked(NamedTuple):
    """What the backward pass of `lookup` needs."""

    table: Table
    ids: Ids


_LookedUp = tuple[States, _Looked]


def _lookup_forward(dtype: jnp.dtype, mesh: Mesh | None, table: Table, ids: Ids) -> _LookedUp:
    saved = _Looked(table, ids)
    rows = lookup(dtype, mesh, table, ids)
    return rows, saved


def _lookup_backward(
    dtype: jnp.dtype, mesh: Mesh | None, saved: _Looked, gradient: States
) -> tuple[Table, None]:
    table, ids = saved
    zeros = jnp.zeros_like(table)
    if mesh is None:
        summed = zeros.at[ids].add(gradient.astype(jnp.float32))
        return summed, None

    def local(table: Array, ids: Array, gradient: Array) -> Array:
        own = _own_ids(table, ids)
        columns = jax.lax.all_to_all(gradient, "fsdp", 2, 0, tiled=True)
        exact = columns.astype(jnp.float32)
        mine = jnp.where(own.is_mine, exact, 0)
        zeros = jnp.zeros_like(table)
        summed = zeros.at[own.rows].add(mine)
        return jax.lax.psum(summed, "data")

    inputs = (TABLE, BATCH, BATCH)
    sharded = jax.shard_map(local, mesh=mesh, in_specs=inputs, out_specs=TABLE, check_vma=False)
    return sharded(table, ids, gradient), None


lookup.defvjp(_lookup_forward, _lookup_backward)


class _OwnIds(NamedTuple):
    """The ids of a device's fsdp group as rows of its part of the table, and whether they lie in it."""

    rows: Int[Array, "B T"]
    is_mine: Bool[Array, "B T 1"]


def _own_ids(table: Float[Array, "v d"], ids: Int[Array, "b T"]) -> _OwnIds:
    size = len(table)
    first = jax.lax.axis_index("model") * size
    of_group = jax.lax.all_gather(ids, "fsdp", tiled=True)
    rows = of_group - first
    is_mine = (rows >= 0) & (rows < size)
    inside = jnp.where(is_mine, rows, 0)
    per_row = is_mine[..., None]
    return _OwnIds(inside, per_row)
