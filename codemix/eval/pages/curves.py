"""The curves of a stage's training, from the lines of its metrics file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_POINTS = 160  # per stage; longer curves are averaged in bins, so a page stays small whatever the run

Line = Mapping[str, Any]  # of metrics.jsonl
Column = list[float | None]


@dataclass(frozen=True)
class Curves:
    """Columns of equal length over the tokens of the run; a column that was never logged is empty."""

    tokens: list[int] = field(default_factory=list)
    losses: dict[str, Column] = field(default_factory=dict)  # by source [nats per token]
    total: Column = field(default_factory=list)  # over all sources [nats per token]
    lr: Column = field(default_factory=list)
    tokens_per_s: Column = field(default_factory=list)
    grad_norm: Column = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        columns = {
            "*": self.total,
            "lr": self.lr,
            "tokens_per_s": self.tokens_per_s,
            "grad_norm": self.grad_norm,
        }
        logged = {name: column for name, column in columns.items() if column}
        return {**self.losses, "tokens": self.tokens, **logged}


def curves(lines: Sequence[Line], sources: Mapping[str, str]) -> Curves:
    """Losses, learning rate and speed over the tokens of the run; long runs averaged in equal bins.

    `sources` gives for the name of each source the one that it has in the lines.
    """
    bins = _bins(lines)
    losses = {name: _column(bins, f"train/{logged}/loss_nats_per_token") for name, logged in sources.items()}
    return Curves(
        tokens=[group[-1]["tokens"] for group in bins],
        losses={source: column for source, column in losses.items() if column},
        total=_column(bins, "train/loss_nats_per_token"),
        lr=_column(bins, "lr"),
        tokens_per_s=_column(bins, "tokens_per_s"),
        grad_norm=_column(bins, "grad_norm"),
    )


def _column(bins: Sequence[Sequence[Line]], key: str) -> Column:
    """The mean of a metric in each bin; empty when no line has it."""
    column = [_mean(group, key) for group in bins]
    if all(value is None for value in column):
        return []
    return column


def _mean(lines: Sequence[Line], key: str) -> float | None:
    """The mean of a metric over the lines in which it is finite."""
    values = []
    for line in lines:
        value = line.get(key)
        if value is not None and math.isfinite(value):
            values.append(float(value))
    if not values:
        return None
    return sum(values) / len(values)


def _bins(lines: Sequence[Line]) -> list[Sequence[Line]]:
    """The lines, in at most MAX_POINTS groups of consecutive ones."""
    n_lines = len(lines)
    n_bins = min(n_lines, MAX_POINTS)
    bins = []
    for i in range(n_bins):
        start = n_lines * i // n_bins
        stop = n_lines * (i + 1) // n_bins
        bins.append(lines[start:stop])
    return bins


def training_seconds(lines: Sequence[Line], tokens_before: int) -> float | None:
    """Seconds of training [s], from tokens and speed of each line: pauses between sessions do not count."""
    seconds = 0.0
    before = tokens_before
    for line in lines:
        speed = line.get("tokens_per_s")
        if speed and math.isfinite(speed) and speed > 0:
            seconds += (line["tokens"] - before) / speed
        before = line["tokens"]
    return seconds or None
