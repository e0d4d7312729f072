"""What one accelerator could make of a training step:
FLOPs, bytes and time of each part, from the shapes alone.

Every operation takes as long as the slower of its arithmetic and its memory traffic; operations follow one
another. Bytes are those of operands that are too large for a cache: each is read and written once per
operation. It is a bound from below for the program as train/step writes it, not for the mathematics.
`benchmarks/gpu.py` prints it beside measurements.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from codemix.recipe.language import schema
from codemix.recipe.planning.chips import CHIPS
from codemix.tables import Table

HALF, SINGLE = 2, 4  # bytes of bfloat16 and float32


@dataclass(frozen=True)
class Rates:
    """What a device does in a second: matmuls [FLOP/s], the attention kernel [FLOP/s], memory [bytes/s]."""

    matmul: float
    attention: float
    memory: float


MEMORY = {"h100": 3.35e12, "h200": 4.8e12, "a100": 2.04e12}  # data sheets, SXM [bytes/s]


def data_sheet(chip: str = "h100") -> Rates:
    """The rates of an accelerator as its maker states them, dense bfloat16."""
    peak = CHIPS[chip].peak_flops
    return Rates(peak, peak, MEMORY[chip])


def chip_of(device_kind: str | None) -> str:
    """The name of a device's chip; an H100 where its rates are not known."""
    found = [name for name in MEMORY if device_kind in CHIPS[name].device_kinds]
    return found[0] if found else "h100"


REACH = Rates(0.75, 0.55, 0.85)  # of the data sheet, by good kernels: assumed until a device says otherwise


def reached(peak: Rates, share: Rates = REACH) -> Rates:
    """The rates that kernels are expected to reach."""
    return Rates(
        matmul=peak.matmul * share.matmul,
        attention=peak.attention * share.attention,
        memory=peak.memory * share.memory,
    )


@dataclass(frozen=True)
class Work:
    """One optimizer step on one device."""

    model: schema.Model
    vocab_size: int
    seq_len: int
    rows: int  # at once
    microbatches: int = 1
    remat: str = "none"
    documents: bool = False  # a mask of T x T a row goes into the attention kernel
    logits_at_once: int = 2**28  # elements; train/step/loss.py

    @property
    def tokens(self) -> int:
        return self.rows * self.microbatches * self.seq_len


@dataclass(frozen=True)
class Operation:
    """What it computes, of that what counts for MFU, and what it moves."""

    flops: float
    size_bytes: float
    model_flops: float = 0
    kernel: str = "matmul"  # whose rate its arithmetic has

    def seconds(self, rates: Rates) -> float:
        return max(self.flops / getattr(rates, self.kernel), self.size_bytes / rates.memory)


@dataclass(frozen=True)
class Part:
    """All operations of one kind in a step."""

    name: str
    operations: tuple[Operation, ...]

    @property
    def flops(self) -> float:
        return sum(o.flops for o in self.operations)

    @property
    def size_bytes(self) -> float:
        return sum(o.size_bytes for o in self.operations)

    @property
    def model_flops(self) -> float:
        return sum(o.model_flops for o in self.operations)

    def seconds(self, rates: Rates) -> float:
        return sum(o.seconds(rates) for o in self.operations)


def parts(work: Work) -> list[Part]:
    """The parts of a step. Their `model_flops` add up to `Model.flops_per_token` x tokens."""
    width, inner = work.model.d_model, work.model.d_ff
    heads = work.model.n_heads * work.model.head_size
    kv_heads = work.model.kv_heads * work.model.head_size
    projections = ((width, heads), (width, kv_heads), (width, kv_heads), (heads, width))
    mlp = ((width, inner), (width, inner), (inner, width))
    return [
        Part("projections", _matmuls(work, projections)),
        Part("MLP", _matmuls(work, mlp)),
        Part("attention", _attention(work, heads, kv_heads)),
        Part("norms, RoPE, SwiGLU, sums", _elementwise(work, heads, kv_heads)),
        Part("head and loss", _head(work)),
        Part("lookup", _lookup(work)),
        Part("optimizer", _optimizer(work)),
    ]


def mfu(work: Work, rates: Rates, peak: float) -> float:
    """Model FLOPs over what the device could do in the time that all parts take."""
    found = parts(work)
    return sum(p.model_flops for p in found) / (sum(p.seconds(rates) for p in found) * peak)


def _matmuls(work: Work, shapes: tuple[tuple[int, int], ...]) -> tuple[Operation, ...]:
    """Weight matrices [in, out] of every layer:
    forward, once more under remat, gradient of the input, of the weights.
    """
    found: list[Operation] = []
    for d_in, d_out in shapes:
        weights = d_in * d_out * work.model.n_layers
        flops = 2 * work.tokens * weights
        activations = HALF * work.tokens * (d_in + d_out) * work.model.n_layers
        cast = (SINGLE + 2 * HALF) * weights * work.microbatches  # read the master, write a copy, read it
        gradient = 2 * SINGLE * weights * work.microbatches  # written, then added up or used
        once = Operation(flops, activations + cast, flops)
        if work.remat == "full":
            found.append(Operation(flops, activations + cast))
        found += [once, once, Operation(flops, activations + gradient, flops)]
    return tuple(found)


