"""The train step compiled ahead of time for a TPU slice, on any machine: does it fit, what does it send, what would it take.

The program is the trainer's own (train/step/step.py) with the stage's shapes; only the devices are those of a described slice. libtpu from
PyPI compiles it and counts its memory; nothing runs, so step times are estimates from a stated utilisation, never measurements.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any

from codemix.errors import CodemixError
from codemix.recipe.planning import cost_estimate
from codemix.recipe.planning.chips import CHIPS
from codemix.train.aot.collectives import Collective, collectives
from codemix.train.aot.report import Memory, Result, knobs, render
from codemix.train.run.memory import is_out_of_memory

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from codemix.recipe.planning.plan import Plan, StagePlan
    from codemix.train.step.step import Step

__all__ = ["Result", "aot", "lower_for", "render"]
ENVIRONMENT = {  # compiling only: no TPU is looked for, and several compilations may run at once
    "JAX_PLATFORMS": "cpu",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
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
    """Compile the step of each stage (or of `stage`) for a slice such as `v5e:16x16`. Stages of equal shapes compile once.

    Raises CodemixError for a slice that does not exist, a mesh that does not divide, or where libtpu is not installed. A program that
    does not fit is a result, not an error: `fits` is False and `hints` name what would help.
    """
    stages = [s for s in plan.stages if stage in (None, s.name)]
    if not stages:
        raise CodemixError(
            f"there is no stage `{stage}`",
            hints=[f"stages: {', '.join(s.name for s in plan.stages)}"],
            rule="unknown-stage",
        )
    vocab = vocab_size or cost_estimate.vocabulary(plan)
    if not vocab:
        raise CodemixError(
            "the recipe does not say how large the vocabulary is",
            hints=["give the tokenizer a `vocab_size:`"],
            rule="vocabulary-unknown",
        )
    devices = slice_devices(topology)
    shape = mesh_shape(plan, mesh, len(devices), vocab, microbatches)
    n_sources, compiled, results = max(len(s.sources) for s in plan.stages), {}, []
    for one in stages:
        same = (one.model, one.seq_len, largest_batch(one), one.doc_mask, one.reset_positions)
        if same not in compiled:
            compiled[same] = _compile(one, vocab, n_sources, devices, shape, microbatches, remat)
        results.append(_result(one, topology, shape, vocab, microbatches, remat, mfu, *compiled[same]))
    return results


def slice_devices(topology: str) -> list:
    """The chips of a described slice. Raises CodemixError (`no-libtpu`, `unknown-topology`)."""
    hints = ["for example v5e:1x1, v5e:2x2, v5e:4x4, v5e:8x8, v5e:16x16, v6e:4x4, v5p:2x2x2"]
    if not re.fullmatch(r"\w+:\d+x\d+(x\d+)?", topology):
        raise CodemixError(
            f"`{topology}` is not the name of a TPU slice", hints=hints, rule="unknown-topology"
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    # A slice smaller than a host's 2 x 2 chips has to say so.
    small = re.fullmatch(r"\w+:([12])x1", topology)
    bounds = {"chips_per_host_bounds": (int(small[1]), 1, 1)} if small else {}
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology, **bounds).devices)
    except RuntimeError as error:  # JaxRuntimeError is one
        said = str(error)
        if "not installed" in said:
            hints = ["`pip install 'codemix[tpu]'`; it needs no TPU"]
            raise CodemixError(
                "compiling for a TPU needs libtpu, which is not installed", hints=hints, rule="no-libtpu"
            ) from None
        reason = said.split(": ", 1)[-1].splitlines()[0]
        raise CodemixError(
            f"there is no TPU slice `{topology}`: {reason}", hints=hints, rule="unknown-topology"
        ) from None


def mesh_shape(
    plan: Plan, asked: dict[str, int] | None, chips: int, vocab_size: int, microbatches: int = 1
) -> dict[str, int]:
    """The mesh asked for, or the trainer's default on so many chips. Raises CodemixError for what does not divide."""
    from codemix.train.model.mesh import refuse_undivided

    shape = {"data": 1, "fsdp": 1, "model": 1} | (asked or {})
    if asked is None:
        while (
            shape["fsdp"] < 16
            and chips % (2 * shape["fsdp"]) == 0
            and plan.recipe.model.d_model % (2 * shape["fsdp"]) == 0
        ):
            shape["fsdp"] *= 2
        shape["data"] = chips // shape["fsdp"]
    if shape["data"] * shape["fsdp"] * shape["model"] != chips:
        raise CodemixError(
            f"a mesh of {shape['data']} x {shape['fsdp']} x {shape['model']} has not the {chips} chips of the slice",
            hints=[f"for example `--mesh data={chips // 16 or 1},fsdp={min(chips, 16)}`"],
            rule="mesh-not-slice",
        )
    refuse_undivided(plan, vocab_size, shape, microbatches)
    return shape


def largest_batch(stage: StagePlan) -> int:
    """Rows of the stage's largest step, the one that needs most memory."""
    return max(size for _, size in stage.batches)


