"""Reader of nanotron's `data_stages`; see recipe/interop/mixtures.py."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.recipe.interop.values import (
    Imported,
    Phase,
    Weight,
    fraction,
    names_for,
    slug,
    stem,
    whole,
    without_zeros,
)
from codemix.recipe.language import yaml_text


def nanotron(content: str, file: str) -> Imported:
    """`data_stages` with parallel lists `dataset_folder` and `dataset_weights`, and the schedule beside them."""
    document = yaml_text.parse(content, file)
    value = document.value
    stages = value.get("data_stages") if isinstance(value, dict) else None
    if not isinstance(stages, list) or not stages:
        raise CodemixError(
            Problem("there are no `data_stages`", document.where(("data_stages",)), rule="import-file")
        )
    tokens, parallel = value.get("tokens") or {}, value.get("parallelism") or {}
    train_steps, seq_len = tokens.get("train_steps"), tokens.get("sequence_length")
    sizes = (parallel.get("dp"), tokens.get("micro_batch_size"), tokens.get("batch_accumulation_per_replica"))
    batch = sizes[0] * sizes[1] * sizes[2] if all(isinstance(s, int) for s in sizes) else None
    order = sorted(range(len(stages)), key=lambda i: whole(stages[i].get("start_training_step"), 1))
    starts = [whole(stages[i].get("start_training_step"), 1) for i in order]
    ends = [*starts[1:], train_steps + 1 if isinstance(train_steps, int) else None]
    phases, problems = [], []
    locations = [_nanotron_weights(stages[i], document, ("data_stages", i)) for i in order]
    every = list(dict.fromkeys(where for pairs in locations for where, _ in pairs))
    names = dict(zip(every, names_for(every), strict=True))
    rates, more = _nanotron_rates(value, starts, ends)
    problems += more
    for i, pairs, first, after, rate in zip(order, locations, starts, ends, rates, strict=True):
        name = slug(str(stages[i].get("name") or f"stage-{i + 1}"))
        kept, more = without_zeros(tuple(Weight(names[where], where, w) for where, w in pairs), name)
        problems += more
        if after is not None and after <= first:
            problems.append(
                Problem(
                    f"stage `{name}` starts at step {first:,}, after the end of training",
                    document.where(("data_stages", i)),
                    rule="import-stage",
                    severity="warning",
                )
            )
            continue
        no_rate = "the file's curve has no form here" if _has_curve(value) else "not in the file"
        steps = None if after is None else after - first
        phases.append(Phase(name, kept, steps=steps, learning_rate=rate, no_rate=no_rate))
    if train_steps is None:
        problems.append(
            Problem(
                "`tokens.train_steps` is missing, so the last stage has no length",
                document.where(("tokens",)),
                rule="import-no-budget",
                severity="warning",
            )
        )
    config = (value.get("model") or {}).get("model_config") or {}
    wanted = {
        "d_model": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "n_kv_heads": "num_key_value_heads",
        "d_ff": "intermediate_size",
    }
    model = {ours: config[theirs] for ours, theirs in wanted.items() if isinstance(config.get(theirs), int)}
    tokenizer = (value.get("tokenizer") or {}).get("tokenizer_name_or_path")
    return Imported(
        "nanotron",
        stem(file),
        tuple(phases),
        seq_len,
        batch,
        model if len(model) == len(wanted) else {},
        tokenizer,
        tuple(problems),
    )


def _nanotron_weights(stage: Any, document: yaml_text.YamlFile, at: tuple) -> list[tuple[str, Fraction]]:
    data = ((stage.get("data") or {}) if isinstance(stage, dict) else {}).get("dataset") or {}
    folders = data.get("dataset_folder", data.get("dataset_path"))
    weights = data.get("dataset_weights")
    at = (*at, "data", "dataset")
    if isinstance(folders, dict):
        folders, weights = list(folders), list(folders.values())
    if isinstance(folders, str):
        folders, weights = [folders], weights or [1]
    if isinstance(folders, list) and len(folders) == 1 and weights is None:
        weights = [1]
    if not isinstance(folders, list):
        raise CodemixError(
            Problem(
                "this stage has no `dataset_folder`",
                document.where(at),
                ("only tokenized datasets (nanosets) can be imported",),
                "import-file",
            )
        )
    if not isinstance(weights, list):
        raise CodemixError(
            Problem(
                "several folders and no `dataset_weights`",
                document.where(at),
                ("nanotron then weights by size, which the file does not hold; write the weights",),
                "import-no-weights",
            )
        )
    if len(folders) != len(weights):
        raise CodemixError(
            Problem(
                f"{len(folders)} folders and {len(weights)} weights: the lists are aligned by position only, so no pair can be trusted",
                document.where((*at, "dataset_weights"), key=True),
                ("find the entry that is missing",),
                "import-parallel-lists",
            )
        )
    return [
        (str(f), fraction(w, document, (*at, "dataset_weights", i)))
        for i, (f, w) in enumerate(zip(folders, weights, strict=True))
    ]


SHAPES = {"linear": "linear", "cosine": "cosine", "1-sqrt": "sqrt"}  # its decay styles, by our name


def _has_curve(value: dict) -> bool:
    return bool((value.get("optimizer") or {}).get("learning_rate_scheduler"))


def _about(length: Any, wanted: int) -> bool:
    """Whether a decay ends with the stage; nanotron's files count the last step in or not."""
    return isinstance(length, int) and abs(length - wanted) <= 1


