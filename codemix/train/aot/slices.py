"""Slices of accelerators that need not be here, and the mesh of one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from codemix.errors import CodemixError

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan

ENVIRONMENT = {  # compiling only: no TPU is looked for, and several compilations may run at once
    "JAX_PLATFORMS": "cpu",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

SLICES = "for example v5e:1x1, v5e:2x2, v5e:4x4, v5e:8x8, v5e:16x16, v6e:4x4, v5p:2x2x2"


def slice_devices(topology: str) -> list:
    """The chips of a described slice. Raises CodemixError (`no-libtpu`, `unknown-topology`)."""
    if not re.fullmatch(r"\w+:\d+x\d+(x\d+)?", topology):
        raise CodemixError(
            f"`{topology}` is not the name of a TPU slice", hints=[SLICES], rule="unknown-topology"
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    # A slice smaller than a host's 2 x 2 chips has to say so.
    small = re.fullmatch(r"\w+:([12])x1", topology)
    bounds = {"chips_per_host_bounds": (int(small[1]), 1, 1)} if small else {}
    try:
        described = topologies.get_topology_desc(platform="tpu", topology_name=topology, **bounds)
    except RuntimeError as error:  # JaxRuntimeError is one
        raise _no_slice(topology, str(error)) from None
    return list(described.devices)


def _no_slice(topology: str, message: str) -> CodemixError:
    if "not installed" in message:
        return CodemixError(
            "compiling for a TPU needs libtpu, which is not installed",
            hints=["`pip install 'codemix[tpu]'`; it needs no TPU"],
            rule="no-libtpu",
        )
    reason = message.split(": ", 1)[-1].splitlines()[0]
    return CodemixError(
        f"there is no TPU slice `{topology}`: {reason}", hints=[SLICES], rule="unknown-topology"
    )


def mesh_shape(
    plan: Plan, asked: Mapping[str, int] | None, chips: int, vocab_size: int, microbatches: int = 1
) -> dict[str, int]:
    """The mesh asked for, or the trainer's default on this number of chips. Raises CodemixError for what does
    not divide.
    """
    from codemix.train.model.mesh import default_shape, refuse_undivided

    shape = default_shape(chips, plan.recipe.model.d_model)
    if asked is not None:
        shape = {"data": 1, "fsdp": 1, "model": 1} | dict(asked)
    if shape["data"] * shape["fsdp"] * shape["model"] != chips:
        raise CodemixError(
            f"a mesh of {shape['data']} x {shape['fsdp']} x {shape['model']} does not have "
            f"the {chips} chips of the slice",
            hints=[f"for example `--mesh data={chips // 16 or 1},fsdp={min(chips, 16)}`"],
            rule="mesh-not-slice",
        )
    refuse_undivided(plan, vocab_size, shape, microbatches)
    return shape