def batch_shapes(stage: StagePlan, sharding: Any) -> dict[str, Any]:
    """The batch of data/loader/batches.py as shapes, in the stage's largest size."""
    import jax
    import jax.numpy as jnp

    rows = largest_batch(stage)
    whole = {"inputs": jnp.int32, "targets": jnp.int32, "weights": jnp.float32}
    whole |= {"segments": jnp.int32} if stage.doc_mask == "segment" else {}
    whole |= {"positions": jnp.int32} if stage.reset_positions else {}
    shapes = {
        name: jax.ShapeDtypeStruct((rows, stage.seq_len), dtype, sharding=sharding)
        for name, dtype in whole.items()
    }
    return shapes | {"source": jax.ShapeDtypeStruct((rows,), jnp.int32, sharding=sharding)}


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
    from codemix.train.step.step import make_step, words_of

    return make_step(
        stage.model,
        vocab_size,
        n_sources,
        mesh,
        remat=remat,
        accumulate=microbatches,
        **words_of(stage.training),
    )


def lower_for(platform: str, step: Step, stage: StagePlan) -> Any:
    """The step lowered for `tpu` or `cuda` on whatever devices its mesh has: none of the kind is needed, and nothing is compiled.

    Shows that model, loss and attention kernel can be said to such a device at all. Attention and dtype become the device's.
    """
    import jax.numpy as jnp

    from codemix.train.model import attention

    step.loss_options |= {
        "attention": attention.for_platform(platform, step.mesh),
        "compute_dtype": jnp.dtype("bfloat16"),
    }
    return step.lower(batch_shapes(stage, step.batch_sharding), platform)


def _compile(
    stage: StagePlan, vocab: int, n_sources: int, devices: list, shape: dict, microbatches: int, remat: str
) -> tuple:
    """(memory, collectives, (needed, available) when it does not fit, seconds)."""
    import jax

    from codemix.progress import progress
    from codemix.train.model.mesh import make_mesh

    began = time.monotonic()
    step = step_for(
        stage, vocab, n_sources, make_mesh(**shape, devices=devices), microbatches=microbatches, remat=remat
    )
    with progress(f"compiling {stage.name} for {len(devices)} chips", None) as advance:
        lowered = step.lower(batch_shapes(stage, step.batch_sharding))
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            if (amounts := out_of_memory(str(error))) is None:
                raise
            return None, [], amounts, time.monotonic() - began
        advance()
    said = compiled.memory_analysis()
    outputs = said.output_size_in_bytes - said.alias_size_in_bytes
    live = said.argument_size_in_bytes + said.temp_size_in_bytes + outputs
    memory = Memory(
        said.argument_size_in_bytes,
        said.temp_size_in_bytes,
        outputs,
        said.generated_code_size_in_bytes,
        getattr(said, "peak_memory_in_bytes", 0) or live,
    )
    return memory, collectives(compiled.as_text()), None, time.monotonic() - began


def out_of_memory(message: str) -> tuple[int, int] | None:
    """(needed, available) [bytes a chip] from the compiler's words, or None when they say something else."""
    if not is_out_of_memory(message):
        return None
    unit = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "": 1}
    for pattern in (
        r"\(([\d.]+)([KMGT]?)i?B?\) exceeds available \w+ \(([\d.]+)([KMGT]?)",
        r"[Uu]sed ([\d.]+)([KMGT]?)i?B? of ([\d.]+)([KMGT]?)",
    ):
        if match := re.search(pattern, message):
            return int(float(match[1]) * unit[match[2]]), int(float(match[3]) * unit[match[4]])
    return (0, 0)


def _result(
    stage: StagePlan,
    topology: str,
    shape: dict,
    vocab: int,
    microbatches: int,
    remat: str,
    mfu: float,
    memory: Memory | None,
    sent: list[Collective],
    lack: tuple[int, int] | None,
    seconds: float,
) -> Result:
    parameters, batch = stage.model.parameters(vocab), largest_batch(stage)
    per_token = stage.model.flops_per_token(vocab, stage.seq_len)
    chip = CHIPS.get(topology.partition(":")[0])
    result = Result(
        stage=stage.name,
        topology=topology,
        mesh=shape,
        batch_size=batch,
        seq_len=stage.seq_len,
        microbatches=microbatches,
        remat=remat,
        parameters=parameters,
        tokens=stage.tokens,
        fits=lack is None,
        memory=memory,
        collectives=sent,
        mfu=mfu,
        compile_s=round(seconds, 1),
        flops_per_step=batch * stage.seq_len * per_token,
    )
    if lack is not None:
        result.needed, result.available = lack if lack[0] else (None, None)
        result.hints = knobs(stage, shape, microbatches, remat, lack)
    if chip is not None:
        peak = chip.tflops * 1e12
        result.step_s = result.flops_per_step / (peak * mfu * result.chips)
        result.chip_hours = stage.tokens * per_token / (peak * mfu) / 3600
        for size, hours in PAPER:
            if abs(parameters / size - 1) < 0.05 and topology.startswith("v5e:"):
                result.paper_chip_hours = hours * stage.tokens / PAPER_TOKENS
                result.paper_mfu = PAPER_TOKENS * per_token / peak / 3600 / hours
    return result
