"""The section of a comparison about what the recipes do differently, in effects."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from codemix.eval.compare.findings import Findings
from codemix.eval.compare.variants import Variant
from codemix.eval.pages.page import Block, Fold, Note, PageTable, Section
from codemix.tables import Table

if TYPE_CHECKING:
    from codemix.recipe.diffs.diff import Diff


def recipes_section(findings: Findings) -> Section:
    """Each recipe against the baseline's."""
    blocks: list[Block] = []
    for variant in findings.everything:
        if variant is not findings.base:
            blocks += _differences(findings.base, variant)
    lead = "Effects, not lines of YAML: tokens and epochs that moved, settings that differ."
    return Section("recipes", "What the recipes do differently", lead, blocks)


def _differences(base: Variant, variant: Variant) -> list[Block]:
    from codemix.recipe.diffs.diff import diff
    from codemix.recipe.diffs.diff_tables import sentences, tables

    change = diff(base.first.plan, variant.first.plan)
    effects = "; ".join(sentences(change))
    blocks: list[Block] = [Note("plain", f"**{base.name} → {variant.name}**: {effects}.")]
    folded = [_page_table(table, base, variant) for table in tables(_worth_reading(change))]
    if folded:
        blocks.append(Fold(f"Tokens and settings, `{base.name}` → `{variant.name}`", folded))
    return blocks


def _worth_reading(change: Diff) -> Diff:
    """The difference without versions, and without the settings of stages that only one side has.

    Every setting of such a stage differs; a sentence says that the stage is new.
    """
    one_sided = []
    for stage in change.stages:
        if not all(stage.exists):
            one_sided.append(f"stages.{stage.stage}.")
    kept = []
    for setting in change.settings:
        is_version = setting.path.endswith(".version")
        if not is_version and not setting.path.startswith(tuple(one_sided)):
            kept.append(setting)
    return dataclasses.replace(change, settings=tuple(kept))


def _page_table(table: Table, base: Variant, variant: Variant) -> PageTable:
    page_table = PageTable.of(table)
    page_table.title = f"{table.title}: {base.name} → {variant.name}"
    return page_table
