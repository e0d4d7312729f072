"""The leaves of a saved tree of arrays: their shapes, their checksums, and how they differ from what is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jax.tree_util import keystr, tree_leaves_with_path

from codemix.errors import Problem

Leaves = dict[str, list]  # path of each leaf -> [shape, dtype], as JSON keeps them


def leaves(tree: Any) -> Leaves:
    """Shape and dtype of each leaf."""
    found = {}
    for path, leaf in tree_leaves_with_path(tree):
        shape = list(leaf.shape)
        found[keystr(path)] = [shape, str(leaf.dtype)]
    return found


def abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """An array's shape, dtype and sharding."""
    shape = leaf.shape
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=leaf.sharding)


def gathered(tree: Any) -> Any:
    """The leaves as whole NumPy arrays in the first process, one after the other over its devices; None in others."""
    return jax.tree.map(_gathered, tree)


def _gathered(leaf: jax.Array) -> np.ndarray | None:
    mesh = cast(NamedSharding, leaf.sharding).mesh
    everywhere = NamedSharding(mesh, PartitionSpec())
    whole = jax.jit(_same, out_shardings=everywhere)(leaf)
    if jax.process_index() > 0:
        return None
    return np.array(whole.addressable_data(0))


def _same(leaf: jax.Array) -> jax.Array:
    return leaf


def checksums(tree: Any) -> dict[str, int]:
    """Path of each leaf -> a checksum of its bits, the same on any mesh."""
    on_devices = _checksums(tree)
    values = jax.device_get(on_devices)
    by_path = tree_leaves_with_path(values)
    return {keystr(path): int(checksum) for path, checksum in by_path}


@jax.jit
def _checksums(tree: Any) -> Any:
    return jax.tree.map(_checksum, tree)


def _checksum(leaf: jax.Array) -> jax.Array:
    """The sum of its bits, weighted by odd numbers that differ from place to place, modulo 2^32.

    Whole numbers, so the order of summing does not matter. An odd weight makes no changed value vanish.
    """
    shape = leaf.shape
    bits = _bits(leaf).astype(jnp.uint32)
    place = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        place *= jnp.uint32(size)
        place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    weights = 2 * place + 1
    return jnp.sum(bits * weights, dtype=jnp.uint32)


def _bits(leaf: jax.Array) -> jax.Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    n_bits = 8 * leaf.dtype.itemsize
    return jax.lax.bitcast_convert_type(leaf, jnp.dtype(f"uint{n_bits}"))


def refuse_changed(part: str, written: dict[str, int], restored: Any) -> None:
    """Raises ValueError when leaves of a part have other checksums than were written."""
    found = checksums(restored)
    changed = [path for path in found if found[path] != written.get(path)]
    if not changed:
        return
    first, *others = changed
    more = f" and {len(others):,} more arrays are" if others else " is"
    raise ValueError(f"{part}{first}{more} not what was saved: the checksum differs")


def differences(place: str, saved: Leaves, wanted: Leaves) -> Iterator[Problem]:
    """A problem for each leaf that is not saved as it is wanted."""
    for path in sorted(saved.keys() | wanted.keys()):
        has = _shown(saved.get(path))
        needs = _shown(wanted.get(path))
        if has != needs:
            yield Problem(
                f"{place}{path}: the checkpoint has {has} but this recipe needs {needs}",
                hints=("restore with the model and optimizer it was saved from, or start from scratch",),
                rule="checkpoint-mismatch",
            )


def _shown(leaf: list | None) -> str:
    if leaf is None:
        return "nothing"
    shape, dtype = leaf
    return f"{dtype}{shape}"
