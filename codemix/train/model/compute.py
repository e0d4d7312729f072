"""How a model is computed: on which devices, in which dtype, what the backward pass keeps.
One value, handed down whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from codemix.errors import CodemixError, did_you_mean
from codemix.train.model import attention
from codemix.train.model.attention import Attention
from codemix.train.model.layers import PRODUCT

REMAT: dict[str, Callable[[Callable], Callable]] = {  # by what the backward pass finds saved
    "none": lambda f: f,  # everything
    "full": jax.checkpoint,  # the input of a block
    "dots": lambda f: jax.checkpoint(f, policy=jax.checkpoint_policies.save_only_these_names(PRODUCT)),
}


@dataclass(frozen=True)
class Compute:
    """How to compute; without arguments plainly, on one CPU in float32.
    `compute_for` has the defaults of a platform.

    Apart from `dropout`, which a recipe decides, nothing here changes a result beyond rounding.
    """

    platform: str = "cpu"
    attention: Attention = attention.xla
    dtype: jnp.dtype = jnp.dtype("float32")
    remat: str = "none"
    dropout: float = 0.0  # share of the values zeroed, where random keys are given
    chunk: int | None = None  # positions whose logits exist at once; None: what the platform holds
    unroll: int | bool = 1  # layers per turn of the loop over layers
    mesh: Mesh | None = None

    def __post_init__(self) -> None:
        if self.remat not in REMAT:
            choices = ", ".join(f"`{name}`" for name in REMAT)
            raise CodemixError(
                f"`remat` is `{self.remat}`; it is {choices}",
                hints=did_you_mean(self.remat, REMAT),
                rule="train-option",
            )

    @property
    def sharded(self) -> Mesh | None:
        """The mesh, if it has several devices: one device exchanges nothing."""
        if self.mesh is None or self.mesh.size == 1:
            return None
        return self.mesh


def compute_for(
    mesh: Mesh | None = None, *, platform: str | None = None, dtype: str = "auto", **options: Any
) -> Compute:
    """How to compute on this mesh (default: one device of this process),
    or as on `platform` without having it.

    `dtype` auto is float32 on a CPU and bfloat16 elsewhere; `options` are further fields of `Compute`.
    """
    platform = platform or platform_of(mesh)
    return Compute(
        platform=platform,
        attention=attention.for_platform(platform, mesh),
        dtype=jnp.dtype(_dtype_name(dtype, platform)),
        mesh=mesh,
        **options,
    )


def platform_of(mesh: Mesh | None) -> str:
    """The platform of a mesh's devices, present or only described; without a mesh that of this process."""
    if mesh is None:
        return jax.default_backend()
    return mesh.devices.flat[0].platform


def _dtype_name(asked: str, platform: str) -> str:
    if asked != "auto":
        return asked
    return "float32" if platform == "cpu" else "bfloat16"
