"""The report of one run: what was asked, what was read, how the losses went, what it scores, where the documents went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.eval.pages import plots
from codemix.eval.pages.facts import pooled, run_facts
from codemix.eval.pages.page import Figure, Mark, Note, Page, PageTable, Section, publish, signed
from codemix.eval.report import charts, data, scores, training
from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.language.yaml_text import dump

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan

FAMILY_NAMES = {"text": "text", "code": "code", "other": "the other sources"}


def report(
    plan: Plan,
    store: Store,
    manifests: Mapping[str, Manifest],
    stage_dirs: Iterable[Path],
    eval_paths: Iterable[Path],
) -> Path:
    """The HTML page (its Markdown and JSON twins lie beside it). Equal inputs give equal bytes, and are not written twice.

    Raises CodemixError when a folder does not belong to the plan or is damaged.
    """
    facts = run_facts(plan, manifests, stage_dirs, eval_paths)
    yaml = dump(plan.recipe.model_dump(mode="json", by_alias=True))
    return publish(store, plan.recipe.name, facts | {"recipe_yaml": yaml}, lambda: page(facts, yaml))


def page(facts: Mapping[str, Any], yaml: str = "") -> Page:
    """The report of a run's facts."""
    shades = plots.colours(facts["tags"])
    made = Page(
        kind="run report",
        title=facts["recipe"],
        answer=answer(facts),
        remark=" ".join(facts["description"].split()),
        tiles=_tiles(facts),
        notes=_notes(facts),
    )
    made.sections = [
        section
        for section in (
            asked(facts, shades),
            scores.bits(facts, shades),
            scores.tasks(facts),
            read(facts, shades),
            training.training(facts, shades),
            data.funnel(facts, shades),
            data.origin(facts, yaml),
        )
        if section is not None
    ]
    made.footer = (
        "Made by codemix from the folders whose fingerprints stand above. Sums travel, ratios are made once; bits per byte are on "
        "documents that were never trained on."
    )
    return made


def answer(facts: Mapping[str, Any]) -> list[str]:
    """What the run found, in one or two sentences made from its numbers."""
    scored = [s for s in facts["stages"] if s["bits_per_byte"]]
    if not scored:
        trained = [s["name"] for s in facts["stages"] if s["trained"]]
        return [
            f"{len(trained)} of {len(facts['stages'])} stages are trained; nothing is scored yet, so there is no answer."
        ]
    first, last, sentences = scored[0], scored[-1], []
    for kind in ("code", "text", "other"):
        names = [n for n, f in facts["families"].items() if f == kind and n in last["bits_per_byte"]]
        end = pooled(last["bits_per_byte"], names)
        if end is None:
            continue
        start = (
            pooled(first["bits_per_byte"], [n for n in names if n in first["bits_per_byte"]])
            if first is not last
            else None
        )
        subject = FAMILY_NAMES[kind]
        if start is None:
            sentences.append(f"held-out {subject} costs **{end:.3f}** bits per byte after `{last['name']}`")
        else:
            sentences.append(_moved(subject, start, end, facts["moves"].get(kind)))
    if first is not last:
        sentences[0] = f"From `{first['name']}` to `{last['name']}`, {sentences[0]}"
    whole = "; ".join(sentences)
    lines = [whole[0].upper() + whole[1:] + "."]
    moves = _largest_moves(facts, scored)
    return lines + ([moves] if moves else [])


def _moved(subject: str, start: float, end: float, interval: Mapping[str, Any] | None) -> str:
    """One family's change, called only when the interval over its documents excludes zero."""
    if interval is None:
        return f"bits per byte of held-out {subject} went from {start:.3f} to **{end:.3f}** ({signed(end / start - 1)})"
    low, high = (signed(interval[k] / interval["a"]) for k in ("low", "high"))
    if interval["low"] <= 0 <= interval["high"]:
        return f"bits per byte of held-out {subject} did not move beyond noise ({start:.3f} and {end:.3f}, {low} to {high})"
    went = "fell" if end < start else "rose"
    return f"bits per byte of held-out {subject} {went} from {start:.3f} to **{end:.3f}** ({signed(end / start - 1)} [{low}, {high}])"


