"""Reader of Levanter's `train_weights`; see recipe/interop/mixtures.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from codemix.errors import Problem, Where
from codemix.recipe.interop.left_out import ANY, NUMBER, Patterns, left_out
from codemix.recipe.interop.recipe_text import one_line
from codemix.recipe.interop.values import (
    Imported,
    Phase,
    Weight,
    at_path,
    find_key,
    fraction,
    mapping,
    names_for,
    refusal,
    stem,
    warning,
    whole,
    whole_or_none,
    without_zeros,
)
from codemix.recipe.language import yaml_text

BLOCK = 2048  # its default `mixture_block_size` [sequences]


@dataclass(frozen=True)
class _Stage:
    """An entry of `train_weights`."""

    name: str
    first_step: int
    weights: Mapping[Any, Any]
    at: tuple  # its place in the file


def levanter(content: str, file: str) -> Imported:
    """`train_weights`: one mapping, or a list of `[first step, mapping]`; weights of zero are its validation
    sets.
    """
    document = yaml_text.parse(content, file)
    value = document.value if isinstance(document.value, dict) else {}
    at = find_key(value, "train_weights")
    if at is None:
        raise refusal("there are no `train_weights`", where=document.where(()))
    data, trainer = at_path(value, at[:-1]), mapping(value.get("trainer"))
    stages = _stages(at_path(value, at), at)
    if not stages:
        what = "`train_weights` is neither a mapping nor a list of [step, mapping]"
        raise refusal(what, where=document.where(at))
    places_key = "configs" if data.get("configs") else "components"
    places = data.get(places_key) or {}
    block = whole(data.get("mixture_block_size"), BLOCK)
    names = _source_names(stages)
    train_steps = whole_or_none(trainer.get("num_train_steps"))
    ends = [stage.first_step for stage in stages[1:]]
    phases: list[Phase] = []
    problems: list[Problem] = []
    for stage, end in zip(stages, [*ends, train_steps], strict=True):
        weights = []
        for key, number in stage.weights.items():
            weight = fraction(number, document, (*stage.at, key))
            location = _location(places.get(key), str(key))
            weights.append(Weight(names[str(key)], location, weight))
        kept = without_zeros(weights, stage.name, quiet=True).weights
        where = document.where(stage.at)
        unread = list(_never_read(kept, block))
        if unread:
            problems.append(_rounds_down(stage, unread, block, where))
        if end is not None and end <= stage.first_step:
            begins = f"`{stage.name}` begins at step {stage.first_step:,}"
            what = f"{begins}, where training or the next stage begins or ends; left out"
            problems.append(warning(what, rule="import-stage", where=where))
            continue
        steps = None if end is None else end - stage.first_step
        phases.append(Phase(stage.name, kept, steps=steps))
    if train_steps is None:
        what = "`trainer.num_train_steps` is missing, so the last stage has no length"
        problems.append(warning(what, rule="import-no-budget", where=document.where(("trainer",))))
    problems += _of_no_weight(stages)
    seq_at = ("train_seq_len",) if value.get("train_seq_len") else ("model", "seq_len")
    read: dict[tuple, Any] = {
        seq_at: int,
        ("trainer", "num_train_steps"): int,
        ("trainer", "train_batch_size"): int,
        (*at[:-1], "tokenizer"): object,
        (*at[:-1], "mixture_block_size"): int,
    }
    read |= _weight_fields(stages, at)
    for key in _weighed(stages):
        path = _location_path(places.get(key))
        if path:
            read[*at[:-1], places_key, key, *path] = object
    problems += left_out(value, read)
    seq_len = value.get("train_seq_len") or mapping(value.get("model")).get("seq_len")
    return Imported(
        "levanter",
        stem(file),
        tuple(phases),
        seq_len=whole_or_none(seq_len),
        batch_size=whole_or_none(trainer.get("train_batch_size")),
        tokenizer=data.get("tokenizer"),
        problems=tuple(problems),
    )


def _stages(weights: Any, at: tuple) -> list[_Stage]:
    """The entries of `train_weights`; none when one of them is not a step and a mapping."""
    if isinstance(weights, dict):
        return [_Stage("train", 0, weights, at)]
    if not isinstance(weights, list):
        return []
    stages = []
    for i, entry in enumerate(weights):
        if not isinstance(entry, list) or len(entry) != 2:
            return []
        first_step = whole_or_none(entry[0])
        if first_step is None or not isinstance(entry[1], dict):
            return []
        name = f"stage-{i + 1}" if len(weights) > 1 else "train"
        stages.append(_Stage(name, first_step, entry[1], (*at, i, 1)))
    return stages


def _source_names(stages: Sequence[_Stage]) -> dict[str, str]:
    """Its names of data sets -> ours."""
    theirs: dict[str, None] = {}
    for stage in stages:
        for key in stage.weights:
            theirs[str(key)] = None
    flat = [name.replace("/", "-") for name in theirs]
    ours = names_for(flat)
    return dict(zip(theirs, ours, strict=True))


def _never_read(weights: Sequence[Weight], block: int) -> Iterator[str]:
    """The sources whose share of a block rounds down to no sequence."""
    total = Fraction(0)
    for w in weights:
        total += w.weight
    for w in weights:
        in_block = block * w.weight / total
        if in_block < 1:
            yield f"`{w.name}`"


def _rounds_down(stage: _Stage, unread: Sequence[str], block: int, where: Where) -> Problem:
    shown = ", ".join(unread[:5])
    others = " and others" if len(unread) > 5 else ""
    return warning(
        f"in `{stage.name}` Levanter never reads {shown}{others}: "
        f"its share of a block of {block:,} sequences rounds down to none",
        "here the share is rounded over the whole stage, so it is read",
        rule="import-block-rounding",
        where=where,
    )


def _weighed(stages: Sequence[_Stage]) -> set[Any]:
    """Its names of the data sets that have a weight in any stage."""
    weighed: set[Any] = set()
    for stage in stages:
        weighed.update(key for key, weight in stage.weights.items() if weight)
    return weighed


def _of_no_weight(stages: Sequence[_Stage]) -> Iterator[Problem]:
    """A note of the data sets that have no weight in any stage."""
    weighed = _weighed(stages)
    idle: dict[str, None] = {}
    for stage in stages:
        for key in stage.weights:
            if key not in weighed:
                idle[f"`{one_line(key)}`"] = None
    if idle:
        what = f"a weight of zero in every stage, as validation sets have: {', '.join(idle)}; left out"
        yield warning(what, rule="import-zero")


def _weight_fields(stages: Sequence[_Stage], at: tuple) -> Patterns:
    """What is read of `train_weights`; of what `_of_no_weight` names, that it is zero."""
    read: dict[tuple, Any] = {(*at, ANY, 0): int}
    for stage in stages:
        read[*stage.at, ANY] = NUMBER
    return read


def _location(config: Any, name: str) -> str:
    """Where a data set is, as far as its config says."""
    path = _location_path(config)
    return str(at_path(config, path)) if path else name


def _location_path(config: Any) -> tuple:
    """The place in the config of what says where its data set is; empty where nothing does."""
    if not isinstance(config, dict):
        return ()
    at = ("source",) if isinstance(config.get("source"), dict) else ()
    source = at_path(config, at)
    urls = source.get("train_urls")
    if isinstance(urls, list) and urls:
        return (*at, "train_urls", 0)
    for key in ("id", "cache_dir"):
        if source.get(key):
            return (*at, key)
    return ()
