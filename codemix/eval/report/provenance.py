"""The section of a run report about provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from codemix.eval.pages.facts import RunFacts, StageFacts
from codemix.eval.pages.page import Block, Cell, Code, PageTable, Section


def provenance_section(facts: RunFacts, yaml: str) -> Section:
    """Environment, fingerprints, the recipe as it was resolved."""
    headings = ["what", "name", "fingerprint", "made with"]
    table = PageTable("Fingerprints", headings, "llll", list(_fingerprints(facts)), id="fingerprints")
    blocks: list[Block] = [table]
    if yaml:
        blocks.append(Code("The recipe, resolved: every default written out", yaml.rstrip("\n")))
    lead = (
        "Everything is named by a hash of all that could change it, and its folder in the store by the start of "
        "that hash, as below; the whole hashes are in the JSON twin."
    )
    return Section("origin", "Provenance", lead, blocks)


def short(fingerprint: str) -> str:
    """As much of a fingerprint as a page shows."""
    return f"`{fingerprint[:12]}`"


def _fingerprints(facts: RunFacts) -> Iterator[list[Cell]]:
    """The rows of the table."""
    for stage in facts.stages:
        yield ["stage", stage.name, short(stage.fingerprint), _seed_and_parent(stage)]
    for stage in facts.stages:
        scores = stage.scores
        if scores.fingerprint:
            yield ["evaluation", stage.name, short(scores.fingerprint), _environment(scores.environment)]
    for name, source in facts.sources.items():
        yield ["source", name, short(source.fingerprint), _environment(source.environment)]
    vocab_size = facts.model.vocab_size
    ids = f"{vocab_size:,} ids" if vocab_size else ""
    for fingerprint in sorted({source.tokenizer for source in facts.sources.values()}):
        yield ["tokenizer", "–", short(fingerprint), ids]


def _seed_and_parent(stage: StageFacts) -> str:
    parent = stage.plan.parent
    seed = f"seed {stage.plan.seed}"
    return f"{seed}, from {short(parent.fingerprint)}" if parent else seed


def _environment(environment: Mapping[str, Any]) -> str:
    """Names with versions, on one line."""
    versions = []
    for name, value in sorted(environment.items()):
        if isinstance(value, (str, int, float)) and name != "platform":
            versions.append(f"{name} {value}")
    return ", ".join(versions)
