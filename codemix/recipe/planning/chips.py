"""Accelerators by name: the one table of what they can do, for estimates before a run and utilisation during
it."""

from __future__ import annotations

from dataclasses import dataclass

from codemix.errors import CodemixError, did_you_mean


@dataclass(frozen=True)
class Chip:
    """An accelerator: dense bfloat16 peak [TFLOP/s], memory [GB], and an on-demand list price [USD/hour] to
    scale by, not to quote. `device_kinds` are the names that jax gives it."""

    tflops: float
    memory_gb: float
    usd_per_hour: float
    device_kinds: tuple[str, ...] = ()

    @property
    def peak_flops(self) -> float:
        """FLOP per second."""
        return self.tflops * 1e12


CHIPS = {  # peaks from the makers' data sheets; prices are round figures of ours and move often
    "v4": Chip(275, 32, 3.22, ("TPU v4",)),
    "v5e": Chip(197, 16, 1.20, ("TPU v5 lite", "TPU v5e")),
    "v5p": Chip(459, 95, 4.20, ("TPU v5", "TPU v5p")),
    "v6e": Chip(918, 32, 2.70, ("TPU v6 lite", "TPU v6e")),
    "a100": Chip(312, 80, 3.00, ("NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-40GB")),
    "l4": Chip(121, 24, 0.70, ("NVIDIA L4",)),
    "h100": Chip(989, 80, 5.00, ("NVIDIA H100 80GB HBM3",)),
    "h200": Chip(989, 141, 6.00, ("NVIDIA H200",)),
    "b200": Chip(2250, 192, 9.00, ("NVIDIA B200",)),
}


def chip_named(name: str) -> Chip:
    """A chip of `CHIPS`. Raises CodemixError for a name that is not there."""
    if name not in CHIPS:
        hints = did_you_mean(name, CHIPS)
        raise CodemixError(f"there is no chip `{name}`", hints=hints, rule="unknown-chip")
    return CHIPS[name]


def chip_of_device(device_kind: str) -> Chip | None:
    """The chip that jax calls `device_kind`; None for one whose peak is not known, such as a CPU."""
    for chip in CHIPS.values():
        if device_kind in chip.device_kinds:
            return chip
    return None
