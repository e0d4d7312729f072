"""Device meshes (data, fsdp, model), which axis cuts which array, and which rows of a batch a host holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from codemix.errors import CodemixError, Problem
from codemix.recipe.language import schema
from codemix.recipe.planning.plan import Plan

Rows = tuple[int, int]  # the first, and the one after the last
Index = tuple[slice, ...]  # of an array
Path = tuple[Any, ...]  # keys of a leaf in a tree
AXES = ("data", "fsdp", "model")
AXIS_TYPES = (AxisType.Auto,) * len(AXES)  # the compiler places the collectives
BATCH = P(("data", "fsdp"))  # rows; every other dimension whole
TABLE = P("model", "fsdp")  # of the embedding: the vocabulary over model, the width over fsdp
SPECS = {  # by the last name of the path; the layer axis is never cut
    "embedding": TABLE,
    "unembedding": TABLE,
    "norm": P(),
    "mlp_norm": P(),
    "query_norm": P(),
    "key_norm": P(),
    "query": P(None, "fsdp", "model"),
    "key": P(None, "fsdp", "model"),
    "value": P(None, "fsdp", "model"),
    "out": P(None, "model", None, None, "fsdp"),
    "gate": P(None, "fsdp", "model"),
    "up": P(None, "fsdp", "model"),
    "down": P(None, "model", "fsdp"),
}


def make_mesh(data: int = 1, fsdp: int = 1, model: int = 1, devices: list | None = None) -> Mesh:
    """A mesh of data x fsdp x model devices."""
    shape = (data, fsdp, model)
    n_devices = math.prod(shape)
    if devices is None:
        devices = jax.devices()[:n_devices]
    return jax.make_mesh(shape, AXES, axis_types=AXIS_TYPES, devices=devices)


def mesh_of(shape: Mapping[str, int], devices: list | None = None) -> Mesh:
    """The mesh of this shape; an axis that it does not name has one device."""
    sizes = dict.fromkeys(AXES, 1)
    sizes.update(shape)
    return make_mesh(**sizes, devices=devices)


def default_shape(n_devices: int, d_model: int) -> dict[str, int]:
    """Every device: weights over the most of them that divide d_model (a power of two up to 16), rows over
    the rest.
    """
    fsdp = math.gcd(16, n_devices, d_model)
    return {
        "data": n_devices // fsdp,
        "fsdp": fsdp,
        "model": 1,
    }


def shape_of(asked: Mapping[str, int] | None, spec: schema.Model) -> dict[str, int]:
    """The mesh asked for, or `default_shape`.

    Raises CodemixError for an unknown axis, and for more devices than there are, or fewer with several
    processes.
    """
    n_devices = jax.device_count()
    shape = dict(asked) if asked else default_shape(n_devices, spec.d_model)
    for axis, size in shape.items():
        if axis not in AXES or size < 1:
            raise CodemixError(
                f"`{axis}: {size}` is not an axis of a mesh",
                hints=["axes are data, fsdp and model, each at least 1"],
                rule="mesh-axis",
            )
    wanted = math.prod(shape.values())
    if wanted > n_devices:
        raise CodemixError(
            f"the mesh wants {wanted} devices and there are {n_devices}",
            hints=["make an axis smaller"],
            rule="mesh-too-big",
        )
    # A process might have none of them, and nothing to do.
    if jax.process_count() > 1 and wanted < n_devices:
        raise CodemixError(
            f"the mesh takes {wanted} of {n_devices} devices, and a run of several processes takes all",
            hints=["make an axis larger, or start fewer processes"],
            rule="mesh-too-small",
        )
    return shape


def shape_for_plan(
    plan: Plan, asked: Mapping[str, int] | None, vocab_size: int, microbatches: int = 1
) -> dict[str, int]:
    """`shape_of` for every stage of a plan. Raises CodemixError for what does not divide."""
    shape = shape_of(asked, plan.recipe.model)
    refuse_undivided(plan, vocab_size, shape, microbatches)
    return shape


def shardings(mesh: Mesh, tree: Any) -> Any:
    """The sharding of each array in a model or optimizer state, by the last name of its path;
    scalars are whole.
    """

    def sharding(path: Path, _: Any) -> NamedSharding:
        spec = _spec(path)
        return NamedSharding(mesh, spec)

    arrays = eqx.filter(tree, lambda x: hasattr(x, "shape"))
    return jax.tree_util.tree_map_with_path(sharding, arrays)


def _spec(path: Path) -> P:
    for key in reversed(path):
        name = getattr(key, "name", None)
        if name in SPECS:
            return SPECS[name]
    return P()


@dataclass(frozen=True)
class _Division:
    """A size that an axis of the mesh has to divide."""

    name: str
    size: int
    axis: str
    by: int

    def problem(self) -> Problem:
        return Problem(
            f"{self.name} is {self.size}, which does not divide by {self.axis} = {self.by}",
            rule="mesh-does-not-divide",
            hints=(self._hint(),),
        )

    def _hint(self) -> str:
        if "embedding" in self.name:
            return f"set `vocab_multiple: {self.by}`"
        below = self.size - self.size % self.by
        above = below + self.by
        choice = f"{below} or {above}" if below else f"{above}"
        return f"use {choice}, or a different mesh"


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
    row_shards = data * fsdp
    divisions = [
        _Division("model.d_model", spec.d_model, "fsdp", fsdp),
        _Division("the embedding's rows", spec.vocab(vocab_size), "model", model),
        _Division("model.d_ff", spec.d_ff, "model", model),
        _Division("key-value heads", spec.kv_heads, "model", model),
        _Division("batch_size", batch_size, "data x fsdp", row_shards),
    ]
    found = [division.problem() for division in divisions if division.size % division.by]
    rows, rest = divmod(batch_size, row_shards)
    if not rest and rows % microbatches:
        best = max(n for n in range(1, microbatches) if rows % n == 0)
        what = (
            f"batch_size {batch_size} over {row_shards} devices leaves {rows} rows per device, "
            f"which {microbatches} microbatches do not divide"
        )
        found.append(Problem(what, hints=(f"{best} does",), rule="microbatches"))
    return found


def refuse_undivided(plan: Plan, vocab_size: int, shape: Mapping[str, int], microbatches: int = 1) -> None:
    """Raises CodemixError with all that a mesh of this shape, and its microbatches, do not divide in any
    stage of a plan.
    """
    sizes = {size for stage in plan.stages for _, size in stage.batches}
    found: dict[str, Problem] = {}
    for size in sorted(sizes):
        of_size = problems(plan.recipe.model, vocab_size, size, microbatches, **shape)
        for problem in of_size:
            found[problem.what] = problem
    if found:
        raise CodemixError(*found.values())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over data and fsdp."""
    return NamedSharding(mesh, BATCH)


