"""What a compiled program sends between devices, read off its HLO text, with loops counted."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

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
    by_place: dict[str, Collective] = {}
    for name, times in _times(bodies, entry).items():
        for line in bodies[name]:
            collective = _collective(line, times)
            if collective is None:
                continue
            if collective.kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                collective = dataclasses.replace(collective, kind="reduce-scatter")
            place = _place(line, name)
            before = by_place.get(place, collective)
            by_place[place] = max(before, collective, key=_total_bytes)
    merged = _merged(by_place.values())
    return sorted(merged, key=lambda c: (-c.total_bytes, c.kind, c.array, c.origin))


def _total_bytes(collective: Collective) -> int:
    return collective.total_bytes


def _place(line: str, computation: str) -> str:
    """Equal for what is one collective."""
    channel = re.search(r"channel_id=(\d+)", line)
    if channel is None:
        return f"{computation} {line}"
    return f"channel {channel[1]}"


def _merged(found: Iterable[Collective]) -> Iterable[Collective]:
    """Those that differ in nothing but their place as one."""
    merged: dict[tuple[str, str, str], Collective] = {}
    for collective in found:
        kind = (collective.kind, collective.array, collective.origin)
        times = collective.times
        if kind in merged:
            times += merged[kind].times
        merged[kind] = dataclasses.replace(collective, times=times)
    return merged.values()


def _collective(line: str, times: int) -> Collective | None:
    match = _INSTRUCTION.match(line)
    if match is None:
        return None
    instruction = match[3]
    kind = instruction.removesuffix("-start")
    if kind not in KINDS:
        return None
    arrays = [_array(dtype, dims) for dtype, dims in _ARRAY.findall(match[2])]
    arrays = [array for array in arrays if array.size_bytes] or [_SCALAR]
    n_arrays = len(arrays)
    if kind != instruction and kind != "all-reduce" and n_arrays > 1:
        arrays = arrays[n_arrays // 2 :]  # the first half are what it takes
    size = sum(array.size_bytes for array in arrays)
    if kind == "reduce-scatter":  # what it takes is larger than what it makes
        size *= _group_size(line)
    origin = re.search(r'op_name="([^"]*)"', line)
    place = _short(origin[1]) if origin else ""
    return Collective(kind, _description(arrays), int(size), times, place)


class _Array(NamedTuple):
    size_bytes: float
    text: str  # type and shape


_SCALAR = _Array(4, "a scalar")


def _array(dtype: str, dims: str) -> _Array:
    text = f"{dtype}[{dims}]"
    if not dims:
        return _Array(0, text)
    sizes = [int(size) for size in dims.split(",")]
    width = _WIDTH.get(dtype, 4)
    return _Array(math.prod(sizes) * width, text)


def _description(arrays: list[_Array]) -> str:
    largest = max(arrays)
    more = len(arrays) - 1
    return f"{largest.text} and {more} more" if more else largest.text


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
