"""What compiling ahead of time says, as a value and in words."""

from __future__ import annotations

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
    """Of one chip [bytes], as the compiler counts it. `peak` is what is live at once, and decides; arguments + temporaries bound it."""

    arguments: int  # weights, moments, the batch
    temporaries: int
    outputs: int  # that do not reuse an argument's place
    program: int
    peak: int


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
    available: int | None = None  # [bytes] a chip, said by the compiler when a program does not fit
    needed: int | None = None
    memory: Memory | None = None
    collectives: list[Collective] = field(default_factory=list)
    flops_per_step: int = 0
    mfu: float = 0.0
    step_s: float | None = None
    chip_hours: float | None = None
    paper_chip_hours: float | None = None  # the paper's figure, for so many tokens
    paper_mfu: float | None = None  # that it implies for this shape
    compile_s: float = 0.0
    hints: tuple[str, ...] = ()

    @property
    def chips(self) -> int:
        return self.mesh["data"] * self.mesh["fsdp"] * self.mesh["model"]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"chips": self.chips, "collectives": [c.as_json() for c in self.collectives]}


def knobs(
    stage: StagePlan, shape: dict[str, int], microbatches: int, remat: str, lack: tuple[int, int]
) -> tuple[str, ...]:
    """What would make a program smaller, the cheapest first."""
    rows, hints = max(size for _, size in stage.batches) // (shape["data"] * shape["fsdp"]), []
    if remat != "full":
        hints.append("`--remat full` keeps only the input of each layer, for about a third more compute")
    if rows > microbatches:
        fewer = min((n for n in range(2, rows + 1) if rows % n == 0 and n > microbatches), default=rows)
        hints.append(
            f"`--microbatches {fewer}` holds {rows // fewer} of a chip's {rows} rows at a time; the result is the same sum"
        )
    if stage.model.d_model % (2 * shape["fsdp"]) == 0 and shape["data"] > 1:
        hints.append(
            f"`--mesh data={shape['data'] // 2},fsdp={2 * shape['fsdp']}` halves each chip's weights and moments, and sends more"
        )
    hints.append("a larger slice, a smaller batch_size, or a shorter seq_len")
    if lack[0]:
        hints.insert(0, f"it needs {lack[0] / GIB:.2f} GiB a chip and there are {lack[1] / GIB:.2f}")
    return tuple(hints)


def render(results: list[Result], say: Callable[[str], None] = print) -> None:
    """Print the results for people."""
    for r in results:
        mesh = " x ".join(f"{name} {size}" for name, size in r.mesh.items())
        step = f"{r.batch_size} x {r.seq_len} tokens a step, {r.microbatches} microbatch{'es' * (r.microbatches > 1)}, remat {r.remat}"
        say(
            f"{r.stage} on {r.topology} ({r.chips} chips, {mesh}): {r.parameters / 1e6:,.1f}M parameters, {step}; compiled in {r.compile_s:.0f} s"
        )
        if not r.fits:
            say("DOES NOT FIT")
        for hint in r.hints:
            say(f"hint: {hint}")
        if r.memory is not None:
            say(f"fits: {show_memory(r.memory.peak)} a chip at the peak")
            memory_table(r.memory).print()
            collective_table(r.collectives).print()
        times = ""
        if r.step_s is not None:
            hours = f"{r.chip_hours:,.{0 if r.chip_hours >= 10 else 3}f} chip-hours for {show_tokens(r.tokens)} tokens"
            times = f"; at {r.mfu:.0%} MFU (assumed, not measured) {r.step_s:.3g} s a step, {hours}"
        say(f"{r.flops_per_step:.3e} FLOPs a step by formula{times}")
        if r.paper_chip_hours is not None:
            say(
                f"the paper's {r.paper_chip_hours:,.0f} chip-hours for so many tokens would be {r.paper_mfu:.0%} MFU of this shape"
            )
        say("")


def show_memory(size: int) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB // 10 else f"{size / 2**20:.2f} MiB"


def memory_table(memory: Memory) -> Table:
    rows = [[name, show_memory(value)] for name, value in asdict(memory).items()]
    return Table(
        "Memory of a chip",
        ["what", ">size"],
        rows,
        ["counted by the compiler; arguments are weights, moments and the batch"],
    )


def collective_table(found: list[Collective], most: int = 8) -> Table:
    rows = [[c.kind, c.array, f"{c.times:,}", f"{c.total_bytes / 1e6:,.1f}", c.origin] for c in found[:most]]
    total = sum(c.total_bytes for c in found)
    note = f"{len(found)} kinds of collectives, {total / 1e9:.2f} GB a step in all; whole arrays, not what crosses one link"
    return Table(
        "Largest collectives of a step", ["kind", "array", ">times", ">MB a step", "from"], rows, [note]
    )