def _attention(work: Work, heads: int, kv_heads: int) -> tuple[Operation, ...]:
    """The fused kernel: two causal matmuls forward, five backward, of which four count:
    one makes the scores again.
    """
    layers = work.model.n_layers
    one = work.tokens * work.seq_len * heads * layers  # FLOPs of a causal T x T matmul
    read = HALF * work.tokens * (2 * heads + 2 * kv_heads) * layers
    mask = 0
    if work.documents:
        rows = work.rows * work.microbatches
        mask = HALF * rows * work.seq_len**2 * work.model.n_heads * layers
    forward = Operation(2 * one, read + mask, 2 * one, "attention")
    remade = dataclasses.replace(forward, model_flops=0)
    backward = Operation(5 * one, 2 * read + mask, 4 * one, "attention")
    if work.remat == "none":
        return (forward, backward)
    return (forward, remade, backward)


def _elementwise(work: Work, heads: int, kv_heads: int) -> tuple[Operation, ...]:
    """What XLA fuses between matmuls: forward once (again under remat), backward about twice that."""
    model = work.model
    norm_and_sum = 6 * model.d_model
    rope = 2 * (heads + kv_heads) if model.positions == "rope" else 0
    moved = HALF * work.tokens * model.n_layers * (norm_and_sum + rope + 3 * model.d_ff)
    passes = 3 if work.remat == "none" else 4
    gains = 6 * work.tokens * model.n_layers * model.d_model  # parameters of norms count six times too
    return (Operation(0, passes * moved, gains),)


def _head(work: Work) -> tuple[Operation, ...]:
    """Logits of a chunk in float32, three passes over them, two matmuls of their gradient;
    the table's adds up in memory.
    """
    width, rows = work.model.d_model, work.model.vocab(work.vocab_size)
    logits = work.tokens * rows
    chunks = max(work.microbatches, -(-logits // work.logits_at_once))
    flops = 2 * logits * width
    table = HALF * rows * width * chunks
    sums = 2 * SINGLE * rows * width * chunks
    return (
        Operation(flops, SINGLE * logits + table, flops),
        Operation(0, (3 * SINGLE + HALF) * logits),  # largest; sum of powers; gradient
        Operation(flops, HALF * logits + table, flops),
        Operation(flops, HALF * logits + sums, flops),
    )


def _lookup(work: Work) -> tuple[Operation, ...]:
    """Rows of the table read and cast; their gradients added to a table of zeros."""
    rows = work.tokens * work.model.d_model
    zeros = SINGLE * work.vocab_size * work.model.d_model
    forward = Operation(0, (SINGLE + HALF) * rows)
    backward = Operation(0, (HALF + 2 * SINGLE) * rows + zeros)
    return (forward, backward)


def _optimizer(work: Work) -> tuple[Operation, ...]:
    """Norm of the gradients; weights and moments read and written; gradients summed over microbatches."""
    parameters = work.model.parameters(work.vocab_size)
    sums = work.microbatches if work.microbatches > 1 else 0
    norm = Operation(0, SINGLE * parameters)
    update = Operation(0, 7 * SINGLE * parameters)
    added = Operation(0, 3 * SINGLE * parameters * sums)
    return (norm, update, added)


def table(work: Work, expected: Rates, peak: Rates) -> Table:
    """The parts as a table: the bound by the data sheet, and what is expected at rates that kernels reach."""
    found = parts(work)
    whole = Part("whole step", tuple(o for part in found for o in part.operations))
    rows = [_row(part, whole, expected, peak) for part in [*found, whole]]
    columns = ["part", ">TFLOP", ">GB moved", ">bound ms", ">expected ms", ">of the time", ">MFU"]
    rates = (
        f"expected at {expected.matmul / 1e12:,.0f} TFLOP/s in matmuls, {expected.attention / 1e12:,.0f} in attention, "
        f"{expected.memory / 1e12:,.2f} TB/s; the bound is {mfu(work, peak, peak.matmul):.0%} MFU"
    )
    step = (
        f"{work.model.parameters(work.vocab_size) / 1e6:,.0f}M, {work.microbatches} x {work.rows} rows of {work.seq_len}, "
        f"remat {work.remat}, {'with' if work.documents else 'without'} document masks"
    )
    return Table(f"Roofline: {step}", columns, rows, [rates])


def _row(part: Part, whole: Part, expected: Rates, peak: Rates) -> list[str]:
    seconds = part.seconds(expected)
    return [
        part.name,
        f"{part.flops / 1e12:,.1f}",
        f"{part.size_bytes / 1e9:,.1f}",
        f"{part.seconds(peak) * 1e3:,.1f}",
        f"{seconds * 1e3:,.1f}",
        f"{seconds / whole.seconds(expected):.0%}",
        f"{part.model_flops / (seconds * peak.matmul):.0%}",
    ]
