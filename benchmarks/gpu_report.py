"""What benchmarks/gpu.py found, in Markdown."""

from __future__ import annotations

from typing import Any

import roofline
from gpu_sizes import LARGE, REAL

from codemix.tables import Table


def markdown(steps: dict[str, dict[str, Any]], date: str) -> str:
    """Device and date, how each step ended, speed by case, kernels,
    and the roofline at the rates that were measured.
    """
    device = merged(steps, "device")
    lines = [f"{device.get('kind', 'no device')}, {date}; {versions(device)}", "", outcomes(steps).markdown()]
    if rows := [speed_row(result) for result in results(steps, "speed")]:
        columns = ["model", ">rows at once", ">microbatches", "remat", ">head chunk", "documents"]
        columns += [">tokens/s", ">MFU", ">expected", ">peak GiB"]
        lines.append(Table("Speed", columns, rows).markdown())
    if largest := merged(steps, "profile").get("largest"):
        rows = [[k["kernel"], f"{k['ms']:.2f}", f"{k['share']:.1%}"] for k in largest]
        lines.append(Table("Largest kernels of a step", ["kernel", ">ms", ">share"], rows).markdown())
    work = roofline.Work(REAL.models[LARGE], REAL.vocab_size, REAL.seq_len, rows=8)
    peak = roofline.data_sheet(roofline.chip_of(device.get("kind")))
    lines.append(roofline.table(work, rates(device, peak), peak).markdown())
    return "\n".join(lines)


def results(steps: dict[str, dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return steps.get(name, {}).get("results", [])


def merged(steps: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for result in results(steps, name):
        found |= result
    return found


def versions(device: dict[str, Any]) -> str:
    found = [f"{name} {number}" for name, number in device.get("versions", {}).items()]
    return ", ".join([*found, *([device["driver"]] if device.get("driver") else [])])


def rates(device: dict[str, Any], peak: roofline.Rates) -> roofline.Rates:
    """What the device reached where that was measured on a GPU; else what is assumed."""
    assumed = roofline.reached(peak)
    if not device.get("driver"):
        return assumed
    return roofline.Rates(
        matmul=1e12 * device.get("matmul_tflops", assumed.matmul / 1e12),
        attention=assumed.attention,
        memory=1e12 * device.get("memory_tb_per_s", assumed.memory / 1e12),
    )


def outcomes(steps: dict[str, dict[str, Any]]) -> Table:
    rows = [
        [name, step["status"], f"{step['seconds']:.0f}", summary(name, steps)] for name, step in steps.items()
    ]
    return Table("Steps", ["step", "ended", ">s", "found"], rows)


def summary(name: str, steps: dict[str, dict[str, Any]]) -> str:
    """A step's results in a few words; those with a table of their own have none."""
    found = merged(steps, name)
    if name == "attention":
        checks = results(steps, name)
        worst = max((max(c["errors"].values()) for c in checks), default=0.0)
        return f"{sum(c['equal'] for c in checks)} of {len(checks)} shapes equal, largest relative error {worst:.1e}"
    if name == "losses":
        differences = [
            f"{d} {found[d]['largest_difference']:.1e}" for d in ("float32", "bfloat16") if d in found
        ]
        return f"largest difference from a CPU in nats a token: {', '.join(differences)}"
    if name == "profile":
        shares = found.get("shares", {})
        return ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items() if share >= 0.005)
    plain = {key: value for key, value in found.items() if isinstance(value, int | float | str)}
    return "" if name == "speed" else ", ".join(f"{key} {shown(value)}" for key, value in plain.items())


def shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def speed_row(result: dict[str, Any]) -> list[str]:
    case = [str(result[name]) for name in ("model", "rows", "microbatches", "remat", "chunk")]
    case.append("masked" if result["documents"] else "whole")
    if "skipped" in result:
        return [*case, result["skipped"], "", "", ""]
    reached = "" if result["mfu"] is None else f"{result['mfu']:.1%}"
    expected = f"{result['expected_mfu']:.0%}"
    return [*case, f"{result['tokens_per_s']:,.0f}", reached, expected, f"{result['peak_gib']:.1f}"]
