"""Sections of a comparison that are led by a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codemix.eval.compare import charts, paper
from codemix.eval.compare.variants import Variant
from codemix.eval.pages.page import Figure, Mark, Note, PageTable, Section, percent, signed
from codemix.recipe.language.quantities import show_tokens


def against_baseline(found: Mapping[str, Any]) -> Section | None:
    """The headline: every variant's last stage against the baseline's."""
    lead = (
        f"Relative change of bits per byte after the last stage, against `{found['baseline']}`. Negative is better. Pale bars are "
        "inside the noise: no call."
    )
    return _changes(
        "against",
        "Against the baseline",
        lead,
        "Change of bits per byte.",
        found["last"],
        f"against {found['baseline']}, after the last stage",
    )


def init(found: Mapping[str, Any]) -> Section | None:
    """The paper's figure 2: initialisations, before any cooldown."""
    lead = "The same before any cooldown, as the paper compares initialisations (its figure 2)."
    section = _changes(
        "init",
        "Initialisation",
        lead,
        "Change before the cooldown.",
        found["before_cooldown"],
        f"against {found['baseline']}, before any cooldown",
    )
    return _with_paper(section, found, "init")


def quality(found: Mapping[str, Any]) -> Section | None:
    """The paper's figure 5: what the code is."""
    if not found["quality"]:
        return None
    first = found["quality"][0]
    lead = (
        f"First stages of {show_tokens(first['tokens'])} tokens with {first['code_share'] * 100:.0f}% code that differ in what the "
        f"code is; against {first['reference_label']} (% of the code)."
    )
    section = _changes(
        "quality",
        "Quality of the code",
        lead,
        "Change by what the code is.",
        found["quality"],
        f"against {first['reference_label']}",
    )
    return _with_paper(section, found, "quality")


def cooldown(found: Mapping[str, Any]) -> Section | None:
    """The paper's figure 6: what a cooldown changes, with and without code."""
    lead = "Each cooldown against the same run without it. It reads more tokens at a falling rate, so part of any gain is just that."
    section = _changes(
        "cooldown",
        "Cooldown",
        lead,
        "Change by the cooldown.",
        found["cooldown"],
        "against the run before its cooldown",
    )
    return _with_paper(section, found, "cooldown")


def _with_paper(section: Section | None, found: Mapping[str, Any], figure: str) -> Section | None:
    if section is not None and found["overlay_paper"]:
        section.blocks += paper.overlay(figure)
    return section


def _changes(
    key: str, title: str, lead: str, caption: str, rows: Sequence[Mapping[str, Any]], axis: str
) -> Section | None:
    """Relative changes with intervals, as a figure and as a table that stands open."""
    known = [r for r in rows if r.get("relative") is not None]
    columns = [
        "recipe",
        "measure",
        "bits per byte",
        "reference",
        "change",
        "95% interval",
        "verdict",
        "seeds (range)",
        "documents",
    ]
    table = PageTable(f"{title}: bits per byte", columns, "llrrrrlrr")
    for r in rows:
        tone = {"lower": "good", "higher": "bad"}.get(r["verdict"], "muted")
        interval = (
            f"{signed(r['relative_low'])} … {signed(r['relative_high'])}"
            if r.get("relative") is not None
            else "–"
        )
        table.rows.append(
            [
                r.get("label", r["variant"]),
                r["measure"],
                f"{r['value']:.4f}",
                f"{r['reference_value']:.4f}",
                signed(r["value"] / r["reference_value"] - 1),
                interval,
                Mark(r["verdict"], tone),
                _seeds(r),
                f"{r['documents']:,}" if r.get("documents") else "–",
            ]
        )
    if not rows:
        return None
    if not known:
        return Section(key, title, lead, [table])
    panels: dict[str, list[dict[str, Any]]] = {}
    for r in known:
        drawn = {
            "label": r.get("label", r["variant"]),
            "relative": r["relative"],
            "low": r["relative_low"],
            "high": r["relative_high"],
            "verdict": r["verdict"],
        }
        panels.setdefault(r["measure"], []).append(drawn)
    svg = charts.forest(key, caption, lead, panels, f"change of bits per byte {axis}")
    return Section(
        key,
        title,
        lead,
        [
            Figure(
                caption,
                svg,
                "Bars are relative changes, lines their 95% intervals over documents.",
                table,
                open=True,
            )
        ],
    )


def _seeds(row: Mapping[str, Any]) -> str:
    n = len(row["seeds"])
    return f"{n}" + (f" ({max(row['seeds']) - min(row['seeds']):.4f})" if n > 1 else "")


