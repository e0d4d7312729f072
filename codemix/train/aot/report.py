"""What compiling ahead of time says, as a value and in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from codemix.recipe.language.quantities import show_tokens
from codemix.tables import Table
from codemix.train.aot.collectives import Collective

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan

GIB = 2**30


@dataclass(frozen=True)
class Memory:
    """Of one chip [bytes], as the compiler counts it. `peak` is what is live at once, and decides; arguments
    + temporaries bound it.
    """

    arguments: int  # weights, moments, the batch
    temporaries: int
    outputs: int  # that do not reuse an argument's place
    program: int
    peak: int


@dataclass(frozen=True)
class Lack:
    """Of a program that does not fit: what it needs and what a chip has [bytes];
    None where the compiler does not say.
    """

    needed: int | None = None
    available: int | None = None


@dataclass(frozen=True)
class Setup:
    """What a stage is compiled for, and how."""

    topology: str
    mesh: dict[str, int]
    vocab_size: int
    microbatches: int
    remat: str


@dataclass
class Result:
    """What compiling one stage for one slice says."""

    stage: str
    topology: str
    mesh: dict[str, int]
    batch_size: int
    seq_len: int
    microbatches: int
    remat: str
    parameters: int
    tokens: int
    fits: bool
    available: int | None = None  # [bytes] per chip, as the compiler says when a program does not fit
    needed: int | None = None
    memory: Memory | None = None
    collectives: list[Collective] = field(default_factory=list)
    flops_per_step: int = 0
    mfu: float = 0.0
    step_s: float | None = None
    chip_hours: float | None = None
    paper_chip_hours: float | None = None  # the paper's figure, for this number of tokens
    paper_mfu: float | None = None  # that it implies for this shape
    compile_s: float = 0.0
    hints: tuple[str, ...] = ()

    @property
    def chips(self) -> int:
        return math.prod(self.mesh.values())

    def as_json(self) -> dict[str, Any]:
        collectives = [found.as_json() for found in self.collectives]
        values = asdict(self)
        return values | {"chips": self.chips, "collectives": collectives}


def knobs(stage: StagePlan, setup: Setup, lack: Lack) -> tuple[str, ...]:
    """What would make a program smaller, the cheapest first."""
    data, fsdp = setup.mesh["data"], setup.mesh["fsdp"]
    largest_batch = max(size for _, size in stage.batches)
    rows = largest_batch // (data * fsdp)
    hints = []
    if lack.needed is not None and lack.available is not None:
        hints.append(
            f"it needs {lack.needed / GIB:.2f} GiB per chip and there are {lack.available / GIB:.2f}"
        )
    if setup.remat != "full":
        hints.append("`--remat full` keeps only the input of each layer, for about a third more compute")
    if rows > setup.microbatches:
        more = min(n for n in range(setup.microbatches + 1, rows + 1) if rows % n == 0)
        hints.append(
            f"`--microbatches {more}` holds {rows // more} of a chip's {rows} rows at a time; "
            "the result is the same sum"
        )
    if stage.model.d_model % (2 * fsdp) == 0 and data > 1:
        hints.append(
            f"`--mesh data={data // 2},fsdp={2 * fsdp}` halves each chip's weights and moments, and sends more"
        )
    hints.append("a larger slice, a smaller batch_size, or a shorter seq_len")
    return tuple(hints)


def render(results: list[Result], say: Callable[[str], None] = print) -> None:
    """Print the results for people."""
    for result in results:
        say(_headline(result))
        if not result.fits:
            say("DOES NOT FIT")
        for hint in result.hints:
            say(f"hint: {hint}")
        if result.memory is not None:
            say(f"fits: {show_memory(result.memory.peak)} per chip at the peak")
            memory_table(result.memory).print()
            collective_table(result.collectives).print()
        say(f"{result.flops_per_step:.3e} FLOPs per step by formula{_times(result)}")
        if result.paper_chip_hours is not None and result.paper_mfu is not None:
            say(
                f"the paper's {result.paper_chip_hours:,.0f} chip-hours for this number of tokens "
                f"would be {result.paper_mfu:.0%} MFU of this shape"
            )
        say("")


def _headline(result: Result) -> str:
    mesh = " x ".join(f"{name} {size}" for name, size in result.mesh.items())
    microbatches = "1 microbatch" if result.microbatches == 1 else f"{result.microbatches} microbatches"
    return (
        f"{result.stage} on {result.topology} ({result.chips} chips, {mesh}): "
        f"{result.parameters / 1e6:,.1f}M parameters, "
        f"{result.batch_size} x {result.seq_len} tokens per step, {microbatches}, remat {result.remat}; "
        f"compiled in {result.compile_s:.0f} s"
    )


def _times(result: Result) -> str:
    if result.step_s is None or result.chip_hours is None:
        return ""
    digits = 0 if result.chip_hours >= 10 else 3
    hours = f"{result.chip_hours:,.{digits}f} chip-hours"
    tokens = show_tokens(result.tokens)
    step = f"{result.step_s:.3g} s per step"
    return f"; at {result.mfu:.0%} MFU (assumed, not measured) {step}, {hours} for {tokens} tokens"


def show_memory(size: int) -> str:
    if size >= GIB // 10:
        return f"{size / GIB:.2f} GiB"
    return f"{size / 2**20:.2f} MiB"


def memory_table(memory: Memory) -> Table:
    rows = [[name, show_memory(value)] for name, value in asdict(memory).items()]
    note = "counted by the compiler; arguments are weights, moments and the batch"
    return Table("Memory of a chip", ["what", ">size"], rows, [note])


def collective_table(found: list[Collective], most: int = 8) -> Table:
    rows = [[c.kind, c.array, f"{c.times:,}", f"{c.total_bytes / 1e6:,.1f}", c.origin] for c in found[:most]]
    total = sum(c.total_bytes for c in found)
    note = (
        f"{len(found)} kinds of collectives, {total / 1e9:.2f} GB per step in all; "
        "whole arrays, not what crosses one link"
    )
    columns = ["kind", "array", ">times", ">MB per step", "from"]
    return Table("Largest collectives of a step", columns, rows, [note])
