"""Readers of other systems' mixture files; see recipe/interop/mixtures.py. Weights are read as the decimals they are written in."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.recipe.interop.nanotron import nanotron  # noqa: F401  (one reader a format, found by name)
from codemix.recipe.interop.values import (
    Imported,
    Phase,
    Weight,
    at_path,
    find_key,
    fraction,
    names_for,
    stem,
    whole,
    without_zeros,
)
from codemix.recipe.language import yaml_text

LEVANTER_BLOCK = 2048  # its default `mixture_block_size` [sequences]


def detect(content: str, file: str) -> str:
    """Which of the formats this is. Raises CodemixError when it is none of them."""
    if _blend_words(content):
        return "megatron"
    value = yaml_text.parse(content, file).value
    if isinstance(value, dict):
        if "data_stages" in value:
            return "nanotron"
        if find_key(value, "train_weights") is not None:
            return "levanter"
        if _olmo_sources(value) is not None:
            return "olmo-core"
        if {"train", "valid", "test"} & set(value):
            return "megatron"
    raise CodemixError(
        Problem(
            f"{file} is none of the formats that can be imported",
            rule="import-kind",
            hints=(
                "Megatron: `30 path 70 path`, or JSON with `train:`",
                "others: `data_stages:`, `train_weights:` or `target_ratio:`",
            ),
        )
    )


# --- Megatron -------------------------------------------------------------------------------------------------------


def _blend_words(content: str) -> list[str]:
    words = content.replace("--data-path", " ").replace("\\\n", " ").split()
    pairs = len(words) >= 2 and len(words) % 2 == 0 and all(_is_number(w) for w in words[::2])
    return words if pairs and not any(_is_number(w) for w in words[1::2]) else []


def _is_number(word: str) -> bool:
    return (
        len(word) <= yaml_text.MAX_DIGITS
        and re.fullmatch(r"\d+(\.\d*)?([eE][-+]?\d{1,2})?|\.\d+", word) is not None
    )


def megatron(content: str, file: str) -> Imported:
    """`--data-path` pairs of weight and prefix, or the JSON of `--per-split-data-args-path`, of which `train` is read."""
    words = _blend_words(content)
    if not words:
        try:
            value = json.loads(content)
        except ValueError:
            advice = "write `weight prefix weight prefix`, or the JSON of --per-split-data-args-path"
            if "data-path" in content:  # a launch script
                advice = (
                    "this is a whole command line; save what follows --data-path in a file, and import that"
                )
            raise CodemixError(
                Problem(
                    f"{file} is not a Megatron blend",
                    hints=(advice,),
                    rule="import-file",
                )
            ) from None
        train = value.get("train") if isinstance(value, dict) else value
        words = [str(w) for w in train] if isinstance(train, list) else str(train or "").split()
        if len(words) % 2 or not words or not all(_is_number(w) for w in words[::2]):
            raise CodemixError(
                Problem(
                    f"{file} gives prefixes without weights",
                    rule="import-no-weights",
                    hints=(
                        "Megatron then weights each by its size, which the file does not hold; write `size prefix` pairs",
                    ),
                )
            )
    locations = words[1::2]
    weights = tuple(
        Weight(n, where, Fraction(w))
        for n, where, w in zip(names_for(locations), locations, words[::2], strict=True)
    )
    kept, problems = without_zeros(weights, "blend")
    problems.append(
        Problem(
            "a Megatron blend holds one mixture; stages, budgets and learning rates are in its command line",
            hints=("fill them in in the recipe",),
            rule="import-no-budget",
            severity="warning",
        )
    )
    return Imported("megatron", stem(file), (Phase("train", kept),), problems=tuple(problems))


# --- Levanter -------------------------------------------------------------------------------------------------------


def levanter(content: str, file: str) -> Imported:
    """`train_weights`: one mapping, or a list of `[first step, mapping]`; weights of zero are its validation sets."""
    document = yaml_text.parse(content, file)
    value = document.value if isinstance(document.value, dict) else {}
    at = find_key(value, "train_weights")
    if at is None:
        raise CodemixError(Problem("there are no `train_weights`", document.where(()), rule="import-file"))
    data, trainer = at_path(value, at[:-1]), value.get("trainer") or {}
    weights, configs = at_path(value, at), data.get("configs") or data.get("components") or {}
    listed = weights if isinstance(weights, list) else []
    staged = (
        [(0, weights, at)]
        if isinstance(weights, dict)
        else [
            (whole(s[0], 0), s[1], (*at, i, 1))
            for i, s in enumerate(listed)
            if isinstance(s, list) and len(s) == 2
        ]
    )
    if not staged or not all(isinstance(w, dict) for _, w, _ in staged):
        raise CodemixError(
            Problem(
                "`train_weights` is neither a mapping nor a list of [step, mapping]",
                document.where(at),
                rule="import-file",
            )
        )
    train_steps, batch = trainer.get("num_train_steps"), trainer.get("train_batch_size")
    block = whole(data.get("mixture_block_size"), LEVANTER_BLOCK)
    every = list(dict.fromkeys(str(n) for _, w, _ in staged for n in w))
    names = dict(zip(every, names_for([n.replace("/", "-") for n in every]), strict=True))
    phases, problems = [], []
    for i, (first, mapping, where) in enumerate(staged):
        after = staged[i + 1][0] if i + 1 < len(staged) else train_steps
        name = f"stage-{i + 1}" if len(staged) > 1 else "train"
        found = tuple(
            Weight(names[str(n)], _levanter_place(configs.get(n), str(n)), fraction(w, document, (*where, n)))
            for n, w in mapping.items()
        )
        kept, more = without_zeros(found, name, quiet=True)
        problems += more
        total = sum((w.weight for w in kept), Fraction(0))
        lost = [w.name for w in kept if total and int(block * w.weight / total) == 0]
        if lost:
            problems.append(
                Problem(
                    f"in `{name}` Levanter never reads {', '.join(f'`{n}`' for n in lost[:5])}{' and others' if len(lost) > 5 else ''}: "
                    f"its share of a block of {block:,} sequences rounds down to none",
                    document.where(where),
                    ("here the share is rounded over the whole stage, so it is read",),
                    "import-block-rounding",
                    "warning",
                )
            )
        if isinstance(after, int) and after <= first:
            what = f"`{name}` begins at step {first:,}, where training or the next stage begins or ends; left out"
            problems.append(Problem(what, document.where(where), rule="import-stage", severity="warning"))
            continue
        phases.append(Phase(name, kept, steps=after - first if isinstance(after, int) else None))
    if not isinstance(train_steps, int):
        problems.append(
            Problem(
                "`trainer.num_train_steps` is missing, so the last stage has no length",
                document.where(("trainer",)),
                rule="import-no-budget",
                severity="warning",
            )
        )
    seq_len = value.get("train_seq_len") or (value.get("model") or {}).get("seq_len")
    tokenizer = data.get("tokenizer")
    return Imported(
        "levanter",
        stem(file),
        tuple(phases),
        seq_len if isinstance(seq_len, int) else None,
        batch if isinstance(batch, int) else None,
        {},
        tokenizer,
        tuple(problems),
    )


def _levanter_place(config: Any, name: str) -> str:
    if isinstance(config, dict):
        source = config.get("source") if isinstance(config.get("source"), dict) else config
        urls = source.get("train_urls")
        return (
            str(urls[0])
            if isinstance(urls, list) and urls
            else str(source.get("id") or source.get("cache_dir") or name)
        )
    return name


# --- OLMo-core ------------------------------------------------------------------------------------------------------


def _olmo_sources(value: Any) -> tuple | None:
    at = find_key(value, "sources") or find_key(value, "source_configs")
    sources = at_path(value, at) if at else None
    return (
        at
        if isinstance(sources, list)
        and sources
        and all(isinstance(s, dict) and "target_ratio" in s for s in sources)
        else None
    )


def olmo_core(content: str, file: str) -> Imported:
    """A source list with `target_ratio`, `max_repetition_ratio` and `paths`, alone or inside its dataset config."""
    document = yaml_text.parse(content, file)
    value = document.value
    at = _olmo_sources(value)
    if at is None:
        raise CodemixError(
            Problem(
                "there is no list of `sources` with `target_ratio`", document.where(()), rule="import-file"
            )
        )
    listed = at_path(value, at)
    called = [
        str(s.get("source_name") or s.get("name") or "source") for s in listed
    ]  # olmo-cookbook says `name:`
    names = names_for(called)
    weights = []
    for i, (name, s) in enumerate(zip(names, listed, strict=True)):
        where = s.get("paths") or []
        cap = s.get("max_repetition_ratio", 1.0)
        weights.append(
            Weight(
                name,
                str(where[0]) if where else called[i],
                fraction(s["target_ratio"], document, (*at, i, "target_ratio")),
                float(cap),
            )
        )
    kept, problems = without_zeros(tuple(weights), "mixture")
    outer = [at_path(value, p) for p in (at[:-1], at[:-2]) if len(at) > 1]
    tokens = next(
        (
            o["requested_tokens"]
            for o in outer
            if isinstance(o, dict) and isinstance(o.get("requested_tokens"), int)
        ),
        None,
    )
    if (
        tokens is None and isinstance(value, dict) and isinstance(value.get("max_tokens"), int)
    ):  # olmo-cookbook
        tokens = value["max_tokens"]
    batch_tokens = next(
        (
            o["global_batch_size"]
            for o in outer
            if isinstance(o, dict) and isinstance(o.get("global_batch_size"), int)
        ),
        None,
    )
    seq_at = find_key(value, "sequence_length")
    seq_len = at_path(value, seq_at) if seq_at else None
    batch = (
        batch_tokens // seq_len
        if isinstance(batch_tokens, int)
        and isinstance(seq_len, int)
        and seq_len
        and not batch_tokens % seq_len
        else None
    )
    for i, s in enumerate(listed):
        if (part := s.get("max_source_fraction", 1.0)) != 1:
            problems.append(
                Problem(
                    f"`{names[i]}` may use only {part:g} of its data (`max_source_fraction`)",
                    document.where((*at, i)),
                    ("here, sample the source with an op, or lower its `max_epochs`",),
                    "import-source-fraction",
                    "warning",
                )
            )
    if tokens is None:
        problems.append(
            Problem(
                "`requested_tokens` (or `max_tokens`) is missing, so the stage has no length",
                rule="import-no-budget",
                severity="warning",
            )
        )
    return Imported(
        "olmo-core",
        stem(file),
        (Phase("train", kept, tokens=tokens),),
        seq_len,
        batch,
        {},
        None,
        tuple(problems),
    )
