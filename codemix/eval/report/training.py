"""The section of a run report about training: losses by source with the learning rate, and speed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from codemix.eval.pages.page import Figure, PageTable, Section
from codemix.eval.report import charts


def training(facts: Mapping[str, Any], shades: Mapping[str, str]) -> Section | None:
    """Losses by source with the learning rate, and speed."""
    stages = [s for s in facts["stages"] if s["curves"]["tokens"]]
    if not stages:
        return None
    names = [n for n in sorted(shades) if any(n in s["curves"] for s in stages)]
    bounds = [(s["name"], s["run_tokens_before"], s["run_tokens_before"] + s["tokens"]) for s in stages]

    def line(key: str) -> list[tuple[float, float | None]]:
        points: list[tuple[float, float | None]] = []
        for s in stages:
            column = s["curves"].get(key) or [None] * len(s["curves"]["tokens"])
            back = bool(points) and s["curves"]["tokens"][0] <= points[-1][0]  # a branch, so the line breaks
            gap = [(s["curves"]["tokens"][0], math.nan)] if back else []
            points += gap + list(zip(s["curves"]["tokens"], column, strict=True))
        return points

    blocks = []
    table = PageTable(
        "Training loss [nats per token]",
        ["stage", "tokens of the run", "learning rate", *names, "all sources"],
        "lrr" + "r" * (len(names) + 1),
    )
    for s in stages:
        n = len(s["curves"]["tokens"])
        for i in sorted({0, *(n * k // 6 for k in range(1, 6)), n - 1}):
            cells = [s["curves"].get(k, [None] * n)[i] for k in [*names, "*"]]
            rate = s["curves"].get("lr", [None] * n)[i]
            table.rows.append(
                [
                    s["name"],
                    f"{s['curves']['tokens'][i]:,}",
                    "–" if rate is None else f"{rate:.3g}",
                    *("–" if v is None else f"{v:.4f}" for v in cells),
                ]
            )
    title = "Loss by source."
    words = (
        "Training loss over the tokens of the run; dashed lines are stage boundaries, below is the learning rate. Lines that "
        "leave the top belong to the first steps."
    )
    drawn = charts.losses(
        "losses", title, words, {n: line(n) for n in names}, line("*"), line("lr"), bounds, shades
    )
    blocks.append(Figure(title, drawn, words, table))
    speeds = [s for s in stages if s["training_s"]]
    if speeds:
        table = PageTable("Speed", ["stage", "tokens", "training time", "tokens per second"], "lrrr")
        for s in speeds:
            spent = s["curves"]["tokens"][-1] - s["run_tokens_before"]
            table.rows.append(
                [s["name"], f"{spent:,}", clock(s["training_s"]), f"{spent / s['training_s']:,.0f}"]
            )
        title, words = (
            "Throughput.",
            "Tokens trained per second; pauses between two sittings do not count as training time.",
        )
        blocks.append(
            Figure(
                title,
                charts.throughput("throughput", title, words, line("tokens_per_s"), bounds),
                words,
                table,
            )
        )
    return Section(
        "training",
        "Training",
        "Losses in nats per token tell how training went; compare recipes by bits per byte, which no tokenizer can flatter.",
        blocks,
    )


def clock(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
