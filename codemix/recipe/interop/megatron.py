"""Reader of Megatron blends; see recipe/interop/mixtures.py. Weights are read as the decimals they are
written in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from codemix.recipe.interop.left_out import left_out
from codemix.recipe.interop.values import (
    Imported,
    Phase,
    Weight,
    names_for,
    refusal,
    stem,
    warning,
    without_zeros,
)
from codemix.recipe.language.yaml_scalars import MAX_DIGITS

_NUMBER = re.compile(r"\d+(\.\d*)?([eE][-+]?\d{1,2})?|\.\d+")


def blend_words(content: str) -> list[str]:
    """The words of `weight prefix weight prefix`; none where the text is something else."""
    words = content.replace("--data-path", " ").replace("\\\n", " ").split()
    if not words or not _has_weights(words):
        return []
    if any(map(_is_number, words[1::2])):
        return []
    return words


def _has_weights(words: Sequence[str]) -> bool:
    """Whether words come in pairs that each begin with a number."""
    if len(words) % 2:
        return False
    return all(map(_is_number, words[::2]))


def _is_number(word: str) -> bool:
    if len(word) > MAX_DIGITS:
        return False
    return _NUMBER.fullmatch(word) is not None


def megatron(content: str, file: str) -> Imported:
    """`--data-path` pairs of weight and prefix, or the JSON of `--per-split-data-args-path`, of which `train`
    is read.
    """
    words = blend_words(content)
    splits: Any = None
    if not words:
        splits = _json(content, file)
        words = _train_words(splits)
    if not words or not _has_weights(words):
        raise refusal(
            f"{file} gives prefixes without weights",
            "Megatron then weights each by its size, which the file does not hold; write `size prefix` pairs",
            rule="import-no-weights",
        )
    numbers, locations = words[::2], words[1::2]
    weights = []
    for number, location, name in zip(numbers, locations, names_for(locations), strict=True):
        weights.append(Weight(name, location, Fraction(number)))
    kept = without_zeros(weights, "blend")
    unread = left_out(splits, {("train",): object}) if isinstance(splits, dict) else ()
    no_budget = warning(
        "a Megatron blend holds one mixture; stages, budgets and learning rates are in its command line",
        "fill them in in the recipe",
        rule="import-no-budget",
    )
    return Imported(
        "megatron",
        stem(file),
        (Phase("train", kept.weights),),
        problems=(*kept.problems, no_budget, *unread),
    )


def _json(content: str, file: str) -> Any:
    """The value of JSON text. Raises CodemixError when it is not JSON."""
    try:
        return json.loads(content)
    except ValueError:
        hint = "write `weight prefix weight prefix`, or the JSON of --per-split-data-args-path"
        if "data-path" in content:  # a launch script
            hint = "this is a whole command line; save what follows --data-path in a file, and import that"
        raise refusal(f"{file} is not a Megatron blend", hint) from None


def _train_words(splits: Any) -> list[str]:
    """The words of the split `train`; without splits, all."""
    train = splits.get("train") if isinstance(splits, dict) else splits
    if isinstance(train, list):
        return [str(word) for word in train]
    return str(train or "").split()