def host_rows(sharding: Sharding, batch_size: int) -> list[Rows]:
    """Half-open ranges of global rows that this process holds, ascending, each once.

    From the sharding's own map: a mesh may order devices as a ring, so `process_index * rows` would be wrong.
    """
    indices = sharding.addressable_devices_indices_map((batch_size,))
    rows = {_rows(index, batch_size) for index in indices.values()}
    return sorted(rows)


def _rows(index: Index | None, batch_size: int) -> Rows:
    """The rows that an index of a sharded array covers."""
    assert index is not None  # only for devices of other processes
    rows = index[0]
    first, stop, _ = rows.indices(batch_size)
    return first, stop


def put(batch: dict[str, np.ndarray], sharding: Sharding, batch_size: int) -> dict[str, jax.Array]:
    """Global arrays of a batch from this host's rows, which lie in `batch` in the order of `host_rows`."""
    places: dict[Rows, slice] = {}  # global rows -> where they lie in `batch`
    held = 0
    for first, stop in host_rows(sharding, batch_size):
        end = held + stop - first
        places[first, stop] = slice(held, end)
        held = end

    def globally(local: np.ndarray) -> jax.Array:
        given, *rest = local.shape
        if given != held:
            raise ValueError(f"this host holds {held} rows of the batch and was given {given}")

        def part(index: Index | None) -> np.ndarray:
            rows = _rows(index, batch_size)
            return local[places[rows]]

        shape = (batch_size, *rest)
        return jax.make_array_from_callback(shape, sharding, part)

    return {name: globally(local) for name, local in batch.items()}