def _one_curve(curve: dict, peak: float, floor: Any, head: dict, steps: int) -> dict | None:
    """The curve of a run of one stage of so many steps: after the warm-up it stays, and then decays to the end; None for others.

    Without `lr_decay_starting_step` nanotron begins to decay after the warm-up; without `lr_decay_steps` it decays for as
    many steps as the run has, less both.
    """
    warmup = whole(curve.get("lr_warmup_steps"), 0)
    first = whole(curve.get("lr_decay_starting_step"), warmup)
    length = curve.get("lr_decay_steps")
    if length is None:
        length = steps - warmup - whole(curve.get("lr_decay_starting_step"), 0)
    shape = SHAPES.get(curve.get("lr_decay_style") or "linear")
    if shape is None or not _about(length, steps - first):
        return None
    if first > (warmup if head else 0) or shape == "sqrt":
        return {
            "kind": "wsd",
            "peak": peak,
            "floor": floor,
            "decay": f"{min(length, steps - warmup)} steps",
            "shape": shape,
        } | head
    if shape == "cosine":
        return {"kind": "cosine", "peak": peak, "floor": floor} | head
    return {"kind": "linear", "start": peak, "floor": floor} | head


def _nanotron_rates(
    value: dict, starts: list[int], ends: list[int | None]
) -> tuple[list[dict | None], list[Problem]]:
    """The one learning-rate curve of the run, cut at the data stages; None where a stage cannot say it."""
    curve = ((value.get("optimizer") or {}).get("learning_rate_scheduler")) or {}
    peak, warmup, floor = (
        curve.get("learning_rate"),
        whole(curve.get("lr_warmup_steps"), 0),
        curve.get("min_decay_lr"),
    )
    if not isinstance(peak, float):
        return [None] * len(starts), []
    if curve.get("lr_warmup_style") == "constant":
        warmup = 0
    if floor is None:  # nanotron then takes the peak as the floor, so nothing decays
        floor = peak
    style, first, length = (
        curve.get("lr_decay_style") or "linear",
        curve.get("lr_decay_starting_step"),
        curve.get("lr_decay_steps"),
    )
    rates: list[dict | None] = []
    problems = []
    for i, (start, after) in enumerate(zip(starts, ends, strict=True)):
        head = {"warmup": f"{warmup} steps"} if i == 0 and warmup else {}
        last = i == len(starts) - 1
        if isinstance(first, int) and after is not None and after <= first:
            rates.append({"kind": "constant", "value": peak} | head)
        elif isinstance(first, int) and start == first and style == "linear" and last and not head:
            rates.append({"kind": "linear", "start": "previous" if i else peak, "floor": floor})
        elif floor == peak:
            rates.append({"kind": "constant", "value": peak} | head)
        elif len(starts) == 1 and after is not None:
            rates.append(_one_curve(curve, peak, floor, head, after - start))
        elif (
            isinstance(first, int)
            and last
            and after is not None
            and style in SHAPES
            and _about(length, after - first)
        ):
            rates.append(
                {
                    "kind": "wsd",
                    "peak": peak,
                    "floor": floor,
                    "decay": f"{length} steps",
                    "shape": SHAPES[style],
                }
                | head
            )
        else:
            rates.append(None)
    if None in rates:
        problems.append(
            Problem(
                "the learning-rate curve does not follow the data stages; those stages are left to fill in",
                hints=("a stage here owns its own learning rate",),
                rule="import-learning-rate",
                severity="warning",
            )
        )
    return rates, problems
