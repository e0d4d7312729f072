"""Trained runs as `compare` takes them, read into variants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codemix.data.store.manifest import Manifest
from codemix.errors import CodemixError
from codemix.eval.compare.variant_names import short_names
from codemix.eval.compare.variants import Example, Examples, Run, Variant
from codemix.eval.pages.run_folders import run_facts
from codemix.eval.task_shapes.example_files import records
from codemix.files import digest
from codemix.recipe.language.component import identity

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan


@dataclass(frozen=True)
class RunInputs:
    """A trained run: its plan and what its stages left in the store."""

    plan: Plan
    manifests: Mapping[str, Manifest]
    stage_dirs: Sequence[Path]
    eval_paths: Sequence[Path]


def load(inputs: Iterable[RunInputs]) -> list[Variant]:
    """The variants, in the order given; runs of recipes that differ only in the seed together.

    Raises CodemixError (`not-scored`) for one without scores, unless another trainer trained it.
    """
    by_recipe: dict[tuple[str, bool], list[Run]] = {}
    seen: set[tuple[str, bool]] = set()
    for run_inputs in inputs:
        run = _read_run(run_inputs)
        elsewhere = run.facts.elsewhere
        content = identity(run_inputs.plan.recipe)
        key = (digest(content), elsewhere)
        if key in seen:
            continue  # the same recipe twice is one run, in one trainer
        seen.add(key)
        but_the_seed = {name: value for name, value in content.items() if name != "seed"}
        runs = by_recipe.setdefault((digest(but_the_seed), elsewhere), [])
        runs.append(run)
    groups = list(by_recipe.values())
    for runs in groups:
        runs.sort(key=lambda run: run.facts.seed)
    variants = list(map(Variant, short_names(groups), groups))
    unscored = []
    for variant in variants:
        if not variant.scored_stages and not variant.elsewhere:
            unscored.append(variant.name)
    if unscored:
        raise CodemixError(
            f"not scored yet: {', '.join(unscored)}",
            hints=["`codemix eval` scores a trained recipe"],
            rule="not-scored",
        )
    return variants


def _read_run(inputs: RunInputs) -> Run:
    facts = run_facts(inputs.plan, inputs.manifests, inputs.stage_dirs, inputs.eval_paths)
    run = Run(inputs.plan, facts, documents={}, examples={})
    for stage in facts.stages:
        folder = stage.scores.folder
        if folder is not None:
            run.documents[stage.name] = stage.scores.documents()
            run.examples[stage.name] = examples(folder / "examples")
    return run


def examples(folder: Path) -> Examples:
    """What every example of every task gave; nothing where the folder does not exist."""
    by_task = {}
    for path in sorted(folder.glob("*.jsonl")):
        by_task[path.stem] = _read_examples(path)
    return by_task


def _read_examples(path: Path) -> dict[str, Example]:
    by_id = {}
    for record in records(path):
        by_id[str(record["id"])] = Example(
            credit=float(record["correct"]),
            gold_bits=float(record["gold_bits"]),
            gold_bytes=int(record["gold_bytes"]),
        )
    return by_id
