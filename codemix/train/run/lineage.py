"""Where a stage's weights come from, and what they belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.manifest import Manifest
from codemix.data.store.stages import is_done, stage_dir
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError, Problem
from codemix.files import digest
from codemix.recipe.language.component import identity
from codemix.recipe.planning.plan import lineage as planned_lineage

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import Plan, StagePlan, StageSource

Tokenizer = Mapping[str, Any]  # what a manifest says of it


def tokenizer_of(plan: Plan, manifests: Mapping[str, Manifest]) -> Tokenizer:
    """The tokenizer that all of a plan's sources were built with. Raises CodemixError when one is missing or
    they differ.
    """
    names = {source.source for stage in plan.stages for source in stage.sources}
    hints = ("`codemix build-data` builds it",)
    missing = [
        Problem(f"source `{name}` is not built", hints=hints, rule="not-built")
        for name in sorted(names - manifests.keys())
    ]
    if missing:
        raise CodemixError(*missing)
    return one_tokenizer({name: manifests[name] for name in sorted(names)})


def one_tokenizer(manifests: Mapping[str, Manifest]) -> Tokenizer:
    """The tokenizer of these sources.
    Raises CodemixError naming each that has a different one, and without sources.
    """
    if not manifests:
        hints = ["`codemix build-data` builds them"]
        raise CodemixError("no source is built", hints=hints, rule="not-built")
    first_name, first = next(iter(manifests.items()))
    problems = []
    for name, manifest in manifests.items():
        if _tokenizer_key(manifest) != _tokenizer_key(first):
            problems.append(
                Problem(
                    f"`{name}` and `{first_name}` were built with different tokenizers "
                    f"({manifest.tokenizer['vocab_size']:,} and {first.tokenizer['vocab_size']:,} ids)",
                    hints=("build both again with the recipe's tokenizer",),
                    rule="tokenizer-mismatch",
                )
            )
    if problems:
        raise CodemixError(*problems)
    return first.tokenizer


def _tokenizer_key(manifest: Manifest) -> tuple[str, int]:
    tokenizer = manifest.tokenizer
    return tokenizer["sha256"], tokenizer["vocab_size"]


def lineage(
    plan: Plan, stage: StagePlan, manifests: Mapping[str, Manifest], tokenizer: Tokenizer
) -> dict[str, Any]:
    """The content of lineage.json: what the stage is, what it started from, what it read."""
    parent = None
    if stage.parent is not None:
        parent = {"stage": stage.parent.name, "fingerprint": stage.parent.fingerprint}
    path = [
        {"stage": s.name, "fingerprint": s.fingerprint, "steps": s.steps, "tokens": s.tokens}
        for s in planned_lineage(stage)
    ]
    return {
        "stage": stage.name,
        "fingerprint": stage.fingerprint,
        "recipe": plan.recipe.name,
        "load": stage.load,
        "pretrained": stage.pretrained.model_dump() if stage.pretrained else None,
        "seed": stage.seed,
        "parent": parent,
        "path": path,
        "steps": stage.steps,
        "tokens": stage.tokens,
        "run_steps_before": stage.run_steps,
        "run_tokens_before": stage.run_tokens,
        "sources": {s.source: _source_read(s, manifests[s.source]) for s in stage.sources},
        "model": stage.model.model_dump(mode="json"),
        "vocab_size": tokenizer["vocab_size"],
        "tokenizer_sha256": tokenizer["sha256"],
    }


def _source_read(source: StageSource, manifest: Manifest) -> dict[str, Any]:
    return {
        "key": source.key,
        "fingerprint": manifest.fingerprint,
        "content": manifest.content,
        "windows": source.windows,
        "start": source.start,
    }


def belongs_to(stage: StagePlan, manifests: Mapping[str, Manifest], tokenizer: Tokenizer) -> dict[str, Any]:
    """What a checkpoint of this stage belongs to, field by field, so that a refusal can name the field."""
    fields: dict[str, Any] = {}
    for name, value in identity(stage.model).items():
        if name != "preset":
            fields[f"model.{name}"] = value
    for name, value in identity(stage.training).items():
        if name != "batch_size":
            fields[f"training.{name}"] = value
    for name in ("seq_len", "steps", "rows", "seed"):
        fields[name] = getattr(stage, name)
    fields["vocab_size"] = tokenizer["vocab_size"]
    fields["tokenizer"] = tokenizer["sha256"]
    fields["learning_rate"] = identity(stage.spec.learning_rate)
    for source in stage.sources:
        place = f"sources.{source.source}"
        fields[f"{place}.data"] = manifests[source.source].content
        fields[f"{place}.windows"] = source.windows
        fields[f"{place}.start"] = source.start
    plan = {"segments": [dataclasses.astuple(s) for s in stage.segments], "batches": stage.batches}
    fields["parent"] = None if stage.parent is None else stage.parent.fingerprint
    if stage.pretrained is not None:
        fields["pretrained"] = stage.pretrained.sha256
    fields["plan"] = digest(identity(plan))
    fields["stage"] = stage.fingerprint
    return fields


_SUMMARIES = ("stage", "plan")  # of the other fields


def refuse_other(place: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises CodemixError (`checkpoint-mismatch`) naming each field in which a checkpoint belongs to
    something else.
    """
    differ = [name for name in wanted if saved.get(name) != wanted[name]]
    differ += [name for name in saved if name not in wanted]
    of_substance = [name for name in differ if name not in _SUMMARIES]
    if not differ:
        return
    raise CodemixError(
        *(
            Problem(
                f"the checkpoint {place} belongs to a different stage: "
                f"`{name}` is {saved.get(name)!r} there and {wanted.get(name)!r} here",
                hints=(f"delete {place.parent.parent} to train the stage from its start",),
                rule="checkpoint-mismatch",
            )
            for name in of_substance or differ
        )
    )


def parent_dir(store: Store, stage: StagePlan, parent: StagePlan, tokenizer: Tokenizer) -> Path:
    """The finished parent of a stage.
    Raises CodemixError when it is not in the store or uses a different tokenizer.
    """
    folder = stage_dir(store, parent)
    store.bring(folder)
    if not is_done(folder):
        raise CodemixError(
            f"stage `{stage.name}` starts from `{parent.name}`, which is not in the store ({folder})",
            hints=[f"train the recipe that has `{parent.name}` first, with the same `--store`"],
            rule="parent-missing",
        )
    saved = read_json(folder / "lineage.json")
    if saved["tokenizer_sha256"] != tokenizer["sha256"]:
        raise CodemixError(
            f"stage `{parent.name}` was trained with a different tokenizer ({saved['vocab_size']:,} ids) "
            f"from the data of `{stage.name}` ({tokenizer['vocab_size']:,} ids)",
            hints=["build the data with the parent's tokenizer, or start from scratch"],
            rule="tokenizer-mismatch",
        )
    return folder