def trajectories(variants: Sequence[Variant], base: Variant) -> Section | None:
    """Bits per byte after each stage."""
    panels: dict[str, dict[str, list]] = {}
    table = PageTable(
        "Bits per byte after each stage",
        ["recipe", "stage", "tokens of the run", *(m for m in ("code", "text"))],
        "llrrr",
    )
    longer = [v for v in variants if sum(bool(s["bits_per_byte"]) for s in v.first.stages) > 1]
    for v in longer:
        for stage in v.first.stages:
            if not stage["bits_per_byte"]:
                continue
            cells = []
            for m in ("code", "text"):
                names = [n for n in stage["bits_per_byte"] if v.first.facts["families"].get(n) == m]
                values = v.bits(stage["name"], names) if names else []
                if values:
                    point = (
                        stage["run_tokens_before"] + stage["tokens"],
                        sum(values) / len(values),
                        min(values),
                        max(values),
                    )
                    panels.setdefault(m, {}).setdefault(v.name, []).append(point)
                cells.append(f"{sum(values) / len(values):.4f}" if values else "–")
            table.rows.append(
                [v.name, stage["name"], f"{stage['run_tokens_before'] + stage['tokens']:,}", *cells]
            )
    if not panels:
        return None
    shades = charts.run_colours([v.name for v in longer], base.name)
    title, words = (
        "Bits per byte after each stage.",
        f"Lower is better; the dashed line is the baseline `{base.name}`. A vertical bar is the range over seeds.",
    )
    return Section(
        "stages",
        "Stage by stage",
        "",
        [Figure(title, charts.paths("stages", title, words, panels, shades), words, table)],
    )


def sweep(found: Mapping[str, Any]) -> Section | None:
    """The paper's figure 4: the share of code."""
    blocks: list[Any] = []
    for number, one in enumerate(found["sweep"]):
        measures = [m for m in ("text", "code", "other") if any(p[m] for p in one["points"])]
        panels = {m: [(p["share"], p[m]) for p in one["points"] if p[m]] for m in measures}
        table = PageTable(
            f"Bits per byte by share of code, {one['tokens']:,} tokens",
            ["share of code", "recipe", "seeds", *measures],
            "rlr" + "r" * len(measures),
        )
        for p in one["points"]:
            table.rows.append(
                [
                    f"{p['share'] * 100:g}%",
                    p["variant"],
                    str(max(len(p[m]) for m in measures)),
                    *(f"{sum(p[m]) / len(p[m]):.4f}" if p[m] else "–" for m in measures),
                ]
            )
        title = f"Share of code, {show_tokens(one['tokens'])} tokens from scratch."
        words = "Bits per byte on held-out documents after the first stage; lower is better. The line is the mean over seeds, small dots are seeds."
        blocks.append(
            Figure(title, charts.sweep(f"sweep-{number}", title, words, panels, "bits"), words, table)
        )
    if not blocks:
        return None
    if found["overlay_paper"]:
        blocks += paper.overlay("sweep")
    return Section(
        "sweep",
        "Proportion of code",
        "Runs from scratch that differ only in how much of their tokens is code (the paper's figure 4).",
        blocks,
    )


def win_rates(found: Mapping[str, Any]) -> Section | None:
    """Judged pairs, where there are any."""
    if not found["winrates"]:
        return None
    columns = [
        "A",
        "B",
        "judge",
        "A wins",
        "ties",
        "B wins",
        "invalid",
        "wins − losses",
        "95% interval",
        "at equal length",
        "first slot",
    ]
    table = PageTable("Win-rates", columns, "lllrrrrrrrr")
    rows, said = [], []
    for w in found["winrates"]:
        rows.append((w["a"], w["b"], w["wins"], w["ties"], w["losses"]))
        low, high = w["interval"] or (None, None)
        gain = (
            None
            if w["difference"] is None
            else Mark(signed(w["difference"]), "strong" if low > 0 or high < 0 else "muted")
        )
        table.rows.append(
            [w["a"], w["b"], w["judge"], *(str(w[k]) for k in ("wins", "ties", "losses", "invalid"))]
            + [
                gain or "no headline",
                "–" if low is None else f"{signed(low)} … {signed(high)}",
                *(percent(w[k]) for k in ("length_controlled_rate", "first_slot_share")),
            ]
        )
        if w["note"]:
            said.append(Note("warn", f"{w['a']} against {w['b']}: {w['note']}."))
    table.notes.append(
        "Wins minus losses is the paper's figure; grey where the interval over prompts holds zero. First slot: 50% is a judge without position bias."
    )
    title, words = (
        "Win-rates.",
        "Prompts that a judge gave to A and to B in both orders; a disagreement is a tie.",
    )
    blocks: list[Any] = [
        *said,
        Figure(title, charts.wins("wins", title, words, rows), words, table, open=True),
    ]
    if found["overlay_paper"]:
        blocks += paper.overlay("winrate")
    return Section(
        "winrate", "Win-rates", "A judge's preference between the answers of two checkpoints.", blocks
    )
