"""What the stages of a run share: the plan, the store, the data, the compiled step, the view, the signals."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax

import codemix
from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.train.model import mesh
from codemix.train.run.interrupt import Interrupts
from codemix.train.run.options import TrainOptions
from codemix.train.run.progress_view import View
from codemix.train.step.step import Step, step_for_training

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan, StagePlan

# Kept between calls, so that stages trained one call at a time still compile once.
shared_step = functools.lru_cache(maxsize=2)(step_for_training)


@dataclass(frozen=True)
class RunContext:
    """The same for all stages of a run."""

    plan: Plan
    store: Store
    manifests: Mapping[str, Manifest]
    tokenizer: Mapping[str, Any]
    options: TrainOptions
    view: View
    interrupts: Interrupts

    @property
    def vocab_size(self) -> int:
        return self.tokenizer["vocab_size"]

    @functools.cached_property
    def is_apart(self) -> bool:
        """Whether the processes of this run share no folder: each has a copy of a store in a bucket, the first one
        holds the leases and writes what the stages leave."""
        return jax.process_count() > 1 and self.store.is_shared

    @functools.cached_property
    def mesh_shape(self) -> dict[str, int]:
        """Raises CodemixError for what does not divide."""
        asked = self.options.mesh
        microbatches = self.options.microbatches
        return mesh.shape_for_plan(self.plan, asked, self.vocab_size, microbatches)

    def step(self, stage: StagePlan) -> Step:
        """The compiled step, one for all stages with the same `rope_theta`; made when one needs it."""
        return shared_step(
            self.plan.recipe.training,
            stage.model,
            self.vocab_size,
            max(len(stage.sources) for stage in self.plan.stages),
            mesh.mesh_of(self.mesh_shape),
            microbatches=self.options.microbatches,
            remat=self.options.remat,
        )

    def place(self) -> dict[str, Any]:
        """Where this runs, for the record: it decides the last bits of a run."""
        return {
            "mesh": self.mesh_shape,
            "processes": jax.process_count(),
            "device": jax.devices()[0].device_kind,
            "versions": versions(),
        }


@functools.cache
def versions() -> dict[str, str]:
    """The packages that decide the last bits of a run."""
    packages = ("jax", "jaxlib", "equinox", "optax", "orbax-checkpoint", "numpy")
    found = {"codemix": codemix.__version__}
    for package in packages:
        found[package] = importlib.metadata.version(package)
    return found
