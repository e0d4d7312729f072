"""Stretches of steps in which the size of a step is constant: how much lies before a step, and which step
holds what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Stretch(NamedTuple):
    """Steps from `first_step` up to the next stretch, each of `size`: rows, or tokens."""

    first_step: int
    size: int


class _Bounded(NamedTuple):
    """A stretch with the step before which it ends."""

    first_step: int
    end: int
    size: int


Stretches = Sequence[tuple[int, int]]  # first step and size of each


def size_of(stretches: Stretches, step: int) -> int:
    """The size of a step."""
    for first_step, size in reversed(stretches):
        if first_step <= step:
            return size
    raise IndexError(f"step {step} is before the first stretch")


def total_before(stretches: Stretches, step: int) -> int:
    """The sizes of the steps before `step`, summed; the last stretch has no end."""
    total = 0
    for first_step, end, size in _bounds(stretches, step):
        steps = min(step, end) - first_step
        total += max(0, steps) * size
    return total


def step_holding(stretches: Stretches, steps: int, unit: int) -> int:
    """The step of `steps` that holds the `unit`-th row or token. Raises IndexError for one beyond them."""
    before = 0
    for first_step, end, size in _bounds(stretches, steps):
        inside = unit - before
        if inside < (end - first_step) * size:
            return first_step + inside // size
        before += (end - first_step) * size
    raise IndexError(f"row {unit} is beyond the stage's {before} rows")


def _bounds(stretches: Stretches, last_end: int) -> Iterator[_Bounded]:
    """The stretches, each up to the next; the last one ends at `last_end`."""
    starts = [first_step for first_step, _ in stretches]
    ends = [*starts[1:], last_end]
    bounded = zip(stretches, ends, strict=True)
    for (first_step, size), end in bounded:
        yield _Bounded(first_step, end, size)
