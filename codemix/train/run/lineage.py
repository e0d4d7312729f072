"""Where a stage's weights come from, and what they belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError, Problem
from codemix.files import digest
from codemix.recipe.language.component import identity
from codemix.recipe.planning.plan import lineage as planned_lineage

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan, StagePlan


def stage_dir(store: Store, stage: StagePlan) -> Path:
    """Where a stage is, or will be, in the store."""
    return store.path("stages", stage.name, stage.fingerprint)


def is_done(folder: Path) -> bool:
    """Whether a stage's folder holds a finished stage."""
    return (folder / "done.json").exists()


def tokenizer_of(plan: Plan, manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """The tokenizer that all of a plan's sources were built with. Raises CodemixError when one is missing or they differ."""
    names = sorted({s.source for stage in plan.stages for s in stage.sources})
    hint = ("`codemix build-data` builds it",)
    problems = [
        Problem(f"source `{name}` is not built", hints=hint, rule="not-built")
        for name in names
        if name not in manifests
    ]
    if not problems and names:
        sure = manifests[names[0]].tokenizer
        problems = [
            Problem(
                f"`{name}` and `{names[0]}` were built with different tokenizers ({other['vocab_size']:,} and {sure['vocab_size']:,} ids)",
                hints=("build both again with the recipe's tokenizer",),
                rule="tokenizer-mismatch",
            )
            for name, other in ((n, manifests[n].tokenizer) for n in names)
            if any(other[key] != sure[key] for key in ("sha256", "vocab_size"))
        ]
    if problems:
        raise CodemixError(*problems)
    return sure


def lineage(
    plan: Plan, stage: StagePlan, manifests: Mapping[str, Manifest], tokenizer: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of lineage.json: what the stage is, what it started from, what it read."""
    return {
        "stage": stage.name,
        "fingerprint": stage.fingerprint,
        "recipe": plan.recipe.name,
        "load": stage.load,
        "seed": stage.seed,
        "parent": None
        if stage.parent is None
        else {"stage": stage.parent.name, "fingerprint": stage.parent.fingerprint},
        "path": [
            {"stage": s.name, "fingerprint": s.fingerprint, "steps": s.steps, "tokens": s.tokens}
            for s in planned_lineage(stage)
        ],
        "steps": stage.steps,
        "tokens": stage.tokens,
        "run_steps_before": stage.run_steps,
        "run_tokens_before": stage.run_tokens,
        "sources": {
            s.source: {key: getattr(manifests[s.source], key) for key in ("fingerprint", "content")}
            | {"windows": s.windows, "start": s.start}
            for s in stage.sources
        },
        "model": stage.model.model_dump(mode="json"),
        "vocab_size": tokenizer["vocab_size"],
        "tokenizer_sha256": tokenizer["sha256"],
    }


def belongs_to(
    stage: StagePlan, manifests: Mapping[str, Manifest], tokenizer: Mapping[str, Any]
) -> dict[str, Any]:
    """What a checkpoint of this stage belongs to, field by field, so that a refusal can name the field."""
    fields = {f"model.{name}": value for name, value in identity(stage.model).items() if name != "preset"}
    fields |= {
        f"training.{name}": value for name, value in identity(stage.training).items() if name != "batch_size"
    }
    fields |= {name: getattr(stage, name) for name in ("seq_len", "steps", "rows", "seed")}
    fields |= {
        "vocab_size": tokenizer["vocab_size"],
        "tokenizer": tokenizer["sha256"],
        "learning_rate": identity(stage.spec.learning_rate),
    }
    fields |= {f"sources.{s.source}.data": manifests[s.source].content for s in stage.sources}
    fields |= {f"sources.{s.source}.windows": s.windows for s in stage.sources} | {
        f"sources.{s.source}.start": s.start for s in stage.sources
    }
    plan = {"segments": [dataclasses.astuple(s) for s in stage.segments], "batches": stage.batches}
    return fields | {
        "parent": stage.parent and stage.parent.fingerprint,
        "plan": digest(identity(plan)),
        "stage": stage.fingerprint,
    }


def refuse_other(place: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises CodemixError (`checkpoint-mismatch`) naming each field in which a checkpoint belongs to something else."""
    differ = [name for name in wanted if saved.get(name) != wanted[name]] + [
        name for name in saved if name not in wanted
    ]
    if any(name not in ("stage", "plan") for name in differ):
        differ = [name for name in differ if name not in ("stage", "plan")]  # they only sum up the others
    if differ:
        raise CodemixError(
            *(
                Problem(
                    f"the checkpoint {place} belongs to another stage: `{name}` is {saved.get(name)!r} there and {wanted.get(name)!r} here",
                    hints=(f"delete {place.parent.parent} to train the stage from its start",),
                    rule="checkpoint-mismatch",
                )
                for name in differ
            )
        )


def parent_dir(store: Store, stage: StagePlan, tokenizer: Mapping[str, Any]) -> Path:
    """The finished parent of a stage. Raises CodemixError when it is not in the store or speaks another tokenizer."""
    parent = stage.parent
    folder = stage_dir(store, parent)
    if not is_done(folder):
        raise CodemixError(
            f"stage `{stage.name}` starts from `{parent.name}`, which is not in the store ({folder})",
            hints=[f"train the recipe that has `{parent.name}` first, with the same `--store`"],
            rule="parent-missing",
        )
    saved = read_json(folder / "lineage.json")
    if saved["tokenizer_sha256"] != tokenizer["sha256"]:
        raise CodemixError(
            f"stage `{parent.name}` was trained with another tokenizer ({saved['vocab_size']:,} ids) than the data of `{stage.name}` "
            f"({tokenizer['vocab_size']:,} ids)",
            hints=["build the data with the parent's tokenizer, or start from scratch"],
            rule="tokenizer-mismatch",
        )
    return folder