def _largest_moves(facts: Mapping[str, Any], scored: list[Mapping[str, Any]]) -> str:
    """The stage at which each family moved most, when stages can be told apart."""
    if len(scored) < 3:
        return ""
    said = []
    for kind in ("code", "text"):
        names = [n for n, f in facts["families"].items() if f == kind]
        values = [pooled(s["bits_per_byte"], names) for s in scored]
        if any(v is None for v in values):
            continue
        steps = [
            (b - a, scored[i + 1]["name"], a, b)
            for i, (a, b) in enumerate(zip(values, values[1:], strict=False))
        ]
        size, name, a, b = max(steps, key=lambda step: abs(step[0]))
        if abs(size) >= 0.005 * values[0]:
            said.append(f"{kind} moved most in `{name}` ({a:.3f} to {b:.3f})")
    return (
        f"{'; '.join(said).capitalize()}. One run, one seed: `codemix compare` says whether another recipe does better than noise."
        if said
        else ""
    )


def _tiles(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    stages = facts["stages"]
    done = [s for s in stages if s["trained"]]
    read = sum(sum(x["consumed"] for x in s["sources"].values()) for s in done)
    seconds = sum(s["training_s"] or 0 for s in done)
    tiles = [("tokens read", show_tokens(read), f"{read:,} of {sum(s['tokens'] for s in stages):,} planned")]
    if facts["model"]["parameters"]:
        tiles.append(
            (
                "parameters",
                show_tokens(facts["model"]["parameters"]),
                f"{facts['model']['n_layers']} layers, width {facts['model']['d_model']}",
            )
        )
    tiles.append(("stages", f"{len(done)} of {len(stages)}", ", ".join(s["name"] for s in stages)))
    tiles.append(
        (
            "sources",
            str(len({n for s in stages for n in s["sources"]})),
            f"{sum(1 for f in facts['families'].values() if f == 'code')} of code",
        )
    )
    if seconds:
        tiles.append(
            ("training time", training.clock(seconds), f"{show_tokens(round(read / seconds))} tokens/s")
        )
    return tiles


def _notes(facts: Mapping[str, Any]) -> list[Note]:
    notes = []
    for stage in facts["stages"]:
        if stage["ledger_equal"] is False:
            wrong = [
                f"`{n}` {x['consumed'] - x['planned']:+,}"
                for n, x in stage["sources"].items()
                if x["consumed"] != x["planned"]
            ]
            notes.append(
                Note(
                    "bad",
                    f"Stage `{stage['name']}` did not read what was planned: {', '.join(wrong) or 'its own ledger names other tokens'}. Do not "
                    "compare this run.",
                )
            )
        for name, x in stage["sources"].items():
            if x["epochs_after"] is not None and x["epochs_after"] > facts["max_epochs"][name] + 1e-9:
                notes.append(
                    Note(
                        "warn",
                        f"`{name}` was read {x['epochs_after']:.2f} times by the end of `{stage['name']}`, above its `max_epochs: "
                        f"{facts['max_epochs'][name]:g}`.",
                    )
                )
    if untrained := [f"`{s['name']}`" for s in facts["stages"] if not s["trained"]]:
        notes.append(
            Note(
                "warn", f"Not trained yet: {', '.join(untrained)}. What follows holds for the stages before."
            )
        )
    if unscored := [f"`{s['name']}`" for s in facts["stages"] if s["trained"] and not s["evaluated"]]:
        notes.append(Note("warn", f"Trained but not scored: {', '.join(unscored)}."))
    return notes


def asked(facts: Mapping[str, Any], shades: Mapping[str, str]) -> Section:
    """The mixture and the stages."""
    stages = facts["stages"]
    names = sorted(
        {n for s in stages for n in s["sources"]},
        key=lambda n: (facts["families"][n] != "text", facts["families"][n], n),
    )
    table = PageTable(
        "Share of each stage", ["source", *(s["name"] for s in stages)], "l" + "r" * len(stages), id="shares"
    )
    for name in names:
        table.rows.append(
            [
                Mark(name, swatch=shades[name]),
                *(_percent(s["sources"][name]["share"]) if name in s["sources"] else "–" for s in stages),
            ]
        )
    tokens = {n: [s["sources"].get(n, {}).get("planned", 0) for s in stages] for n in names}
    title, words = "Mixture by stage.", "Each bar is a stage, as long as its tokens, divided by source."
    figure = Figure(
        title,
        charts.mixture("mixture", title, words, [(s["name"], s["tokens"]) for s in stages], tokens, shades),
        words,
        table,
    )
    plan = PageTable(
        "Stages",
        ["stage", "starts from", "tokens", "steps", "batch × length", "learning rate"],
        "llrrrl",
        id="stages",
    )
    for s in stages:
        batch = s["batch_size"] if isinstance(s["batch_size"], int) else "…".join(map(str, s["batch_size"]))
        plan.rows.append(
            [
                s["name"],
                s["parent"]["stage"] + (" (weights only)" if s["load"] == "weights" else "")
                if s["parent"]
                else "scratch",
                f"{s['tokens']:,}",
                f"{s['steps']:,}",
                f"{batch} × {s['seq_len']:,}",
                _schedule(s),
            ]
        )
    return Section("asked", "What was asked", _asked_lead(facts), [figure, plan])


def _asked_lead(facts: Mapping[str, Any]) -> str:
    parts = []
    for s in facts["stages"]:
        shares = {
            k: sum(x["share"] for n, x in s["sources"].items() if facts["families"][n] == k)
            for k in ("text", "code", "other")
        }
        parts.append(
            f"`{s['name']}` {show_tokens(s['tokens'])} tokens ("
            + " : ".join(f"{share * 100:.0f} {k}" for k, share in shares.items() if share)
            + ")"
        )
    return "; then ".join(parts) + "."


def _schedule(stage: Mapping[str, Any]) -> str:
    given = dict(stage["learning_rate"])
    kind = given.pop("kind")
    if stage["rates"] is None:
        return kind
    first, peak, last = stage["rates"]
    path = [first, peak, last] if peak > max(first, last) * 1.0001 else [first, last]
    return f"{kind}: " + " → ".join(f"{rate:.2g}" for rate in path)


def _percent(share: float) -> str:
    return f"{share * 100:.2f}%" if round(share * 100, 1) != round(share * 100, 2) else f"{share * 100:.1f}%"


def read(facts: Mapping[str, Any], shades: Mapping[str, str]) -> Section:
    """Planned and consumed tokens, to the token."""
    done = [s for s in facts["stages"] if s["trained"]]
    table = PageTable(
        "Ledger",
        ["stage", "source", "planned tokens", "consumed tokens", "difference", "epochs so far"],
        "llrrrr",
        id="ledger",
    )
    for s in facts["stages"]:
        for i, (name, x) in enumerate(s["sources"].items()):
            off = None if x["consumed"] is None else x["consumed"] - x["planned"]
            state = (
                Mark("not trained", "muted")
                if off is None
                else Mark("equal", "good")
                if off == 0
                else Mark(f"{off:+,}", "bad")
            )
            table.rows.append(
                [
                    Mark(s["name"], "strong") if i == 0 else "",
                    Mark(name, swatch=shades[name]),
                    f"{x['planned']:,}",
                    "–" if x["consumed"] is None else f"{x['consumed']:,}",
                    state,
                    "unknown" if x["epochs_after"] is None else f"{x['epochs_after']:.3f}",
                ]
            )
    equal = done and all(s["ledger_equal"] for s in done)
    note = (
        Note(
            "good",
            f"Every one of the {len(done)} trained stages consumed exactly the tokens that were planned.",
        )
        if equal
        else None
    )
    lead = (
        "The consumed side is counted from the batches that were trained on. An epoch is one pass over a source's training windows, "
        "counted along the whole run."
    )
    return Section("tokens", "Tokens read", lead, [b for b in (note, table) if b])
