"""The train step compiled ahead of time for a TPU slice, on any machine: does it fit, what does it send, what
would it take.

The program is the trainer's own (train/step/step.py) with the stage's shapes; only the devices are those of a
described slice. libtpu from PyPI compiles it and counts its memory; nothing runs, so step times are estimates
from a stated utilisation, never measurements.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codemix.errors import CodemixError
from codemix.recipe.planning import cost_estimate
from codemix.recipe.planning.chips import CHIPS
from codemix.train.aot.collectives import Collective, collectives
from codemix.train.aot.memory import memory_of, out_of_memory
from codemix.train.aot.report import Lack, Memory, Result, Setup, knobs, render
from codemix.train.aot.slices import mesh_shape, slice_devices

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from codemix.recipe.planning.plan import Plan, StagePlan
    from codemix.train.step.step import Step

__all__ = ["Result", "Setup", "aot", "lower_for", "render"]
PAPER = (  # arXiv 2408.10914 section 2.3: chip-hours of TPU v5e for 200B tokens, by parameters
    (470e6, 4_736.0),
    (2.8e9, 13_824.0),
)
PAPER_TOKENS = 200 * 10**9


def aot(
    plan: Plan,
    topology: str,
    *,
    stage: str | None = None,
    mesh: dict[str, int] | None = None,
    microbatches: int = 1,
    remat: str = "full",
    mfu: float = 0.4,
    vocab_size: int | None = None,
) -> list[Result]:
    """Compile the step of each stage (or of `stage`) for a slice such as `v5e:16x16`. Stages of equal shapes
    compile once.

    Raises CodemixError for a slice that does not exist, a mesh that does not divide, or where libtpu is not
    installed. A program that does not fit is a result, not an error: `fits` is False and `hints` name what
    would help.
    """
    stages = plan.stages if stage is None else [plan.stage(stage)]
    vocab = vocab_size or cost_estimate.vocabulary(plan)
    if not vocab:
        raise CodemixError(
            "the recipe does not say how large the vocabulary is",
            hints=["give the tokenizer a `vocab_size:`"],
            rule="vocabulary-unknown",
        )
    devices = slice_devices(topology)
    shape = mesh_shape(plan, mesh, len(devices), vocab, microbatches)
    setup = Setup(topology, shape, vocab, microbatches, remat)
    n_sources = max(len(one.sources) for one in plan.stages)
    compiled: dict[tuple, Compiled] = {}
    results = []
    for one in stages:
        same = (one.model, one.seq_len, largest_batch(one), one.doc_mask, one.reset_positions)
        if same not in compiled:
            compiled[same] = _compile(one, n_sources, devices, setup)
        results.append(_result(one, setup, mfu, compiled[same]))
    return results


def largest_batch(stage: StagePlan) -> int:
    """Rows of the stage's largest step, the one that needs most memory."""
    return max(size for _, size in stage.batches)


def batch_shapes(stage: StagePlan, sharding: Any) -> dict[str, Any]:
    """The batch of data/loader/batches.py as shapes, in the stage's largest size."""
    import jax
    import jax.numpy as jnp

    rows = largest_batch(stage)
    dtypes: dict[str, Any] = {"inputs": jnp.int32, "targets": jnp.int32, "weights": jnp.float32}
    if stage.doc_mask == "segment":
        dtypes["segments"] = jnp.int32
    if stage.reset_positions:
        dtypes["positions"] = jnp.int32

    shape = functools.partial(jax.ShapeDtypeStruct, sharding=sharding)
    shapes = {name: shape((rows, stage.seq_len), dtype) for name, dtype in dtypes.items()}
    return shapes | {"source": shape((rows,), jnp.int32)}


def step_for(
    stage: StagePlan,
    vocab_size: int,
    n_sources: int,
    mesh: Mesh,
    *,
    microbatches: int = 1,
    remat: str = "full",
) -> Step:
    """The trainer's step for a stage on a mesh."""
    from codemix.train.step.step import step_for_training

    return step_for_training(
        stage.training, stage.model, vocab_size, n_sources, mesh, microbatches=microbatches, remat=remat
    )


def lower_for(platform: str, step: Step, stage: StagePlan) -> Any:
    """The step lowered for `tpu` or `cuda` on whatever devices its mesh has: no such device is needed, and
    nothing is compiled.

    Shows that model, loss and attention kernel can be expressed for such a device at all.
    """
    batch = batch_shapes(stage, step.batch_sharding)
    return step.for_platform(platform).lower(batch, platform)


@dataclass(frozen=True)
class Compiled:
    """What the compiler says about the step of one stage."""

    seconds: float
    memory: Memory | None = None  # None: it does not fit
    lack: Lack | None = None
    collectives: list[Collective] = field(default_factory=list)


def _compile(stage: StagePlan, n_sources: int, devices: list, setup: Setup) -> Compiled:
    import jax

    from codemix.progress import progress
    from codemix.train.model.mesh import mesh_of

    began = time.monotonic()
    mesh = mesh_of(setup.mesh, devices)
    step = step_for(
        stage, setup.vocab_size, n_sources, mesh, microbatches=setup.microbatches, remat=setup.remat
    )
    with progress(f"compiling {stage.name} for {len(devices)} chips", None) as advance:
        lowered = step.lower(batch_shapes(stage, step.batch_sharding))
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            lack = out_of_memory(str(error))
            if lack is None:
                raise
            return Compiled(time.monotonic() - began, lack=lack)
        advance()
    sent = collectives(compiled.as_text())
    return Compiled(time.monotonic() - began, memory=memory_of(compiled), collectives=sent)


def _result(stage: StagePlan, setup: Setup, mfu: float, compiled: Compiled) -> Result:
    batch = largest_batch(stage)
    flops_per_token = stage.model.flops_per_token(setup.vocab_size, stage.seq_len)
    result = Result(
        stage=stage.name,
        topology=setup.topology,
        mesh=setup.mesh,
        batch_size=batch,
        seq_len=stage.seq_len,
        microbatches=setup.microbatches,
        remat=setup.remat,
        parameters=stage.model.parameters(setup.vocab_size),
        tokens=stage.tokens,
        fits=compiled.lack is None,
        memory=compiled.memory,
        collectives=compiled.collectives,
        mfu=mfu,
        compile_s=round(compiled.seconds, 1),
        flops_per_step=batch * stage.seq_len * flops_per_token,
    )
    if compiled.lack is not None:
        result.needed = compiled.lack.needed
        result.available = compiled.lack.available
        result.hints = knobs(stage, setup, compiled.lack)
    _add_times(result, flops_per_token)
    return result


def _add_times(result: Result, flops_per_token: int) -> None:
    """How long a step and the stage would take at the stated utilisation,
    and what the paper says of such a model.
    """
    kind = result.topology.partition(":")[0]
    chip = CHIPS.get(kind)
    if chip is None:
        return
    flops_per_s = chip.peak_flops * result.mfu
    result.step_s = result.flops_per_step / (flops_per_s * result.chips)
    result.chip_hours = result.tokens * flops_per_token / flops_per_s / 3600
    for size, hours in PAPER:
        is_like = abs(result.parameters / size - 1) < 0.05
        if kind == "v5e" and is_like:
            result.paper_chip_hours = hours * result.tokens / PAPER_TOKENS
            paper_flops = PAPER_TOKENS * flops_per_token
            result.paper_mfu = paper_flops / chip.peak_flops / 3600 / hours
