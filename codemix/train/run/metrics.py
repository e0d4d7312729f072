"""metrics.jsonl: one JSON object per line, each over the steps since the line before. Checkpoints hold sums;
ratios are computed here.

A resumed stage first cuts the file back to its checkpoint, so no step is ever reported twice; the sums of a
line that was half done are in the checkpoint, so lines fall where they would have fallen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codemix.data.store.store import disk_problem, read_bytes
from codemix.errors import CodemixError
from codemix.files import write_whole
from codemix.recipe.planning.chips import chip_of_device

Line = Mapping[str, Any]  # of metrics, as JSON


@dataclass
class Sums:
    """What happened since the last line.
    JSON-able, exact: Python prints floats so that they read back the same.
    """

    steps: int = 0
    nats: list[float] = field(default_factory=list)  # by source
    tokens: list[int] = field(default_factory=list)  # by source; those that carry loss
    z_nats: float = 0.0
    grad_norm: float = 0.0

    def add(self, nats: Sequence[float], tokens: Sequence[float], z_nats: float, grad_norm: float) -> None:
        """One step: nats and loss-carrying tokens by source."""
        self.steps += 1
        if not self.nats:
            self.nats = [0.0] * len(nats)
            self.tokens = [0] * len(tokens)
        for source, (more_nats, more_tokens) in enumerate(zip(nats, tokens, strict=True)):
            self.nats[source] += more_nats
            self.tokens[source] += round(more_tokens)
        self.z_nats += z_nats
        self.grad_norm += grad_norm

    def ratios(self, sources: Sequence[str]) -> dict[str, float]:
        """Losses [nats/token], whole and by source.
        A source without tokens in these steps has no line entry.
        """
        n_tokens = max(sum(self.tokens), 1)
        n_steps = max(self.steps, 1)
        values = {"train/loss_nats_per_token": sum(self.nats) / n_tokens}
        if self.z_nats:
            values["train/z_loss_nats_per_token"] = self.z_nats / n_tokens
        for name, nats, tokens in zip(sources, self.nats, self.tokens, strict=True):
            if tokens:
                values[f"train/{name}/loss_nats_per_token"] = nats / tokens
        values["grad_norm"] = self.grad_norm / n_steps
        return values

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, the last one for each step, in order of steps;
    none where there is no file.

    A line torn by a crash at the end is left out. Raises CodemixError (`store-damaged`) for any other damage.
    """
    if not path.exists():
        return []
    by_step: dict[int, dict[str, Any]] = {}
    raw_lines = read_bytes(path).split(b"\n")
    for number, raw in enumerate(raw_lines, 1):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
            by_step[line["step"]] = line
        except (ValueError, KeyError, TypeError):
            if number == len(raw_lines):
                continue
            raise CodemixError(
                f"{path} is damaged at line {number}",
                hints=["delete that line, or delete the stage's folder and train it again"],
                rule="store-damaged",
            ) from None
    return [by_step[step] for step in sorted(by_step)]


class MetricsFile:
    """Appends lines; opens by cutting the file back to `step`."""

    def __init__(self, path: Path, step: int):
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] <= step]
        try:
            write_whole(path, "".join(map(_text, kept)))
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise disk_problem(error, path) from error
        self.kept = kept

    def write(self, line: Line) -> None:
        """Append one line, so that another process can read it at once."""
        try:
            self._file.write(_text(line))
            self._file.flush()
        except OSError as error:
            raise disk_problem(error, self.path) from error

    def sync(self) -> None:
        """Lines up to here survive a crash of the machine."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def mfu(tokens_per_s: float, flops_per_token: float, devices: Sequence[Any]) -> float | None:
    """Model FLOPs over what the devices could do; None on a device whose peak is not known, as a CPU's."""
    chip = chip_of_device(devices[0].device_kind)
    if chip is None:
        return None
    return tokens_per_s * flops_per_token / (chip.peak_flops * len(devices))


def _text(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"
