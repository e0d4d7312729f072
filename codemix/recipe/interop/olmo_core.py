"""Reader of OLMo-core source mixtures, and of olmo-cookbook's; see recipe/interop/mixtures.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from codemix.errors import Problem
from codemix.recipe.interop.left_out import ANY, NUMBER, Patterns, left_out
from codemix.recipe.interop.olmo_core_rates import RunLength, learning_rate
from codemix.recipe.interop.values import (
    Imported,
    Phase,
    Weight,
    at_path,
    find_key,
    fraction,
    names_for,
    refusal,
    stem,
    warning,
    whole_or_none,
    without_zeros,
)
from codemix.recipe.language import yaml_text
from codemix.recipe.language.yaml_text import YamlFile


def sources_path(value: Any) -> tuple | None:
    """The place of the list of sources; None where there is none."""
    at = find_key(value, "sources") or find_key(value, "source_configs")
    sources = at_path(value, at) if at else None
    if not isinstance(sources, list) or not sources:
        return None
    return at if all(map(_is_source, sources)) else None


def _is_source(value: Any) -> bool:
    return isinstance(value, dict) and "target_ratio" in value


def olmo_core(content: str, file: str) -> Imported:
    """A source list with `target_ratio`, `max_repetition_ratio` and `paths`, alone or inside its dataset
    config.
    """
    document = yaml_text.parse(content, file)
    value = document.value
    at = sources_path(value)
    if at is None:
        what = "there is no list of `sources` with `target_ratio`"
        raise refusal(what, where=document.where(()))
    listed = at_path(value, at)
    weights = list(_weights(listed, document, at))
    kept = without_zeros(weights, "mixture")
    problems = [*kept.problems, *_partly_used(listed, weights, document, at)]
    around = [at[:-1], at[:-2]] if len(at) > 1 else [at[:-1]]
    tokens_at = _first_whole(value, around, "requested_tokens")
    if tokens_at is None:
        tokens_at = _first_whole(value, [()], "max_tokens")  # olmo-cookbook
    if tokens_at is None:
        what = "`requested_tokens` (or `max_tokens`) is missing, so the stage has no length"
        problems.append(warning(what, rule="import-no-budget"))
    seq_at = find_key(value, "sequence_length")
    seq_len = whole_or_none(_at(value, seq_at))
    batch_at = _first_whole(value, [("data_loader",), *around], "global_batch_size")
    rows = _rows(_at(value, batch_at), seq_len)
    length = _length(value, _at(value, tokens_at), _at(value, batch_at) if rows else None)
    rate = learning_rate(value, length.run)
    read = _source_fields(listed, at)
    if seq_at:
        read[seq_at] = int
    if tokens_at and length.tokens == _at(value, tokens_at):
        read[tokens_at] = int
    read |= rate.read | length.read
    if rows is not None and batch_at:
        read[batch_at] = int
    problems += left_out(value, read)
    phase = Phase(
        "train",
        kept.weights,
        steps=length.run.steps if length.run and rate.schedule else None,
        tokens=length.tokens,
        learning_rate=rate.schedule,
        no_rate=rate.why_none,
    )
    return Imported(
        "olmo-core",
        stem(file),
        (phase,),
        seq_len=seq_len,
        batch_size=rows,
        problems=tuple(problems),
    )


@dataclass(frozen=True)
class _Length:
    """How long the run is, by its trainer or by its mixture; `read` are the places in the file that say so."""

    tokens: int | None
    run: RunLength | None  # None where it is not known in steps
    read: Patterns


def _length(value: Any, mixture_tokens: int | None, batch_tokens: int | None) -> _Length:
    at = find_key(value, "max_duration")
    duration = at_path(value, at) if at else None
    if at is None or not isinstance(duration, dict):
        return _Length(mixture_tokens, _run(mixture_tokens, batch_tokens), {})
    amount = whole_or_none(duration.get("value"))
    unit = duration.get("unit")
    read: Patterns = {(*at, "value"): int, (*at, "unit"): str}
    if amount is not None and amount > 0:
        if unit == "tokens":
            return _Length(amount, _run(amount, batch_tokens), read)
        if unit == "steps" and batch_tokens:
            tokens = amount * batch_tokens
            return _Length(tokens, _run(tokens, batch_tokens), read)
        if unit == "epochs" and amount == 1:
            return _Length(mixture_tokens, _run(mixture_tokens, batch_tokens), read)
    return _Length(mixture_tokens, None, {})


def _run(tokens: int | None, batch_tokens: int | None) -> RunLength | None:
    if not tokens or not batch_tokens:
        return None
    return RunLength(tokens, batch_tokens)


def _weights(listed: list[dict[str, Any]], document: YamlFile, at: tuple) -> Iterator[Weight]:
    called = [_name(source) for source in listed]
    names = names_for(called)
    key = "target_ratio"
    for i, source in enumerate(listed):
        paths = source.get("paths") or [called[i]]
        location = str(paths[0])
        cap = source.get("max_repetition_ratio", 1.0)
        place = (*at, i, key)
        ratio = fraction(source[key], document, place)
        weight = Weight(names[i], location, ratio, float(cap))
        yield weight


def _name(source: dict[str, Any]) -> str:
    key = _name_key(source)
    return str(source.get(key) or "source")


def _name_key(source: dict[str, Any]) -> str:
    return "source_name" if source.get("source_name") else "name"  # as olmo-cookbook says


def _partly_used(
    listed: list[dict[str, Any]],
    weights: list[Weight],
    document: YamlFile,
    at: tuple,
) -> Iterator[Problem]:
    for i, source in enumerate(listed):
        part = source.get("max_source_fraction", 1.0)
        if part == 1:
            continue
        yield warning(
            f"`{weights[i].name}` may use only {part:g} of its data (`max_source_fraction`)",
            "here, sample the source with an op, or lower its `max_epochs`",
            rule="import-source-fraction",
            where=document.where((*at, i)),
        )


def _source_fields(listed: list[dict[str, Any]], at: tuple) -> dict[tuple, Any]:
    """What is read of the sources: of several paths, the first."""
    read: dict[tuple, Any] = {
        (*at, ANY, "target_ratio"): NUMBER,
        (*at, ANY, "max_repetition_ratio"): NUMBER,
        (*at, ANY, "max_source_fraction"): NUMBER,
        (*at, ANY, "paths", 0): object,
    }
    for i, source in enumerate(listed):
        read[*at, i, _name_key(source)] = object
    return read


def _first_whole(value: Any, places: Iterable[tuple], key: str) -> tuple | None:
    """Where the first of the places that are mappings with a whole number under `key` has it."""
    for place in places:
        around = _inside(value, place)
        if isinstance(around, dict) and whole_or_none(around.get(key)) is not None:
            return (*place, key)
    return None


def _inside(value: Any, place: tuple) -> Any:
    """What is at a place; None where there is no such place."""
    for part in place:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _at(value: Any, place: tuple | None) -> Any:
    return None if place is None else at_path(value, place)


def _rows(batch_tokens: int | None, seq_len: Any) -> int | None:
    """The sequences of a batch given in tokens; None unless they are whole."""
    if batch_tokens is None or not isinstance(seq_len, int) or not seq_len:
        return None
    if batch_tokens % seq_len:
        return None
    return batch_tokens // seq_len
