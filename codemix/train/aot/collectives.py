"""What a compiled program sends between devices, read off its HLO text, with loops counted."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass

KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "ragged-all-to-all",
)
_WIDTH = {
    "pred": 1,
    "s4": 0.5,
    "u4": 0.5,
    "s8": 1,
    "u8": 1,
    "bf16": 2,
    "f16": 2,
    "s16": 2,
    "u16": 2,
    "s32": 4,
    "u32": 4,
    "f32": 4,
    "s64": 8,
    "u64": 8,
    "f64": 8,
}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][a-z\-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|called_computations|branch_computations|true_computation|false_computation)=\{?([^,}\s]+(?:, ?%[^,}\s]+)*)\}?"
)


@dataclass(frozen=True)
class Collective:
    """One collective operation. `size_bytes` is the largest whole array that it makes or takes on a device;
    it runs `times` a step.
    """

    kind: str
    array: str  # type and shape, f32[256000,1024]
    size_bytes: int
    times: int
    origin: str  # the JAX operation it comes from, as XLA remembers it

    @property
    def total_bytes(self) -> int:
        return self.size_bytes * self.times

    def as_json(self) -> dict:
        return {
            "kind": self.kind,
            "array": self.array,
            "size_bytes": self.size_bytes,
            "times": self.times,
            "total_bytes": self.total_bytes,
            "origin": self.origin,
        }


def collectives(hlo: str) -> list[Collective]:
    """Every collective of a program, the one that moves most bytes a step first.

    Counted as often as the loops around it turn; a loop whose end cannot be read counts once. XLA may spread
    one collective over several fused computations; they share a channel and are one. A reduce-scatter on TPU
    is a computation `all-reduce-scatter`: an all-reduce of which each device keeps its slice.
    """
    bodies, entry = _computations(hlo)
    found: dict[str, Collective] = {}
    for name, times in _times(bodies, entry).items():
        for line in bodies[name]:
            if (made := _collective(line, times)) is None:
                continue
            if made.kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                made = dataclasses.replace(made, kind="reduce-scatter")
            channel = re.search(r"channel_id=(\d+)", line)
            place = f"channel {channel[1]}" if channel else f"{name} {line}"
            if place not in found or found[place].total_bytes < made.total_bytes:
                found[place] = made
    merged: dict[tuple, Collective] = {}
    for made in found.values():
        same = (made.kind, made.array, made.origin)
        before = merged[same].times if same in merged else 0
        merged[same] = Collective(made.kind, made.array, made.size_bytes, made.times + before, made.origin)
    return sorted(merged.values(), key=lambda c: (-c.total_bytes, c.kind, c.array, c.origin))


def _collective(line: str, times: int) -> Collective | None:
    match = _INSTRUCTION.match(line)
    if match is None or (kind := match[3].removesuffix("-start")) not in KINDS:
        return None
    arrays = [
        (math.prod(map(int, dims.split(","))) * _WIDTH.get(dtype, 4) if dims else 0, f"{dtype}[{dims}]")
        for dtype, dims in _ARRAY.findall(match[2])
    ]
    arrays = [a for a in arrays if a[0]] or [(4, "a scalar")]
    if match[3].endswith("-start") and len(arrays) > 1 and kind != "all-reduce":
        arrays = arrays[len(arrays) // 2 :]  # the first half are what it takes
    size, array = (
        sum(a[0] for a in arrays),
        max(arrays)[1] + (f" and {len(arrays) - 1} more" if len(arrays) > 1 else ""),
    )
    if kind == "reduce-scatter":  # what it takes is larger than what it makes
        size *= _group_size(line)
    origin = re.search(r'op_name="([^"]*)"', line)
    return Collective(kind, array, int(size), times, _short(origin[1]) if origin else "")


def _group_size(line: str) -> int:
    if match := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return match[1].count(",") + 1
    if match := re.search(r"replica_groups=\[(\d+),(\d+)\]", line):
        return int(match[2])
    if match := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
        return math.prod(int(sizes[a]) for a in re.findall(r"'(\w+)'", match[2]))
    return 1


def _short(origin: str) -> str:
    """`jit(_update)/transpose(jvp())/while/body/closed_call/dot_general` as `backward, in a loop:
    dot_general`.
    """
    parts = [
        p
        for p in origin.split("/")
        if p not in ("body", "closed_call", "checkpoint", "rematted_computation") and not p.startswith("jit(")
    ]
    place = (
        "backward"
        if any(p.startswith("transpose") for p in parts)
        else "forward"
        if any(p.startswith("jvp") for p in parts)
        else "update"
    )
    loop = ", in a loop" if "while" in parts else ""
    rest = [p for p in parts if p != "while" and not p.startswith(("transpose", "jvp"))]
    return f"{place}{loop}: {'/'.join(rest[-2:])}"


def _computations(hlo: str) -> tuple[dict[str, list[str]], str]:
    bodies: dict[str, list[str]] = {}
    entry = current = ""
    for line in hlo.splitlines():
        if match := _COMPUTATION.match(line):
            current = match[2]
            bodies[current] = []
            entry = current if match[1] else entry
        elif current:  # up to the next header: a kernel's text inside may hold lines that are only braces
            bodies[current].append(line)
    return bodies, entry


def _times(bodies: dict[str, list[str]], entry: str) -> dict[str, int]:
    """How often each computation runs a step."""
    times: dict[str, int] = {}

    def visit(name: str, count: int) -> None:
        if name not in bodies:
            return
        times[name] = times.get(name, 0) + count
        for line in bodies[name]:
            if loop := re.search(r" while\(.*condition=%?([\w.\-]+), body=%?([\w.\-]+)", line):
                visit(loop[2], count * _turns(line, bodies.get(loop[1], [])))
            else:
                for called in _CALLED.findall(line):
                    for one in called.split(","):
                        visit(one.strip().lstrip("%"), count)

    visit(entry, 1)
    return times


def _turns(line: str, condition: list[str]) -> int:
    """Turns of a loop: as XLA says, or the one whole number that its condition compares with."""
    if known := re.search(r'known_trip_count":?\{"?n"?:"?(\d+)', line):
        return int(known[1])
    bounds = {
        int(n) for text in condition for n in re.findall(r"[su](?:32|64)\[\]\S* constant\((\d+)\)", text)
    }
    return max(1, bounds.pop()) if len(bounds) == 1 else 1
