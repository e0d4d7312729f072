"""Reader of nanotron's `data_stages`; see recipe/interop/mixtures.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from codemix.recipe.interop.left_out import Patterns, left_out
from codemix.recipe.interop.nanotron_rates import FIELDS, learning_rates
from codemix.recipe.interop.values import (
    Imported,
    Phase,
    Weight,
    fraction,
    mapping,
    names_for,
    refusal,
    slug,
    stem,
    warning,
    whole,
    whole_or_none,
    without_zeros,
)
from codemix.recipe.language import yaml_text
from codemix.recipe.language.yaml_text import YamlFile

_MODEL_FIELDS = {  # ours -> theirs
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "d_ff": "intermediate_size",
}

_RUN_FIELDS: Patterns = {
    ("tokens", "train_steps"): int,
    ("tokens", "sequence_length"): int,
    ("tokenizer", "tokenizer_name_or_path"): object,
}
_BATCH_FIELDS: Patterns = {  # of use only together
    ("parallelism", "dp"): int,
    ("tokens", "micro_batch_size"): int,
    ("tokens", "batch_accumulation_per_replica"): int,
}


@dataclass(frozen=True)
class _Stage:
    """An entry of `data_stages`; `index` is its place in the file, steps are counted from 1."""

    index: int
    name: str
    first_step: int
    weights: list[tuple[str, Fraction]]  # (folder, weight)


def nanotron(content: str, file: str) -> Imported:
    """`data_stages` with parallel lists `dataset_folder` and `dataset_weights`, and the schedule beside
    them.
    """
    document = yaml_text.parse(content, file)
    value = document.value
    listed = value.get("data_stages") if isinstance(value, dict) else None
    if not isinstance(listed, list) or not listed:
        raise refusal("there are no `data_stages`", where=document.where(("data_stages",)))
    tokens = mapping(value.get("tokens"))
    train_steps = whole_or_none(tokens.get("train_steps"))
    stages = _stages(listed, document)
    starts = [stage.first_step for stage in stages]
    ends = [*starts[1:], None if train_steps is None else train_steps + 1]
    names = _source_names(stages)
    rates = learning_rates(value, starts, ends)
    phases: list[Phase] = []
    problems = list(rates.problems)
    for stage, end, rate in zip(stages, ends, rates.by_stage, strict=True):
        weights = [Weight(names[folder], folder, weight) for folder, weight in stage.weights]
        kept = without_zeros(weights, stage.name)
        problems += kept.problems
        if end is not None and end <= stage.first_step:
            what = f"stage `{stage.name}` starts at step {stage.first_step:,}, after the end of training"
            where = document.where(("data_stages", stage.index))
            problems.append(warning(what, rule="import-stage", where=where))
            continue
        steps = None if end is None else end - stage.first_step
        phases.append(
            Phase(
                stage.name,
                kept.weights,
                steps=steps,
                learning_rate=rate,
                no_rate=rates.why_none,
            )
        )
    if tokens.get("train_steps") is None:
        what = "`tokens.train_steps` is missing, so the last stage has no length"
        problems.append(warning(what, rule="import-no-budget", where=document.where(("tokens",))))
    batch_size = _batch_size(value, tokens)
    model = _model(value)
    read = _stage_fields(listed) | _RUN_FIELDS
    if batch_size is not None:
        read |= _BATCH_FIELDS
    if model:
        read |= {("model", "model_config", theirs): int for theirs in _MODEL_FIELDS.values()}
    if any(rates.by_stage):
        read |= {("optimizer", "learning_rate_scheduler", name): kind for name, kind in FIELDS.items()}
    problems += left_out(value, read)
    return Imported(
        "nanotron",
        stem(file),
        tuple(phases),
        seq_len=whole_or_none(tokens.get("sequence_length")),
        batch_size=batch_size,
        model=model,
        tokenizer=mapping(value.get("tokenizer")).get("tokenizer_name_or_path"),
        problems=tuple(problems),
    )


def _stages(listed: list[Any], document: YamlFile) -> list[_Stage]:
    """The stages by their first step."""
    stages = []
    for i, stage in enumerate(listed):
        called = stage.get("name") or f"stage-{i + 1}"
        name = slug(str(called))
        first_step = whole(stage.get("start_training_step"), 1)
        at = ("data_stages", i, "data", "dataset")
        weights = _weights(stage, document, at)
        stages.append(_Stage(i, name, first_step, weights))
    return sorted(stages, key=lambda stage: stage.first_step)


def _stage_fields(listed: list[Any]) -> Patterns:
    """What is read of the stages."""
    read: dict[tuple, Any] = {}
    for i, stage in enumerate(listed):
        at = ("data_stages", i)
        data = stage["data"]["dataset"]
        folders = "dataset_folder" if "dataset_folder" in data else "dataset_path"
        read |= {(*at, "name"): object, (*at, "start_training_step"): int}
        read[*at, "data", "dataset", folders] = object
        if not isinstance(data[folders], dict):  # which holds the weights
            read[*at, "data", "dataset", "dataset_weights"] = list
    return read


def _source_names(stages: Iterable[_Stage]) -> dict[str, str]:
    """Folder -> our name."""
    folders: dict[str, None] = {}
    for stage in stages:
        for folder, _ in stage.weights:
            folders[folder] = None
    return dict(zip(folders, names_for(folders), strict=True))


def _batch_size(value: dict[str, Any], tokens: dict[str, Any]) -> int | None:
    """Sequences per step, over all workers; None unless the file says all that decides it."""
    workers = mapping(value.get("parallelism")).get("dp")
    per_worker = tokens.get("micro_batch_size")
    accumulation = tokens.get("batch_accumulation_per_replica")
    size = 1
    for factor in map(whole_or_none, (workers, per_worker, accumulation)):
        if factor is None:
            return None
        size *= factor
    return size


def _model(value: dict[str, Any]) -> dict[str, int]:
    """The shape of the model; empty unless all of it is there."""
    config = mapping(mapping(value.get("model")).get("model_config"))
    model = {}
    for ours, theirs in _MODEL_FIELDS.items():
        size = whole_or_none(config.get(theirs))
        if size is None:
            return {}
        model[ours] = size
    return model


def _weights(stage: dict[str, Any], document: YamlFile, at: tuple) -> list[tuple[str, Fraction]]:
    """Pairs of folder and weight, in the order of the file."""
    data = mapping(mapping(stage.get("data")).get("dataset"))
    folders = data.get("dataset_folder", data.get("dataset_path"))
    weights = data.get("dataset_weights")
    if isinstance(folders, dict):
        weights = list(folders.values())
        folders = list(folders)
    if isinstance(folders, str):
        weights = weights or [1]
        folders = [folders]
    if not isinstance(folders, list):
        hint = "only tokenized datasets (nanosets) can be imported"
        raise refusal("this stage has no `dataset_folder`", hint, where=document.where(at))
    if weights is None and len(folders) == 1:
        weights = [1]
    if not isinstance(weights, list):
        raise refusal(
            "several folders and no `dataset_weights`",
            "nanotron then weights by size, which the file does not hold; write the weights",
            rule="import-no-weights",
            where=document.where(at),
        )
    weights_at = (*at, "dataset_weights")
    _refuse_unequal(folders, weights, document, weights_at)
    pairs = []
    for i, folder in enumerate(folders):
        weight = fraction(weights[i], document, (*weights_at, i))
        pairs.append((str(folder), weight))
    return pairs


def _refuse_unequal(folders: Sequence[Any], weights: Sequence[Any], document: YamlFile, at: tuple) -> None:
    if len(folders) == len(weights):
        return
    raise refusal(
        f"{len(folders)} folders and {len(weights)} weights: "
        "the lists are aligned by position only, so no pair can be trusted",
        "find the entry that is missing",
        rule="import-parallel-lists",
        where=document.where(at, key=True),
    )
