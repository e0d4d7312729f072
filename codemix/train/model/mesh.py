"""Device meshes (data, fsdp, model), which axis cuts which array, and which rows of a batch a host holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from codemix.errors import CodemixError, Problem
from codemix.recipe.language import schema
from codemix.recipe.planning.plan import Plan

AXES = ("data", "fsdp", "model")
BATCH = P(("data", "fsdp"))  # rows; every other dimension whole
TABLE = P("model", "fsdp")  # of the embedding: the vocabulary over model, the width over fsdp
SPECS = {  # by the last name of the path; the layer axis is never cut
    "embedding": TABLE,
    "unembedding": TABLE,
    "norm": P(),
    "query": P(None, "fsdp", "model"),
    "key": P(None, "fsdp", "model"),
    "value": P(None, "fsdp", "model"),
    "out": P(None, "model", None, None, "fsdp"),
    "gate": P(None, "fsdp", "model"),
    "up": P(None, "fsdp", "model"),
    "down": P(None, "model", "fsdp"),
}


def make_mesh(data: int = 1, fsdp: int = 1, model: int = 1, devices: list | None = None) -> Mesh:
    """A mesh of data x fsdp x model devices. Its axes are Auto: the compiler places the collectives."""
    devices = jax.devices()[: data * fsdp * model] if devices is None else devices
    return jax.make_mesh((data, fsdp, model), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)


def shape_of(asked: Mapping[str, int] | None, spec: schema.Model) -> dict[str, int]:
    """The mesh asked for, or every device: weights over the most of them (up to 16) that divide d_model, rows over the rest.

    Raises CodemixError for an axis that there is not, and for more devices than there are, or fewer with several processes.
    """
    shape = dict(asked or {})
    if not shape:
        devices, fsdp = jax.device_count(), 1
        while fsdp < 16 and devices % (2 * fsdp) == 0 and spec.d_model % (2 * fsdp) == 0:
            fsdp *= 2
        shape = {"data": devices // fsdp, "fsdp": fsdp, "model": 1}
    for axis, size in shape.items():
        if axis not in AXES or size < 1:
            raise CodemixError(
                f"`{axis}: {size}` is no axis of a mesh",
                hints=["axes are data, fsdp and model, each at least 1"],
                rule="mesh-axis",
            )
    wanted = math.prod(shape.values())
    if wanted > jax.device_count():
        raise CodemixError(
            f"the mesh wants {wanted} devices and there are {jax.device_count()}",
            hints=["make an axis smaller"],
            rule="mesh-too-big",
        )
    if (
        jax.process_count() > 1 and wanted < jax.device_count()
    ):  # a process might have none of them, and nothing to do
        raise CodemixError(
            f"the mesh takes {wanted} of {jax.device_count()} devices, and a run of several processes takes all",
            hints=["make an axis larger, or start fewer processes"],
            rule="mesh-too-small",
        )
    return shape


def shardings(mesh: Mesh, tree: Any) -> Any:
    """The sharding of each array in a model or optimizer state, by the last name of its path; scalars are whole."""

    def of(path, leaf):
        names = [key.name for key in path if hasattr(key, "name") and key.name in SPECS]
        return NamedSharding(mesh, SPECS[names[-1]] if names else P())

    return jax.tree_util.tree_map_with_path(of, eqx.filter(tree, lambda x: hasattr(x, "shape")))


def problems(
    spec: schema.Model,
    vocab_size: int,
    batch_size: int,
    microbatches: int = 1,
    *,
    data: int = 1,
    fsdp: int = 1,
    model: int = 1,
) -> list[Problem]:
    """What does not divide over a mesh of this shape, or into the microbatches of each of its devices."""
    wanted = [
        ("model.d_model", spec.d_model, fsdp, "fsdp"),
        ("the embedding's rows", spec.vocab(vocab_size), model, "model"),
        ("model.d_ff", spec.d_ff, model, "model"),
        ("key-value heads", spec.kv_heads, model, "model"),
        ("batch_size", batch_size, data * fsdp, "data x fsdp"),
    ]
    found = [
        Problem(
            f"{name} is {size}, which does not divide by {axis} = {by}",
            rule="mesh-does-not-divide",
            hints=_nearest(name, size, by),
        )
        for name, size, by, axis in wanted
        if size % by
    ]
    rows, left = divmod(batch_size, data * fsdp)
    if not left and rows % microbatches:
        best = max(n for n in range(1, microbatches) if rows % n == 0)
        what = f"batch_size {batch_size} over {data * fsdp} devices leaves {rows} rows a device, which {microbatches} microbatches do not divide"
        found.append(Problem(what, hints=(f"{best} does",), rule="microbatches"))
    return found


def refuse_undivided(plan: Plan, vocab_size: int, shape: Mapping[str, int], microbatches: int = 1) -> None:
    """Raises CodemixError with all that a mesh of this shape, and its microbatches, do not divide in any stage of a plan."""
    sizes = sorted({size for stage in plan.stages for _, size in stage.batches})
    found = {
        p.what: p
        for size in sizes
        for p in problems(plan.recipe.model, vocab_size, size, microbatches, **shape)
    }
    if found:
        raise CodemixError(*found.values())


def _nearest(name: str, size: int, by: int) -> tuple[str, ...]:
    if "embedding" in name:
        return (f"set `vocab_multiple: {by}`",)
    below, above = size - size % by, size + by - size % by
    return (f"use {f'{below} or ' if below else ''}{above}, or another mesh",)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over data and fsdp."""
    return NamedSharding(mesh, BATCH)


def host_rows(sharding: NamedSharding, batch_size: int) -> list[tuple[int, int]]:
    """Half-open ranges of global rows that this process holds, ascending, each once.

    From the sharding's own map: a mesh may order devices as a ring, so `process_index * rows` would be wrong.
    """
    found = {
        index[0].indices(batch_size)[:2]
        for index in sharding.addressable_devices_indices_map((batch_size,)).values()
    }
    return sorted(found)


def put(batch: dict[str, np.ndarray], sharding: NamedSharding, batch_size: int) -> dict[str, jax.Array]:
    """Global arrays of a batch from this host's rows, which lie in `batch` in the order of `host_rows`."""
    starts, at = {}, 0
    for first, last in host_rows(sharding, batch_size):
        starts[first] = at
        at += last - first

    def globally(local: np.ndarray) -> jax.Array:
        if local.shape[0] != at:
            raise ValueError(f"this host holds {at} rows of the batch and was given {local.shape[0]}")

        def rows(index):
            first, last, _ = index[0].indices(batch_size)
            return local[starts[first] : starts[first] + last - first]

        return jax.make_array_from_callback((batch_size, *local.shape[1:]), sharding, rows)

    return {name: globally(local) for name, local in batch.items()}
