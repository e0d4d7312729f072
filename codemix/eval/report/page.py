"""The report of one run: what was asked and read, losses, scores, and where the documents went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store
from codemix.eval.pages import palette
from codemix.eval.pages.facts import RunFacts, StageFacts
from codemix.eval.pages.page import Note, Page, Tile
from codemix.eval.pages.publishing import publish
from codemix.eval.pages.run_folders import run_facts
from codemix.eval.report.answer import answer
from codemix.eval.report.data import funnel_section
from codemix.eval.report.ledger import ledger_section
from codemix.eval.report.mixture import mixture_section
from codemix.eval.report.provenance import provenance_section
from codemix.eval.report.scores import bits_section, tasks_section
from codemix.eval.report.training import clock, training_section
from codemix.recipe.language.quantities import show_tokens
from codemix.recipe.language.yaml_text import dump

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan

FOOTER = (
    "Made by codemix from the folders whose fingerprints appear above. Bits and bytes are summed first and "
    "divided once; bits per byte are measured on documents that were never trained on."
)


def report(
    plan: Plan,
    store: Store,
    manifests: Mapping[str, Manifest],
    stage_dirs: Iterable[Path],
    eval_paths: Iterable[Path],
) -> Path:
    """The HTML page, with its Markdown and JSON twins beside it.

    Equal inputs give equal bytes, and are not written twice.
    Raises CodemixError when a folder does not belong to the plan or is damaged.
    """
    facts = run_facts(plan, manifests, stage_dirs, eval_paths)
    yaml = dump(plan.recipe.model_dump(mode="json", by_alias=True))
    content = facts.as_json() | {"recipe_yaml": yaml}
    return publish(store, plan.recipe.name, content, lambda: page(facts, yaml))


def page(facts: RunFacts, yaml: str = "") -> Page:
    """The report of a run's facts."""
    shades = palette.shades(facts.tags)
    sections = [
        mixture_section(facts, shades),
        bits_section(facts, shades),
        tasks_section(facts),
        ledger_section(facts, shades),
        training_section(facts, shades),
        funnel_section(facts, shades),
        provenance_section(facts, yaml),
    ]
    return Page(
        kind="run report",
        title=facts.recipe,
        answer=answer(facts),
        remark=" ".join(facts.description.split()),
        tiles=_tiles(facts),
        notes=_notes(facts),
        sections=[section for section in sections if section is not None],
        footer=FOOTER,
    )


def _tiles(facts: RunFacts) -> list[Tile]:
    tiles = [_tokens_tile(facts)]
    model = facts.model
    if model.parameters:
        shape = f"{model.n_layers} layers, width {model.d_model}"
        tiles.append(Tile("parameters", show_tokens(model.parameters), shape))
    trained = _trained(facts)
    names = ", ".join(stage.name for stage in facts.stages)
    tiles.append(Tile("stages", f"{len(trained)} of {len(facts.stages)}", names))
    n_sources = len(facts.used_sources)
    n_code = len(facts.of_family("code", facts.families))
    tiles.append(Tile("sources", f"{n_sources}", f"{n_code} of code"))
    seconds = sum(stage.training.training_s or 0 for stage in trained)
    if seconds:
        per_second = round(_consumed(trained) / seconds)
        speed = f"{show_tokens(per_second)} tokens/s"
        tiles.append(Tile("training time", clock(seconds), speed))
    return tiles


def _tokens_tile(facts: RunFacts) -> Tile:
    consumed = _consumed(_trained(facts))
    planned = sum(stage.plan.tokens for stage in facts.stages)
    remark = f"{consumed:,} of {planned:,} planned"
    return Tile("tokens read", show_tokens(consumed), remark)


def _trained(facts: RunFacts) -> list[StageFacts]:
    trained = []
    for stage in facts.stages:
        if stage.training.trained:
            trained.append(stage)
    return trained


def _consumed(stages: Iterable[StageFacts]) -> int:
    """Tokens that stages really read."""
    total = 0
    for stage in stages:
        total += sum(use.consumed or 0 for use in stage.sources.values())
    return total


def _notes(facts: RunFacts) -> list[Note]:
    """What must not be missed."""
    notes = []
    for stage in facts.stages:
        if stage.training.ledger_equal is False:
            notes.append(_unequal_ledger(stage))
        notes += _repeated_sources(stage, facts.max_epochs)
        if stage.training.elsewhere:
            said = "loss and steps are from that trainer's log, and there are no scores"
            notes.append(Note("plain", f"`{stage.name}` was trained by another trainer: {said}."))
    untrained = [f"`{stage.name}`" for stage in facts.stages if not stage.training.trained]
    if untrained:
        names = ", ".join(untrained)
        notes.append(
            Note("warn", f"Not trained yet: {names}. The rest of the page is about the stages before.")
        )
    unscored = []
    for stage in _trained(facts):
        if not stage.scores.exists and not stage.training.elsewhere:
            unscored.append(f"`{stage.name}`")
    if unscored:
        notes.append(Note("warn", f"Trained but not scored: {', '.join(unscored)}."))
    return notes


def _unequal_ledger(stage: StageFacts) -> Note:
    differences = []
    for source, use in stage.sources.items():
        if use.consumed is not None and use.consumed != use.planned:
            differences.append(f"`{source}` {use.consumed - use.planned:+,}")
    cause = ", ".join(differences) or "its ledger disagrees with the plan"
    return Note(
        "bad", f"Stage `{stage.name}` did not read what was planned: {cause}. Do not compare this run."
    )


def _repeated_sources(stage: StageFacts, max_epochs: Mapping[str, float]) -> list[Note]:
    """Sources that were read more often than their recipe allows."""
    notes = []
    for source, use in stage.sources.items():
        limit = max_epochs[source]
        epochs = use.epochs_after
        if epochs is not None and epochs > limit + 1e-9:
            times = f"{epochs:.2f} times by the end of `{stage.name}`"
            text = f"`{source}` was read {times}, above its `max_epochs: {limit:g}`."
            notes.append(Note("warn", text))
    return notes
